"""Metrics for parts of the users: by the length of the history and by what the target is."""

from typing import Any

import numpy as np

from genrec.evaluation.metrics import summarise


def segments(
    ranks: np.ndarray, lengths: np.ndarray, target_counts: np.ndarray, *, k: int, width: int
) -> dict[str, dict[str, Any]]:
    """Metrics by history length, popularity of the target, and warm or cold target.

    Lengths and counts are cut at their quartiles over the users; equal values stay together.

    Args:
        ranks: int64 (U,), from `target_ranks` of lists of `width` items.
        lengths: int64 (U,), items in each history.
        target_counts: int64 (U,), training interactions of each target; a target without one is
            cold, and in no part by popularity.

    Returns:
        {"history length": {"3-5": {"users": …, "recall@10": …, …}, …}, "popularity": …,
        "target": {"warm": …, "cold": …}}; parts without users are left out.
    """
    warm = target_counts > 0
    parts = {
        "history length": _quartiles(lengths, np.ones_like(warm)),
        "popularity": _quartiles(target_counts, warm),
        "target": {"warm": warm, "cold": ~warm},
    }
    return {
        by: {
            name: {"users": int(users.sum()), **summarise(ranks[users], (k,), width)}
            for name, users in groups.items()
            if users.any()
        }
        for by, groups in parts.items()
    }


def _quartiles(values: np.ndarray, among: np.ndarray) -> dict[str, np.ndarray]:
    """bool (U,) each: up to four groups of the users `among`, named by their range of values."""
    if not among.any():
        return {}
    cuts = np.quantile(values[among], [0.25, 0.5, 0.75], method="inverted_cdf")
    numbers = np.searchsorted(np.unique(cuts), values)
    groups = {}
    for number in np.unique(numbers[among]):
        users = among & (numbers == number)
        low, high = values[users].min(), values[users].max()
        groups[f"{low}" if low == high else f"{low}-{high}"] = users
    return groups
