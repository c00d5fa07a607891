"""The two compiled functions of a training: its first state, and one step on from a state."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from genrec.config import TrainingConfig
from genrec.model import EncoderDecoder, Noise
from genrec.training.loss import Loss, next_item_loss
from genrec.training.mesh import by_rows, replicated, split_state

State = dict[str, Any]
"""{"step", "params", "optimizer"} and, with an average of the weights, "average": plain arrays."""


def compile_training(
    build: Callable[[nnx.Rngs], EncoderDecoder],
    settings: TrainingConfig,
    mesh: Mesh,
    *,
    total: int,
    seed: int,
):
    """The compiled functions of a training.

    The noise of a step is drawn from (seed, step), so a state needs no generator to go on from.

    Args:
        build: makes the model from its random streams.
        total: optimiser steps of the whole training, for the learning rate.

    Returns:
        () → state; and (state, catalogue, trie, batch) → state, metrics, which uses up the state
        that it is given. The trie is None where the loss does not need it.
        Metrics are "loss" (mean over targets, nats), "total" (what is minimised), "targets",
        "gradient_norm" and "learning_rate".
    """
    shape = nnx.eval_shape(lambda: build(nnx.Rngs(0)))
    graph, every_prefix, has_head = nnx.graphdef(shape), shape.causal, shape.item_query is not None
    warmup = max(1, round(settings.warmup * total))
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, settings.learning_rate, warmup, max(total, warmup + 1)
    )

    def matrices(params: Any) -> Any:
        """Which parameters decay: a norm's scale has one axis and is spared."""
        return jax.tree.map(lambda x: x.ndim > 1, params)

    optimizer = optax.chain(
        optax.clip_by_global_norm(settings.clip),
        optax.adamw(schedule, weight_decay=settings.weight_decay, mask=matrices),
    )

    def init() -> State:
        params = nnx.as_pure(nnx.state(build(nnx.Rngs(seed)), nnx.Param))
        state = {"step": jnp.zeros((), jnp.int32), "params": params}
        state["optimizer"] = optimizer.init(params)
        return state | ({"average": params} if settings.average else {})

    def loss(params, catalogue, trie, batch, key):
        model = nnx.merge(graph, params)
        negatives = None
        if settings.item_negatives is not None:
            count = catalogue.codes.shape[0]
            shape = (min(settings.item_negatives, count),)
            negatives = jax.random.randint(jax.random.fold_in(key, 1), shape, 0, count)
        sums = next_item_loss(
            model,
            catalogue,
            batch,
            Noise(jax.random.bits(key, (), jnp.uint32)),
            every_prefix=every_prefix,
            label_smoothing=settings.label_smoothing,
            item_loss=settings.item_loss if has_head else 0.0,
            negatives=negatives,
            distillation=settings.distillation,
            trie=trie,
        )
        return sums.total, sums

    gradient_of = jax.grad(loss, has_aux=True)

    def gradients(params, catalogue, trie, batch, key) -> tuple[Any, Loss]:
        """Of the sum over all targets, part by part of the batch if it is to be accumulated."""
        parts = settings.accumulate
        if parts == 1:
            return gradient_of(params, catalogue, trie, batch, key)

        def add(sums, part):
            number, rows = part
            new = gradient_of(params, catalogue, trie, rows, jax.random.fold_in(key, number))
            return jax.tree.map(jnp.add, sums, new), None

        # Every device keeps its own rows: the parts are taken across them, not along them.
        split = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)
        first = jax.tree.map(lambda x: x[0], split)
        shapes = jax.eval_shape(gradient_of, params, catalogue, trie, first, key)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.scan(add, zeros, (jnp.arange(parts), split))[0]

    def step(state, catalogue, trie, batch):
        key = jax.random.fold_in(jax.random.key(seed), state["step"])
        gradient, sums = gradients(state["params"], catalogue, trie, batch, key)
        targets = jnp.maximum(sums.targets, 1.0)
        gradient = jax.tree.map(lambda x: x / targets, gradient)
        updates, moments = optimizer.update(gradient, state["optimizer"], state["params"])
        params = optax.apply_updates(state["params"], updates)
        new = {"step": state["step"] + 1, "params": params, "optimizer": moments}
        if settings.average:
            # Shorter averages at first, so that the random weights of the start are soon forgotten.
            decay = jnp.minimum(settings.average, (1.0 + state["step"]) / (10.0 + state["step"]))
            new["average"] = optax.incremental_update(params, state["average"], 1.0 - decay)
        metrics = {
            "loss": (sums.codes if shape.codes else sums.total) / targets,
            "total": sums.total / targets,
            "targets": sums.targets,
            "gradient_norm": optax.tree.norm(gradient),
            "learning_rate": schedule(state["step"]),
        }
        return new, metrics

    of_state = split_state(jax.eval_shape(init), mesh)
    everywhere, rows = replicated(mesh), by_rows(mesh)
    return (
        jax.jit(init, out_shardings=of_state),
        functools.partial(
            jax.jit,
            in_shardings=(of_state, everywhere, everywhere, rows),
            out_shardings=(of_state, everywhere),
            donate_argnums=0,
        )(step),
    )


def begun_with(params: Any, state: State) -> State:
    """A first state with other parameters, NumPy arrays of the same shapes."""
    return state | {
        part: jax.tree.map(lambda old, new: jax.device_put(new, old.sharding), state[part], params)
        for part in ("params", "average")
        if part in state
    }


def weights(state: State) -> Any:
    """The parameters to validate and to use."""
    return state.get("average", state["params"])
