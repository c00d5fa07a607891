"""What lists are like beyond their accuracy: how much of the catalogue, how new, how varied.

Lists are int32 (U, k), item indices, -1 for none, for U users and N items.
"""

from collections.abc import Sequence

import numpy as np

from genrec.sequences.histories import Histories

DESCRIPTIONS = {
    "coverage": "share of the catalogue in any list",
    "gini": "inequality of exposure: 0 evenly, 1 all to one item",
    "novelty": "mean -log2 of the share of users who have an item",
    "diversity": "mean cosine distance of the content of two items of a list",
    "miscalibration": "divergence of a list's categories from the history's, nats",
}
_USERS_AT_ONCE = 4096
_SMOOTHING = 0.01


def coverage(lists: np.ndarray, num_items: int) -> float:
    """The share of the N items that are in any list."""
    return len(np.unique(lists[lists >= 0])) / num_items


def gini(lists: np.ndarray, num_items: int) -> float:
    """How unevenly the lists expose the N items: 0 all alike, towards 1 a single item.

    The Gini index of exposure (Fleder and Hosanagar 2009), items in no list included.
    """
    exposure = np.sort(np.bincount(lists[lists >= 0], minlength=num_items))
    if not exposure.any():
        return 0.0
    rank = np.arange(1, num_items + 1)
    return float(((2 * rank - num_items - 1) * exposure).sum() / (num_items * exposure.sum()))


def novelty(lists: np.ndarray, users_with: np.ndarray, num_users: int) -> float:
    """The mean, over all listed items, of -log2 of the share of users who have the item, in bits.

    (Zhou et al. 2010.) `users_with`, float64 (N,), says how many of the `num_users` have each item;
    both are counted one higher, so that an item that nobody has is not infinitely novel.
    """
    information = -np.log2((users_with + 1.0) / (num_users + 1.0))
    listed = information[lists[lists >= 0]]
    return float(listed.mean()) if len(listed) else 0.0


def diversity(lists: np.ndarray, vectors: np.ndarray) -> float:
    """The mean over lists of the mean cosine distance of two of its items (Ziegler et al. 2005).

    Lists of fewer than two items do not count. `vectors`, float32 (N, C), are the content of the
    items; they are centred, so that 1 is the distance of two items that have nothing in common.
    """
    unit = vectors - vectors.mean(axis=0)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    unit = np.concatenate([unit, np.zeros((1, unit.shape[1]))])  # the row that -1 indexes
    total, count = 0.0, 0
    for start in range(0, len(lists), _USERS_AT_ONCE):
        rows = lists[start : start + _USERS_AT_ONCE]
        sizes = (rows >= 0).sum(axis=1)
        enough = sizes > 1
        listed = unit[rows[enough]]
        # The sum of all pairs' cosines is that of the squared sum, less each item's with itself.
        own = np.square(listed).sum(axis=(1, 2))
        pairs = np.square(listed.sum(axis=1)).sum(axis=1) - own
        total += float((1 - pairs / (sizes[enough] * (sizes[enough] - 1))).sum())
        count += int(enough.sum())
    return total / count if count else 0.0


def miscalibration(
    lists: np.ndarray, histories: Histories, categories: Sequence[str | None]
) -> float:
    """How far the categories of a list are from those of the history: Steck's C_KL (2018), a mean.

    The Kullback-Leibler divergence, in nats, of the list's shares of categories from the history's,
    the former smoothed by a hundredth of the latter. 0: the same shares. Users without a
    categorised item, in history or list, do not count. `categories` are of the N items; None or ""
    for none.
    """
    names = sorted({name for name in categories if name})
    number_of = {name: number for number, name in enumerate(names)}
    numbers = np.array([number_of.get(name or "", -1) for name in categories] + [-1])
    divergences: list[np.ndarray] = []
    for start in range(0, len(lists), _USERS_AT_ONCE):
        rows = lists[start : start + _USERS_AT_ONCE]
        chunk = histories.select(np.arange(start, start + len(rows)))
        shape, users = (len(rows), len(names)), np.arange(len(rows))
        p = _shares(np.repeat(users, chunk.lengths), numbers[chunk.csr()[1]], shape)
        q = _shares(np.repeat(users, rows.shape[1]), numbers[rows].reshape(-1), shape)
        counted = (p.sum(axis=1) > 0) & (q.sum(axis=1) > 0)
        p, q = p[counted], q[counted]
        q = (1 - _SMOOTHING) * q + _SMOOTHING * p
        terms = np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0) / np.where(p > 0, q, 1.0)), 0.0)
        divergences.append(terms.sum(axis=1))
    values = np.concatenate(divergences) if divergences else np.zeros(0)
    return float(values.mean()) if len(values) else 0.0


def _shares(users: np.ndarray, categories: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """float64 `shape`, users × categories: each category's share of a user's categorised items.

    `users` and `categories` are int64, an entry for each item of a user, category -1 for none.
    """
    present = categories >= 0
    cells = users[present] * shape[1] + categories[present]
    table = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)
    return table / np.maximum(table.sum(axis=1, keepdims=True), 1.0)
