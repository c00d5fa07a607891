"""How much each expert counts, fitted on users whose next item is known.

Array shapes: F experts, B histories, V items that are told apart.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


class Choices(NamedTuple):
    """What some users could choose from, and what they chose.

    Attributes:
        scores: float32 (F, B, V), what each expert gives each item.
        chosen: int (B,), the position of the one chosen; below 0 for a user who does not count.
        there: bool (B, V), which of the V there are; None if all.
    """

    scores: np.ndarray | Float[Array, "F B V"]
    chosen: np.ndarray | Int[Array, " B"]
    there: np.ndarray | Bool[Array, "B V"] | None = None


_RIDGE = 0.1
"""Of an expert that is always right the weight would have no end."""
_ROUNDS, _ENOUGH = 20, 1e-6


def fit_weights(
    batches: Callable[[], Iterator[Choices]], start: np.ndarray, *, ridge: float = _RIDGE
) -> np.ndarray:
    """The weights that make the choices most probable, by a softmax of the weighted sum of scores.

    The cross-entropy is convex in the weights, so Newton's method finds the one minimum in a few
    rounds: gradient and curvature are means and covariances of the scores under the softmax. A step
    that makes it worse is halved.

    Args:
        batches: called once for each round.
        start: float (F,), where to begin.
        ridge: what the squares of the weights cost, for each half.

    Returns:
        float64 (F,).
    """
    weights, step, best = np.array(start, np.float64), np.zeros(len(start)), -np.inf
    for _ in range(_ROUNDS):
        sums = [
            _moments(choices, jnp.asarray(weights + step, jnp.float32)) for choices in batches()
        ]
        likelihood, gradient, curvature = (
            np.sum([np.asarray(part, np.float64) for part in parts], axis=0)
            for parts in zip(*sums, strict=True)
        )
        likelihood -= ridge / 2 * np.sum((weights + step) ** 2)
        gained = likelihood - best
        if gained >= 0:
            best, weights = likelihood, weights + step
        if abs(gained) < _ENOUGH * abs(likelihood):
            break
        if gained < 0:
            step = step / 2
            continue
        step = np.linalg.solve(curvature + ridge * np.eye(len(start)), gradient - ridge * weights)
    return weights


@jax.jit
def _moments(
    choices: Choices, weights: Float[Array, " F"]
) -> tuple[Float[Array, ""], Float[Array, " F"], Float[Array, "F F"]]:
    """The log-likelihood of the choices, its gradient, and minus its second derivative."""
    scores, chosen = jnp.asarray(choices.scores), jnp.asarray(choices.chosen)
    total = fused(scores, weights)
    if choices.there is not None:
        total = jnp.where(choices.there, total, -jnp.inf)
    log_p = jax.nn.log_softmax(total)
    counted = chosen >= 0
    chosen = jnp.maximum(chosen, 0)
    p = jnp.where(counted[:, None], jnp.exp(log_p), 0.0)
    row = jnp.arange(len(chosen))
    likelihood = jnp.sum(jnp.where(counted, log_p[row, chosen], 0.0))
    weighted = p[None] * scores
    mean = weighted.sum(axis=2)
    gradient = jnp.sum(jnp.where(counted[None], scores[:, row, chosen], 0.0) - mean, axis=1)
    # As one product of two matrices, for which a CPU takes a fourth of the time of an einsum.
    second = weighted.reshape(len(scores), -1) @ scores.reshape(len(scores), -1).T
    curvature = second - mean @ mean.T
    return likelihood, gradient, curvature


def fused(scores: Float[Array, "F ..."], weights: Float[Array, " F"]) -> Float[Array, "..."]:
    """The weighted sum of the experts' scores."""
    return jnp.tensordot(weights, scores, axes=1)
