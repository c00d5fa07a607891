"""The training of the encoder-decoder, from random weights to the best checkpoint."""

import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from genrec.config import TrainingConfig
from genrec.data.histories import Histories
from genrec.errors import UserError
from genrec.files import replacing
from genrec.model import EncoderDecoder, Noise
from genrec.progress import Bar, progress
from genrec.training.checkpoints import Checkpoints
from genrec.training.objective import next_item_loss
from genrec.training.packing import epoch_batches

Validate = Callable[[Any], dict[str, float]]


def train(
    build: Callable[[nnx.Rngs], EncoderDecoder],
    codes: np.ndarray,
    histories: Histories,
    settings: TrainingConfig,
    *,
    max_history: int,
    seed: int,
    folder: Path,
    fingerprint: str,
    validate: Validate,
) -> int:
    """Trains until `settings.epochs` are done, going on from the latest checkpoint if there is one.

    The order of users, the dropout masks and the learning rate depend on the seed, the epoch and
    the step alone, so a training that was interrupted ends with the same weights.

    Args:
        build: makes the model from its random streams.
        codes: int (N, L), the semantic ID of every item.
        histories: what may be learnt from; a history needs two items to have a target.
        folder: gets `checkpoints/` and `metrics.jsonl`.
        fingerprint: identifies settings and data in the checkpoints.
        validate: parameters → metrics, "ndcg@10" among them, which chooses the best checkpoint.

    Returns:
        The number of epochs that the best checkpoint was trained for.

    Raises:
        UserError: nothing to learn from, a loss that is not finite, or a checkpoint of another run.
    """
    histories = histories.select(np.flatnonzero(histories.lengths >= 2))
    if not len(histories):
        raise UserError("training: no user has two items or more, so there is no target")
    batches = functools.partial(
        epoch_batches,
        histories,
        rows=settings.rows,
        row_length=settings.row_length,
        max_history=max_history,
        seed=seed,
    )
    steps = sum(1 for _ in batches(epoch=0))
    init, step = _compile(build, settings, total=steps * settings.epochs, seed=seed)
    table = jnp.asarray(codes, jnp.int32)

    with Checkpoints(folder / "checkpoints", fingerprint) as checkpoints:
        first = checkpoints.latest or 0
        state = init()
        if first:
            state = checkpoints.restore(first, state)
        with (
            _metrics_file(folder / "metrics.jsonl", first) as log,
            progress("train", steps * settings.epochs, "step", done=first * steps) as bar,
        ):
            for epoch in range(first, settings.epochs):
                state, loss = _run_epoch(step, state, table, batches(epoch=epoch), bar, epoch)
                line = {"epoch": epoch + 1, "step": int(state["step"]), "loss": loss}
                metrics = None
                if (epoch + 1) % settings.validate_every == 0 or epoch + 1 == settings.epochs:
                    metrics = validate(state["params"])
                    line["validation"] = metrics
                # The line goes first: resuming drops those that no checkpoint followed.
                log.write(json.dumps(line) + "\n")
                log.flush()
                checkpoints.save(epoch + 1, state, metrics)
    with Checkpoints(folder / "checkpoints", fingerprint) as checkpoints:
        return checkpoints.best


def _compile(
    build: Callable[[nnx.Rngs], EncoderDecoder], settings: TrainingConfig, *, total: int, seed: int
):
    """The two functions that a training needs: () → state, and (state, codes, batch) → state, loss.

    The state is {"step", "params", "optimizer"}, plain arrays and no module.
    """
    graph = nnx.graphdef(nnx.eval_shape(lambda: build(nnx.Rngs(0))))
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, settings.learning_rate, max(1, round(settings.warmup * total)), total
    )
    optimizer = optax.chain(
        optax.clip_by_global_norm(settings.clip),
        optax.adamw(schedule, weight_decay=settings.weight_decay),
    )

    @jax.jit
    def init() -> dict[str, Any]:
        params = nnx.as_pure(nnx.state(build(nnx.Rngs(seed)), nnx.Param))
        return {
            "step": jnp.zeros((), jnp.int32),
            "params": params,
            "optimizer": optimizer.init(params),
        }

    def loss(params, codes, batch, noise_seed):
        return next_item_loss(nnx.merge(graph, params), codes, batch, Noise(noise_seed))

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, codes, batch):
        key = jax.random.fold_in(jax.random.key(seed), state["step"])
        value, gradient = jax.value_and_grad(loss)(
            state["params"], codes, batch, jax.random.bits(key, (), jnp.uint32)
        )
        updates, moments = optimizer.update(gradient, state["optimizer"], state["params"])
        params = optax.apply_updates(state["params"], updates)
        return {"step": state["step"] + 1, "params": params, "optimizer": moments}, value

    return init, step


def _run_epoch(step, state, codes, batches, bar: Bar, epoch: int) -> tuple[dict[str, Any], float]:
    """Trains on every batch once; the state after it and the mean loss."""
    losses: list[float] = []
    pending = None

    def settle(number: int, value: jax.Array) -> None:
        losses.append(float(value))
        if not math.isfinite(losses[-1]):
            raise UserError(
                f"training: the loss is {losses[-1]} at epoch {epoch + 1}, batch {number + 1}: "
                "try a smaller training.learning_rate; the checkpoints before it are kept"
            )
        bar.advance(loss=losses[-1], epoch=epoch + 1)

    for number, batch in enumerate(batches):
        state, value = step(state, codes, batch)
        # The loss of the last step is read while this one runs, so the device never waits.
        if pending is not None:
            settle(*pending)
        pending = (number, value)
    if pending is not None:
        settle(*pending)
    return state, float(np.mean(losses))


def _metrics_file(path: Path, epochs: int) -> TextIO:
    """Opens the log to append to, with the lines of the first `epochs` epochs only."""
    lines = path.read_text().splitlines() if path.exists() else []
    with replacing(path) as temporary:
        # One line an epoch, so a line that was cut short is never among the first.
        temporary.write_text("".join(line + "\n" for line in lines[:epochs]))
    return path.open("a")
