"""Fitting an RQ-VAE, or a residual vector quantizer, which has no encoder and no decoder."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float

from genrec.checkpoints import Checkpoints
from genrec.errors import UserError
from genrec.progress import progress
from genrec.tokenizer import rqvae
from genrec.tokenizer.collapse import collapse_error, collapsed
from genrec.tokenizer.components import fitting_sample, principal_components
from genrec.tokenizer.kmeans import distinct_rows, nearest, residual_kmeans
from genrec.tokenizer.tokenizer import Tokenizer
from genrec.tokenizer.vectors import in_chunks

_STEPS_PER_CALL = 50
_CHECKPOINT_EVERY = 500
"""Steps; a few seconds."""
_SAMPLES_PER_CODE = 4
"""Vectors seen for each code of the largest codebook before an unused one is called dead."""

_REVIVALS = 4
"""Rounds of revival in the end; a revived code may take all items of another code."""


def fit_rqvae(
    vectors: np.ndarray,
    *,
    codebook_sizes: tuple[int, ...],
    latent_dim: int,
    hidden: tuple[int, ...] | None,
    steps: int,
    batch_size: int,
    learning_rate: float,
    objective: rqvae.Objective,
    collapse: float,
    seed: int,
    checkpoints: Checkpoints | None = None,
) -> tuple[Tokenizer, list[dict[str, Any]]]:
    """Fits an RQ-VAE, or a residual vector quantizer, to the vectors of a catalogue.

    The input is centred and scaled to unit variance. The encoder starts as the projection on the
    principal components and the decoder as its transpose, the codebooks as residual k-means of the
    projections; AdamW then trains all of them together. Every 50 steps (more for large codebooks
    and small batches), and once more in the end, codes that were not used are revived.

    Args:
        vectors: float (N, D), finite; may be memory-mapped.
        latent_dim: d, width of the latent vectors.
        hidden: widths of the encoder's hidden layers; the decoder mirrors them. None for a residual
            vector quantizer, which quantizes the vectors themselves; d is then their width.
        batch_size: vectors in a step; all of them if they are fewer.
        learning_rate: peak learning rate, warmed up linearly, then decayed by a cosine.
        objective: the terms of the loss, and how codebooks are updated.
        collapse: a level that uses a smaller share of its codes has collapsed.
        seed: of initial parameters, k-means and the order of the vectors.
        checkpoints: the fit is resumed from the latest, and saves one every 500 steps; an
            interrupted fit that is resumed ends with the same tokenizer.

    Returns:
        The tokenizer, and the history of the training: for each of these intervals the `step` at
        its end, the loss and its terms, `relative_error` (‖x − x̂‖² / ‖x − mean‖² over the batches,
        with noise), and per level `used` (share of the codes), `perplexity` and `energy` (mean
        square of the residuals before the level, relative to that of the latents).

    Raises:
        UserError: a loss that diverges, a level that collapses, or codes that describe vectors
            worse than their mean.
    """
    mean, scale, sample = fitting_sample(vectors, codebook_sizes, seed)
    latent_dim = latent_dim if hidden is not None else vectors.shape[1]
    shape = (vectors.shape[1], latent_dim, hidden, codebook_sizes)
    graph = nnx.graphdef(rqvae.abstract_rqvae(*shape))
    params: Any = nnx.to_pure_dict(nnx.state(rqvae.RqVae(*shape, rngs=nnx.Rngs(seed)), nnx.Param))
    latents = sample
    if hidden is not None:
        components = principal_components(vectors, latent_dim)
        params["encoder"]["linear"]["kernel"] = jnp.array(components)
        params["decoder"]["linear"]["kernel"] = jnp.array(components.T)
        latents = sample @ components
    distinct = len(distinct_rows(latents))
    for level, codebook in enumerate(residual_kmeans(latents, codebook_sizes, seed=seed)):
        params["codebooks"][level] = jnp.array(codebook)

    optimiser = _optimiser(learning_rate, steps)
    batch_size = min(batch_size, len(vectors))
    state = {"params": params, "opt": optimiser.init(params)}
    if objective.ema_decay is not None:
        state["average"] = rqvae.averages(params["codebooks"], batch_size)
    history: list[dict[str, Any]] = []
    done = (checkpoints and checkpoints.latest) or 0
    if checkpoints is not None and done:
        state, position = checkpoints.restore(done, state)
        history = position["history"]
    batches, key = _batches(vectors, batch_size, seed, skip=done), jax.random.key(seed)
    interval = max(_STEPS_PER_CALL, -(-_SAMPLES_PER_CODE * max(codebook_sizes) // batch_size))
    with progress("tokenize", total=steps, unit="step", done=done) as bar:
        while bar.done < steps:
            count = min(interval, steps - bar.done)
            x = np.stack([next(batches) for _ in range(count)])
            state, logs = _train(
                graph,
                optimiser,
                objective,
                state,
                (x - mean) / np.float32(scale),
                jax.random.fold_in(key, bar.done),
                count == interval,  # in fewer steps a code can be unused without being dead
            )
            record = _record(bar.done + count, jax.device_get(logs), vectors.shape[1])
            history.append(record)
            _stop_if_collapsed(history, codebook_sizes, min(distinct, count * batch_size), collapse)
            bar.advance(count, error=record["relative_error"], used=min(record["used"]))
            due = bar.done % _CHECKPOINT_EVERY < count and bar.done < steps
            if checkpoints is not None and due:
                checkpoints.save(bar.done, state, {"history": history}, None)
    if (error := history[-1]["relative_error"]) > 1:
        raise UserError(
            "the tokenizer learned nothing: its codes describe the vectors worse than their mean "
            f"does (relative error {error:.3g}): lower tokenizer.learning_rate"
        )
    params = state["params"]
    model = nnx.merge(graph, params)
    latents = [np.asarray(model.encode(jnp.asarray(x)))[:count] for x, count in in_chunks(sample)]
    params["codebooks"] = _with_every_code_used(params["codebooks"], np.concatenate(latents))
    return Tokenizer(params, mean, scale, hidden, latent_dim, codebook_sizes), history


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def _train(
    graph: Any,
    optimiser: optax.GradientTransformation,
    objective: rqvae.Objective,
    state: dict[str, Any],
    x: Float[Array, "S B D"],
    key: Array,
    reviving: Bool[Array, ""],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """S optimiser steps, one per batch; then codes that none of them used are revived.

    Returns:
        The state; and the logs: mean losses, `counts` of each level's codes, and `energy`, the mean
        square of the residuals before each level in the last batch.
    """

    def loss(params, batch, key):
        terms, quantized = rqvae.losses(nnx.merge(graph, params), batch, objective, key)
        return terms.loss, (terms, quantized)

    def step(carry, batch_and_key):
        state, counts, _ = carry
        (_, (terms, quantized)), grads = jax.value_and_grad(loss, has_aux=True)(
            state["params"], *batch_and_key
        )
        updates, opt = optimiser.update(grads, state["opt"], state["params"])
        state = {**state, "params": optax.apply_updates(state["params"], updates), "opt": opt}
        if objective.ema_decay is not None:
            average = rqvae.follow(state["average"], quantized, objective.ema_decay)
            books = {level: rqvae.codebook_of(mean) for level, mean in average.items()}
            state |= {"params": {**state["params"], "codebooks": books}, "average": average}
        counts = [count.at[quantized.codes[:, i]].add(1) for i, count in enumerate(counts)]
        return (state, counts, quantized.residuals), terms

    codebooks = state["params"]["codebooks"]
    counts = [jnp.zeros(len(codebooks[level]), jnp.int32) for level in codebooks]
    width = codebooks[0].shape[1]
    residuals = jnp.zeros((len(codebooks) + 1, x.shape[1], width))
    keys = jax.random.split(key, len(x))
    (state, counts, residuals), terms = jax.lax.scan(step, (state, counts, residuals), (x, keys))
    # Adam's moments of a revived code stay: without gradients they have faded already.
    before = state["params"]["codebooks"]
    state["params"]["codebooks"] = {
        level: jnp.where(
            reviving,
            rqvae.revive(codebook, counts[level], residuals[level], residuals[level + 1]),
            codebook,
        )
        for level, codebook in before.items()
    }
    if objective.ema_decay is not None:
        fresh = rqvae.averages(state["params"]["codebooks"], x.shape[1])
        for level, (count, total) in state["average"].items():
            moved = (state["params"]["codebooks"][level] != before[level]).any(axis=1)
            state["average"][level] = rqvae.Average(
                jnp.where(moved, fresh[level].count, count),
                jnp.where(moved[:, None], fresh[level].total, total),
            )
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
        return jax.tree.map_with_path(
            lambda path, _: "kernel" in jax.tree_util.keystr(path), params
        )

    return optax.adamw(schedule, weight_decay=0.1, mask=decayed)


def _batches(vectors: np.ndarray, size: int, seed: int, skip: int) -> Iterator[np.ndarray]:
    """Endless batches, float32 (size, D), without the first `skip`.

    Each epoch has a new order, and its last incomplete batch is left out.
    """
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(vectors))
        for start in range(0, len(vectors) - size + 1, size):
            if skip:
                skip -= 1
            else:
                yield np.asarray(vectors[order[start : start + size]], np.float32)


def _with_every_code_used(
    codebooks: dict[int, Float[Array, "_ d"]], latents: Float[np.ndarray, "N d"]
) -> dict[int, Float[Array, "_ d"]]:
    """The codebooks after reviving the codes that none of the latents choose.

    Training leaves such codes: only noisy inputs chose them, or the last steps of earlier levels
    made them useless. It goes level by level, because a change at one level changes the residuals
    of the next.
    """
    after, residuals = {}, latents
    for level, codebook in codebooks.items():
        codes = nearest(np.asarray(codebook), residuals)
        for _ in range(_REVIVALS):
            counts = np.bincount(codes, minlength=len(codebook))
            if counts.all():
                break
            rest = residuals - np.asarray(codebook)[codes]
            codebook = rqvae.revive(codebook, *map(jnp.asarray, (counts, residuals, rest)))
            codes = nearest(np.asarray(codebook), residuals)
        residuals = residuals - np.asarray(codebook)[codes]
        after[level] = codebook
    return after


def _record(step: int, logs: dict[str, Any], dim: int) -> dict[str, Any]:
    """One entry of the history, as plain numbers; `dim` is D."""
    counts, energy = logs["counts"], logs["energy"]
    shares = [count[count > 0] / count.sum() for count in counts]
    return {
        "step": step,
        **{name: float(logs[name]) for name in rqvae.Losses._fields},
        "relative_error": float(logs["reconstruction"]) / dim,  # the input has unit variance
        "used": [float((count > 0).mean()) for count in counts],
        "perplexity": [float(np.exp(-(share * np.log(share)).sum())) for share in shares],
        "energy": [float(value / energy[0]) if energy[0] > 0 else 0.0 for value in energy],
    }


def _stop_if_collapsed(
    history: list[dict[str, Any]], codebook_sizes: tuple[int, ...], distinct: int, collapse: float
) -> None:
    """Raises UserError if the loss is not finite or a level keeps using hardly any of its codes.

    A level counts as collapsed after two intervals in a row, between which codes were revived.
    """
    now = history[-1]
    if not np.isfinite(now["loss"]):
        raise UserError(
            f"the tokenizer's loss diverged by step {now['step']}: lower tokenizer.learning_rate"
        )
    levels = [
        collapsed(record["used"], codebook_sizes, record["energy"], distinct, collapse)
        for record in history[-2:]
    ]
    twice = [level for level in levels[-1] if len(history) > 1 and level in levels[0]]
    if twice:
        when = f"by step {now['step']}"
        raise collapse_error(twice[0], now["used"][twice[0]], codebook_sizes, when)
