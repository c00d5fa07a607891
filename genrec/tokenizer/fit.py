"""Fitting the RQ-VAE: principal components, residual k-means, then training from there."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float

from genrec.errors import UserError
from genrec.progress import progress
from genrec.tokenizer.components import principal_components
from genrec.tokenizer.kmeans import distinct_rows, residual_kmeans
from genrec.tokenizer.rqvae import Losses, RqVae, losses, revive
from genrec.tokenizer.tokenizer import Tokenizer, in_chunks

_STEPS_PER_CALL = 50
_SAMPLES_PER_CODE = 4
"""Vectors seen for each code of the largest codebook before an unused one is called dead."""
_COLLAPSED = 0.1
"""Share of the codes it could use below which a level counts as collapsed."""
_NOTHING_LEFT = 0.01
"""Share of the latents' energy below which a level's input holds nothing worth telling apart."""


def fit_rqvae(
    vectors: np.ndarray,
    *,
    codebook_sizes: tuple[int, ...],
    latent_dim: int,
    hidden: tuple[int, ...],
    steps: int,
    batch_size: int,
    learning_rate: float,
    commitment: float,
    seed: int,
) -> tuple[Tokenizer, list[dict[str, Any]]]:
    """Fits an RQ-VAE to the vectors of a catalogue.

    The input is centred and scaled to unit variance. Encoder and decoder start as the projection
    on the principal components and back, the codebooks as residual k-means of the projections;
    AdamW improves all of them together. Every 50 steps (more for large codebooks and small
    batches) codes that were not used are revived.

    Args:
        vectors: float (N, D), finite.
        codebook_sizes: K_l for each of the L levels.
        latent_dim: d, width of the latent vectors.
        hidden: widths of the encoder's hidden layers; the decoder mirrors them.
        steps: optimiser steps.
        batch_size: vectors in a step; all of them if they are fewer.
        learning_rate: peak learning rate, warmed up linearly, then decayed by a cosine.
        commitment: β, weight of the loss that keeps the encoder near its codes.
        seed: of initial parameters, k-means and the order of the vectors.

    Returns:
        The tokenizer, and its history: for each of these intervals the `step` at its end, the
        loss and its terms, `relative_error` (‖x − x̂‖² / ‖x − mean‖² over the batches), and per
        level `used` (share of the codes), `perplexity` and `energy` (mean square of what is left
        over before the level, relative to the latents').

    Raises:
        UserError: vectors of the wrong shape or not finite, a setting out of range, a loss that
            diverges, a level that collapses, or codes that say less than the mean vector does.
    """
    vectors = np.asarray(vectors)
    _check(vectors, codebook_sizes, latent_dim, hidden, steps, batch_size)
    mean, scale, components = principal_components(vectors, latent_dim)
    make = functools.partial(RqVae, vectors.shape[1], latent_dim, hidden, codebook_sizes)
    graph = nnx.graphdef(jax.eval_shape(lambda: make(rngs=nnx.Rngs(0))))
    params: Any = nnx.as_pure(nnx.state(make(rngs=nnx.Rngs(seed)), nnx.Param))
    params["encoder"]["linear"]["kernel"] = jnp.array(components)
    params["decoder"]["linear"]["kernel"] = jnp.array(components.T)

    latents = np.concatenate(
        [((chunk - mean) / scale)[:count] @ components for chunk, count in in_chunks(vectors)]
    )
    distinct = len(distinct_rows(latents))
    for level, codebook in enumerate(residual_kmeans(latents, codebook_sizes, seed=seed)):
        params["codebooks"][level] = jnp.array(codebook)

    optimiser = _optimiser(learning_rate, steps)
    state = {"params": params, "opt": optimiser.init(params)}
    batch_size = min(batch_size, len(vectors))
    batches = _batches(vectors, batch_size, seed)
    interval = max(_STEPS_PER_CALL, -(-_SAMPLES_PER_CODE * max(codebook_sizes) // batch_size))
    history: list[dict[str, Any]] = []
    with progress("tokenize", total=steps, unit="step") as bar:
        while bar.done < steps:
            count = min(interval, steps - bar.done)
            x = np.stack([next(batches) for _ in range(count)])
            state, logs = _train(
                graph,
                optimiser,
                state,
                (x - mean) / np.float32(scale),
                commitment,
                count == interval,  # in fewer steps a code can be unused without being dead
            )
            record = _record(bar.done + count, jax.device_get(logs), vectors.shape[1])
            history.append(record)
            _stop_if_collapsed(history, codebook_sizes, min(distinct, count * batch_size))
            bar.advance(count, error=record["relative_error"], used=min(record["used"]))
    if (error := history[-1]["relative_error"]) > 1:
        raise UserError(
            "the tokenizer learned nothing: its codes describe the vectors worse than their mean "
            f"does (relative error {error:.3g}): lower tokenizer.learning_rate"
        )
    return Tokenizer(state["params"], mean, scale, hidden, latent_dim, codebook_sizes), history


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=2)
def _train(
    graph: Any,
    optimiser: optax.GradientTransformation,
    state: dict[str, Any],
    x: Float[Array, "S B D"],
    commitment: Float[Array, ""],
    reviving: Bool[Array, ""],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """S optimiser steps, one per batch, then the revival of codes that none of them used."""

    def loss(params, batch):
        terms, found = losses(nnx.merge(graph, params), batch, commitment)
        return terms.loss, (terms, found)

    def step(carry, batch):
        state, counts, _ = carry
        (_, (terms, found)), grads = jax.value_and_grad(loss, has_aux=True)(state["params"], batch)
        updates, opt = optimiser.update(grads, state["opt"], state["params"])
        params = optax.apply_updates(state["params"], updates)
        counts = [count.at[found.codes[:, i]].add(1) for i, count in enumerate(counts)]
        return ({"params": params, "opt": opt}, counts, found.residuals), terms

    codebooks = state["params"]["codebooks"]
    counts = [jnp.zeros(len(codebooks[level]), jnp.int32) for level in codebooks]
    width = codebooks[0].shape[1]
    residuals = jnp.zeros((len(codebooks) + 1, x.shape[1], width))
    (state, counts, residuals), terms = jax.lax.scan(step, (state, counts, residuals), x)
    # Adam's moments of a revived code stay: without gradients they have faded already.
    state["params"]["codebooks"] = {
        level: jnp.where(
            reviving,
            revive(codebook, counts[level], residuals[level], residuals[level + 1]),
            codebook,
        )
        for level, codebook in state["params"]["codebooks"].items()
    }
    logs = {name: jnp.mean(values) for name, values in terms._asdict().items()}
    energy = jnp.mean(jnp.sum(residuals[:-1] ** 2, axis=2), axis=1)
    return state, {**logs, "counts": counts, "energy": energy}


@functools.cache  # the same object for the same settings, so that a second fit compiles nothing
def _optimiser(learning_rate: float, steps: int) -> optax.GradientTransformation:
    """AdamW with warm-up and cosine decay; only the perceptrons' kernels are decayed."""
    warmup = max(1, steps // 20)
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, learning_rate, warmup, max(steps, warmup + 1)
    )

    def decayed(params):
        return jax.tree_util.tree_map_with_path(
            lambda path, _: "kernel" in jax.tree_util.keystr(path), params
        )

    return optax.adamw(schedule, weight_decay=0.1, mask=decayed)


def _batches(vectors: np.ndarray, size: int, seed: int) -> Iterator[np.ndarray]:
    """Endless batches, float32 (size, D): each epoch a new order, its incomplete rest left out."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(vectors))
        for start in range(0, len(vectors) - size + 1, size):
            yield np.asarray(vectors[order[start : start + size]], np.float32)


def _record(step: int, logs: dict[str, Any], dim: int) -> dict[str, Any]:
    """One entry of the history, as plain numbers."""
    counts, energy = logs["counts"], logs["energy"]
    shares = [count[count > 0] / count.sum() for count in counts]
    return {
        "step": step,
        **{name: float(logs[name]) for name in Losses._fields},
        "relative_error": float(logs["reconstruction"]) / dim,  # the input has unit variance
        "used": [float((count > 0).mean()) for count in counts],
        "perplexity": [float(np.exp(-(share * np.log(share)).sum())) for share in shares],
        "energy": [float(value / energy[0]) if energy[0] > 0 else 0.0 for value in energy],
    }


def _stop_if_collapsed(
    history: list[dict[str, Any]], codebook_sizes: tuple[int, ...], distinct: int
) -> None:
    """Raises UserError if the loss is not finite or a level keeps using hardly any of its codes.

    A level is not blamed for codes that the data cannot fill (`distinct` vectors were seen), nor
    for having nothing to do because the levels before it caught everything, nor before revival had
    its chance: twice in a row is a collapse.
    """
    now = history[-1]
    if not np.isfinite(now["loss"]):
        raise UserError(
            f"the tokenizer's loss diverged by step {now['step']}: lower tokenizer.learning_rate"
        )
    for level, size in enumerate(codebook_sizes):
        fewest = _COLLAPSED * min(size, distinct)
        if len(history) > 1 and all(
            record["used"][level] * size < fewest
            and (level == 0 or record["energy"][level] > _NOTHING_LEFT)
            for record in history[-2:]
        ):
            raise UserError(
                f"the tokenizer collapsed: by step {now['step']} level {level} uses "
                f"{round(now['used'][level] * size)} of {size} codes: lower "
                "tokenizer.learning_rate or tokenizer.codebook_sizes"
            )


def _check(
    vectors: np.ndarray,
    codebook_sizes: tuple[int, ...],
    latent_dim: int,
    hidden: tuple[int, ...],
    steps: int,
    batch_size: int,
) -> None:
    """Raises UserError unless there are finite vectors and every size is positive."""
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise UserError(
            f"vectors of shape {vectors.shape} cannot be tokenized: need (items, width)"
        )
    if not codebook_sizes or min(codebook_sizes) < 2:
        raise UserError(f"tokenizer.codebook_sizes is {codebook_sizes}: each must be at least 2")
    if min(latent_dim, steps, batch_size, *hidden) < 1:
        raise UserError(
            "tokenizer.latent_dim, hidden, steps and batch_size must be at least 1; they are "
            f"{latent_dim}, {hidden}, {steps} and {batch_size}"
        )
    finite = [np.isfinite(chunk[:count]).all(axis=1) for chunk, count in in_chunks(vectors)]
    bad = np.flatnonzero(~np.concatenate(finite))
    if len(bad):
        names = ", ".join(map(str, bad[:5])) + (", …" if len(bad) > 5 else "")
        raise UserError(f"the vectors of {len(bad):,} items are not finite: items {names}")
