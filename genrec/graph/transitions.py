"""What followed what: directed counts of items one, two and three steps apart."""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from genrec.graph.sparse import strongest, with_top_of_one
from genrec.sequences.histories import Histories, runs

GAPS = (1.0, 0.5, 0.25)
"""How much it counts that an item came one step after another, two, three."""
_AT_ONCE = 1 << 24
"""Pairs that are sorted at a time; each takes some 50 bytes."""


def transitions(training: Histories, num_items: int, *, most: int) -> sp.csr_array:
    """float32 (N, N): what followed each item in the training histories.

    From a to b it is Σ_g GAPS[g] log(1 + how often b came g + 1 steps after a), divided by the
    largest of a's row, so all lie in (0, 1].

    Memory is bounded by the edges that are kept and by `_AT_ONCE`: the histories are read again for
    every range of items that so many pairs begin with.

    Args:
        training: the part of the histories that training may see; items in 0…N-1.
        num_items: N.
        most: neighbours kept of each item, the strongest.
    """
    begins = np.append(0, np.cumsum(training.counts(num_items)))
    parts = [
        _from_items(training, num_items, first, last, most)
        for first, last in runs(begins, _AT_ONCE)
    ]
    return sp.csr_array(sp.vstack([*parts, sp.csr_array((0, num_items), dtype=np.float32)]))


def _from_items(
    training: Histories, num_items: int, first: int, last: int, most: int
) -> sp.csr_array:
    """The rows of the items first…last-1."""
    keys, weights = [np.zeros(0, np.int64)], [np.zeros(0)]
    for gap, share in enumerate(GAPS, 1):
        pairs = [np.zeros(0, np.int64), *_pairs(training, num_items, first, last, gap)]
        key, count = np.unique(np.concatenate(pairs), return_counts=True)
        keys.append(key)
        weights.append(share * np.log1p(count))
    key, edge = np.unique(np.concatenate(keys), return_inverse=True)
    weight = np.bincount(edge.reshape(-1), np.concatenate(weights), len(key))
    row, column = np.divmod(key, num_items)
    rows = sp.csr_array((weight, (row, column)), shape=(last - first, num_items))
    return with_top_of_one(strongest(rows, most))


def _pairs(
    training: Histories, num_items: int, first: int, last: int, gap: int
) -> Iterator[np.ndarray]:
    """int64, (a - first) N + b, for all items a of first…last-1 and b so many steps later."""
    for begin, end in runs(np.append(0, np.cumsum(training.lengths)), _AT_ONCE):
        histories = training.select(np.arange(begin, end))
        _, items = histories.csr()
        user = np.repeat(np.arange(len(histories)), histories.lengths)
        before, after = items[:-gap].astype(np.int64), items[gap:]
        wanted = (user[gap:] == user[:-gap]) & (first <= before) & (before < last)
        yield (before[wanted] - first) * num_items + after[wanted]
