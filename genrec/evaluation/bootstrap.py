"""The bootstrap: how far off a figure might be because these users happened to be measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genrec.evaluation.metrics import per_user

_SAMPLES = 2000
_SAMPLES_AT_ONCE = 100
_LEVEL = 0.95
_ENDS = ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2)
"""Quantiles of the samples between which 95 % of them lie."""


@dataclass(frozen=True)
class Difference:
    """How far the mean of one recommender is above that of another, by a paired bootstrap.

    Attributes:
        low, high: the ends of the 95 % interval.
        p: the two-sided probability of a difference at least as large if there were none.
    """

    mean: float
    low: float
    high: float
    p: float

    @property
    def significant(self) -> bool:
        """Whether it is more than chance, at 95 %."""
        return self.low > 0 or self.high < 0


def intervals(
    ranks: np.ndarray, top_k: Sequence[int], width: int, *, seed: int
) -> dict[str, list[float]]:
    """95 % percentile intervals over users (Efron 1979) of the means that `summarise` gives.

    A user's metrics depend on the rank of the target alone. So drawing as many users as there are,
    with replacement, is drawing how many have each rank, which is one multinomial draw.

    Args:
        ranks: int64 (U,), from `target_ranks` of lists of `width` items; U ≥ 1.

    Returns:
        For each metric, [lower, upper].
    """
    counts = np.bincount(ranks, minlength=width + 1)
    drawn = np.random.default_rng(seed).multinomial(len(ranks), counts / len(ranks), size=_SAMPLES)
    gains = per_user(np.arange(width + 1), top_k, width)
    means = drawn @ np.stack(list(gains.values()), axis=1) / len(ranks)
    low, high = np.quantile(means, _ENDS, axis=0)
    return {name: [float(low[column]), float(high[column])] for column, name in enumerate(gains)}


def paired_difference(a: np.ndarray, b: np.ndarray) -> Difference:
    """How far `b` is above `a`: users are resampled, each with the values that both have for them.

    (Efron and Tibshirani 1993, chapter 16; Sakai 2006 for rankings.)

    Args:
        a, b: float64 (U,), a metric of each user.
    """
    gains = b - a
    users, rng = len(gains), np.random.default_rng(0)
    means = np.concatenate(
        [
            gains[rng.integers(0, users, (_SAMPLES_AT_ONCE, users))].mean(axis=1)
            for _ in range(_SAMPLES // _SAMPLES_AT_ONCE)
        ]
    )
    low, high = np.quantile(means, _ENDS)
    p = min(1.0, 2 * min((means <= 0).mean(), (means >= 0).mean()))
    return Difference(float(gains.mean()), float(low), float(high), float(p))
