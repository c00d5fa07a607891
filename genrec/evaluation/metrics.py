"""Recall@K, NDCG@K and MRR@K with one relevant item per user, over whole ranked lists.

A user whose target is not in the list counts as 0 and stays in the average.
"""

from collections.abc import Sequence

import numpy as np

_NAMES = {"recall": "Recall", "ndcg": "NDCG", "mrr": "MRR", "hit_rate": "Hit rate"}


def label(metric: str) -> str:
    """A metric's name for people: "ndcg@10" → "NDCG@10", "hit_rate" → "Hit rate"."""
    kind, at, cut_off = metric.partition("@")
    return f"{_NAMES.get(kind, kind.capitalize())}{at}{cut_off}"


def target_ranks(recommended: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The rank of each user's target in their list.

    Args:
        recommended: int32 (U, M), item indices, best first; −1 where a list has no more items.
        targets: int32 (U,), the item held out for each user.

    Returns:
        int64 (U,): the 0-based rank of the target, M where it is missing.

    Raises:
        ValueError: shapes disagree, a list names an item twice, or a target is negative (it would
            match the padding).
    """
    if recommended.ndim != 2 or targets.shape != recommended.shape[:1]:
        raise ValueError(
            f"lists of shape {recommended.shape} do not fit targets of shape {targets.shape}"
        )
    if (targets < 0).any():
        raise ValueError(f"user {int((targets < 0).argmax())} has a negative target")
    ordered = np.sort(recommended, axis=1)
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1)
    if twice.any():
        raise ValueError(f"the list of user {int(twice.argmax())} names an item twice")
    hits = recommended == targets[:, None]
    # A column of hits behind the last rank makes argmax answer M where the target is missing.
    missing = np.ones((len(hits), 1), dtype=bool)
    return np.concatenate([hits, missing], axis=1).argmax(axis=1).astype(np.int64)


def recall_at(ranks: np.ndarray, k: int, width: int) -> np.ndarray:
    """Recall@K of each user: 1 if the target is among the first `k`, else 0.

    Args:
        ranks: int64 (U,), from `target_ranks`.
        width: M, the length of the lists that `ranks` came from. A missing target has rank M, so
            without this check a `k` above M would count every missing target as a hit.

    Returns:
        float64 (U,).

    Raises:
        ValueError: `k` is not in 1…width.
    """
    if not 1 <= k <= width:
        raise ValueError(f"a cut-off of {k} cannot be measured on lists of {width} items")
    return (ranks < k).astype(np.float64)


def ndcg_at(ranks: np.ndarray, k: int, width: int) -> np.ndarray:
    """NDCG@K of each user: 1 / log2(rank + 2) if the target is among the first `k`, else 0.

    With one relevant item the ideal gain is 1, so this is the gain itself (Järvelin and Kekäläinen
    2002). Arguments, result and errors as in `recall_at`.
    """
    return recall_at(ranks, k, width) / np.log2(ranks + 2.0)


def mrr_at(ranks: np.ndarray, k: int, width: int) -> np.ndarray:
    """Reciprocal rank of each user: 1 / (rank + 1) if the target is among the first `k`, else 0.

    Arguments, result and errors as in `recall_at`.
    """
    return recall_at(ranks, k, width) / (ranks + 1.0)


def per_user(ranks: np.ndarray, top_k: Sequence[int], width: int) -> dict[str, np.ndarray]:
    """Every metric of every user, float64 (U,): {"recall@5": …, "ndcg@5": …, "mrr@5": …, …}.

    The hit rate, whether any relevant item is listed, equals Recall: there is one relevant item.
    Arguments and errors as in `recall_at`, for the cut-offs `top_k`.
    """
    metrics = {"recall": recall_at, "ndcg": ndcg_at, "mrr": mrr_at, "hit_rate": recall_at}
    return {
        f"{name}@{k}": metric_at(ranks, k, width)
        for k in top_k
        for name, metric_at in metrics.items()
    }


def summarise(ranks: np.ndarray, top_k: Sequence[int], width: int) -> dict[str, float]:
    """The means of `per_user` over all users, for the cut-offs `top_k`.

    Raises:
        ValueError: there are no users, or a cut-off is not in 1…width.
    """
    if len(ranks) == 0:
        raise ValueError("there are no users to average over")
    return {name: float(values.mean()) for name, values in per_user(ranks, top_k, width).items()}
