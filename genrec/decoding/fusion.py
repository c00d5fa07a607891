"""How much each expert counts, fitted on users whose next item is known.

Array shapes: F experts, B histories, N items.
"""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from genrec.decoding.experts import Scores

Batches = Callable[[], Iterator[tuple[Scores | np.ndarray, np.ndarray]]]
"""Scores and targets, int (B,), of some histories after others; a target of -1 does not count."""

_RIDGE = 0.01
"""Of an expert that is always right the weight would have no end."""
_ROUNDS, _ENOUGH = 20, 1e-6


def fit_weights(batches: Batches, experts: int) -> np.ndarray:
    """The weights that make the targets most probable, by a softmax of the weighted sum of scores.

    The cross-entropy over all items is convex in the weights, so Newton's method finds the one
    minimum in a few rounds: gradient and curvature are means and covariances of the scores under
    the softmax. A step that makes it worse is halved.

    Args:
        batches: called once for each round.
        experts: F.

    Returns:
        float64 (F,).
    """
    weights, step, best = np.zeros(experts), np.zeros(experts), -np.inf
    for _ in range(_ROUNDS):
        sums = [_moments(scores, targets, weights + step) for scores, targets in batches()]
        likelihood, gradient, curvature = (
            np.sum([np.asarray(part, np.float64) for part in parts], axis=0)
            for parts in zip(*sums, strict=True)
        )
        likelihood -= _RIDGE / 2 * np.sum((weights + step) ** 2)
        gained = likelihood - best
        if gained >= 0:
            best, weights = likelihood, weights + step
        if abs(gained) < _ENOUGH * abs(likelihood):
            break
        if gained < 0:
            step = step / 2
            continue
        step = np.linalg.solve(curvature + _RIDGE * np.eye(experts), gradient - _RIDGE * weights)
    return weights


@jax.jit
def _moments(
    scores: Scores, targets: Int[Array, " B"], weights: Float[Array, " F"]
) -> tuple[Float[Array, ""], Float[Array, " F"], Float[Array, "F F"]]:
    """The log-likelihood of the targets, its gradient, and minus its second derivative."""
    log_p = jax.nn.log_softmax(fused(scores, weights))
    counted = targets >= 0
    target = jnp.maximum(targets, 0)
    p = jnp.where(counted[:, None], jnp.exp(log_p), 0.0)
    row = jnp.arange(len(targets))
    likelihood = jnp.sum(jnp.where(counted, log_p[row, target], 0.0))
    weighted = p[None] * scores
    mean = weighted.sum(axis=2)
    gradient = jnp.sum(jnp.where(counted[None], scores[:, row, target], 0.0) - mean, axis=1)
    # As one product of two matrices, for which a CPU takes a fourth of the time of an einsum.
    second = weighted.reshape(len(scores), -1) @ scores.reshape(len(scores), -1).T
    curvature = second - mean @ mean.T
    return likelihood, gradient, curvature


def fused(scores: Scores, weights: Float[Array, " F"]) -> Float[Array, "B N"]:
    """The weighted sum of the experts' scores."""
    return jnp.einsum("fbn,f->bn", scores, weights)
