"""What lists are like beyond their accuracy: how much of the catalogue, how new, how varied."""

from collections.abc import Sequence

import numpy as np

from genrec.sequences.histories import Histories

_USERS_AT_ONCE = 4096
_SMOOTHING = 0.01


def coverage(lists: np.ndarray, num_items: int) -> float:
    """The share of the N items that are in any list; `lists` is int (U, K), -1 for none."""
    return len(np.unique(lists[lists >= 0])) / num_items


def gini(lists: np.ndarray, num_items: int) -> float:
    """How unevenly the places of the lists fall to the N items: 0 evenly, towards 1 all to one.

    The Gini index of exposure (Fleder and Hosanagar 2009), items in no list included.
    """
    exposure = np.sort(np.bincount(lists[lists >= 0], minlength=num_items))
    if not exposure.any():
        return 0.0
    place = np.arange(1, num_items + 1)
    return float(((2 * place - num_items - 1) * exposure).sum() / (num_items * exposure.sum()))


def novelty(lists: np.ndarray, users_with: np.ndarray, num_users: int) -> float:
    """The mean over all places of -log2 of the share of users who have the item (Zhou et al. 2010).

    Args:
        lists: int (U, K), -1 for none.
        users_with: int (N,), how many of the `num_users` have each item; counted one more, lest an
            item that nobody has be infinitely novel.
    """
    information = -np.log2((users_with + 1.0) / (num_users + 1.0))
    named = information[lists[lists >= 0]]
    return float(named.mean()) if len(named) else 0.0


def diversity(lists: np.ndarray, vectors: np.ndarray) -> float:
    """The mean over lists of the mean cosine distance of two of its items (Ziegler et al. 2005).

    Args:
        lists: int (U, K), -1 for none; lists of fewer than two items do not count.
        vectors: float (N, E), what the items are like; centred here, so that 1 is the distance of
            two items that have nothing in common.
    """
    unit = vectors - vectors.mean(axis=0)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    unit = np.concatenate([unit, np.zeros((1, unit.shape[1]))])  # where -1 leads to
    total, count = 0.0, 0
    for start in range(0, len(lists), _USERS_AT_ONCE):
        rows = lists[start : start + _USERS_AT_ONCE]
        sizes = (rows >= 0).sum(axis=1)
        enough = sizes > 1
        here = unit[rows[enough]]
        # The cosines of all pairs, without the pairs: those of the sum with itself.
        own = np.square(here).sum(axis=(1, 2))
        pairs = np.square(here.sum(axis=1)).sum(axis=1) - own
        total += float((1 - pairs / (sizes[enough] * (sizes[enough] - 1))).sum())
        count += int(enough.sum())
    return total / count if count else 0.0


def miscalibration(
    lists: np.ndarray, histories: Histories, categories: Sequence[str | None]
) -> float:
    """How far the categories of a list are from those of the history: Steck's C_KL (2018), a mean.

    The Kullback-Leibler divergence, in nats, of the list's shares of categories from the history's,
    the former smoothed by a hundredth of the latter. 0: the same shares.

    Args:
        lists: int (U, K), -1 for none.
        histories: U histories; users without a categorised item, in history or list, do not count.
        categories: of the N items; None or "" for none.
    """
    names = sorted({name for name in categories if name})
    number = {name: place for place, name in enumerate(names)}
    of = np.array([number.get(name or "", -1) for name in categories] + [-1])
    divergences: list[np.ndarray] = []
    for start in range(0, len(lists), _USERS_AT_ONCE):
        rows = lists[start : start + _USERS_AT_ONCE]
        some = histories.select(np.arange(start, start + len(rows)))
        shape = (len(rows), len(names))
        owner = np.repeat(np.arange(len(rows)), some.lengths)
        wanted = _shares(owner, of[some.csr()[1]], shape)
        owner = np.repeat(np.arange(len(rows)), rows.shape[1])
        given = _shares(owner, of[rows].reshape(-1), shape)
        known = (wanted.sum(axis=1) > 0) & (given.sum(axis=1) > 0)
        p, q = wanted[known], given[known]
        q = (1 - _SMOOTHING) * q + _SMOOTHING * p
        terms = np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0) / np.where(p > 0, q, 1.0)), 0.0)
        divergences.append(terms.sum(axis=1))
    every = np.concatenate(divergences) if divergences else np.zeros(0)
    return float(every.mean()) if len(every) else 0.0


def _shares(owner: np.ndarray, category: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """float `shape`, users × categories: what share of a user's items with one is of each."""
    known = category >= 0
    flat = np.bincount(owner[known] * shape[1] + category[known], minlength=shape[0] * shape[1])
    table = flat.reshape(shape).astype(np.float64)
    return table / np.maximum(table.sum(axis=1, keepdims=True), 1.0)
