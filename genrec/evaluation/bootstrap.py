"""How far a figure might be off because these users, and no others, were asked: the bootstrap."""

from collections.abc import Sequence

import numpy as np

from genrec.evaluation.metrics import per_user

_SAMPLES = 2000


def intervals(
    ranks: np.ndarray,
    top_k: Sequence[int],
    width: int,
    *,
    seed: int,
    samples: int = _SAMPLES,
    level: float = 0.95,
) -> dict[str, list[float]]:
    """Percentile-bootstrap intervals over users (Efron 1979) of the means that `summarise` gives.

    A user's metrics depend on the rank of the target alone. So to draw as many users as there are,
    with replacement, is to draw how many have each rank, which is one multinomial draw.

    Args:
        ranks: int64 (U,), from `target_ranks` of lists of `width` items; U ≥ 1.
        top_k: the cut-offs.
        seed: of the resampling.
        samples: how often to resample.
        level: share of the samples that an interval holds.

    Returns:
        For each metric, [lower, upper].
    """
    counts = np.bincount(ranks, minlength=width + 1)
    drawn = np.random.default_rng(seed).multinomial(len(ranks), counts / len(ranks), size=samples)
    gains = per_user(np.arange(width + 1), top_k, width)
    means = drawn @ np.stack(list(gains.values()), axis=1) / len(ranks)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {name: [float(low[column]), float(high[column])] for column, name in enumerate(gains)}
