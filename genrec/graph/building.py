"""Building the item graph, from training interactions and the content of the items."""

import faiss
import numpy as np
import scipy.sparse as sp

from genrec.graph.item_graph import ItemGraph
from genrec.graph.sparse import (
    by_weight,
    entries,
    strongest,
    with_top_of_one,
    without_diagonal,
)
from genrec.graph.transitions import transitions
from genrec.sequences.histories import Histories

_ALIKE = 10
"""Items most similar in content, from which an item has what is relayed."""
_LONGEST = 256
"""Last items of a history of which any two are taken to be had together."""
_ITEMS_AT_ONCE = 1024


def build_graph(training: Histories, content: np.ndarray, *, most: int) -> ItemGraph:
    """The item graph; see `KINDS`.

    Between items that are had together the weight is n / (√(n_a n_b) + 1), n users having both: the
    cosine of their sets of users, less where those are few. Two hops are the product of the
    transitions with themselves; what is relayed that of content's squared cosines, to the ten
    nearest items, with them. Of each product a row is divided by its largest entry.

    An item without a training interaction borrows: what leads to the items most like it leads to it
    too, by the mean of their weights, in proportion to the squared cosines.

    Args:
        training: the part of the histories that training may see; items in 0…N-1.
        content: float32 (N, C), rows of unit norm, or zero where nothing is known.
        most: neighbours kept of each item, and a quarter as many that borrow.
    """
    count = len(content)
    followed = transitions(training, count, most=most)
    known = training.counts(count) > 0
    alike, lent = _alike(content), _lent(content, known)
    users = user_sets(training, count)
    items, having = users.T.tocsr(), np.asarray(users.sum(axis=0))
    parts = []
    for first in range(0, count, _ITEMS_AT_ONCE):
        rows = slice(first, first + _ITEMS_AT_ONCE)
        common = (items[rows] @ users).tocoo()
        norm = np.sqrt(having[common.row + first] * having[common.col]) + 1
        together = sp.csr_array((common.data / norm, (common.row, common.col)), common.shape)
        two_hops, relayed = (
            with_top_of_one(
                strongest(without_diagonal(sp.csr_array(x[rows] @ followed), first), most)
            )
            for x in (followed, alike)
        )
        together = strongest(without_diagonal(together, first), most)
        kinds = (followed[rows], two_hops, together, relayed)
        kinds = tuple(sp.csr_array(x + x @ lent) for x in kinds)
        parts.append(_union(kinds, known, most))
    degrees, items, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    begins = np.append(0, np.cumsum(degrees)).astype(np.int32)
    return ItemGraph(begins, items, weights, int(degrees.max(initial=0)))


def user_sets(training: Histories, num_items: int, longest: int = _LONGEST) -> sp.csr_array:
    """float32 (users, N): 1 where an item is among the last `longest` of a user's history."""
    starts = np.maximum(training.starts, training.stops - longest)
    indptr, items = Histories(starts, training.stops, training.items).csr()
    sets = sp.csr_array(
        (np.ones(len(items), np.float32), items, indptr), shape=(len(training), num_items)
    )
    sets.sum_duplicates()
    sets.data[:] = 1.0
    return sets


def _alike(content: np.ndarray) -> sp.csr_array:
    """float32 (N, N): the squared cosines to each item's nearest others, over the largest."""
    count, near = len(content), min(_ALIKE + 1, len(content))
    content = np.ascontiguousarray(content, np.float32)
    cosines, items = faiss.knn(content, content, near, metric=faiss.METRIC_INNER_PRODUCT)
    row = np.repeat(np.arange(count), near)
    weight, column = np.maximum(cosines, 0).reshape(-1) ** 2, items.reshape(-1)
    kept = (weight > 0) & (row != column)
    parts = weight[kept], (row[kept], column[kept])
    return with_top_of_one(strongest(sp.csr_array(parts, shape=(count, count)), _ALIKE))


def _lent(content: np.ndarray, known: np.ndarray) -> sp.csr_array:
    """float32 (N, N): what of an edge to each item that training knew goes to each that it did not;
    columns sum to one."""
    count, lenders, new = len(content), np.flatnonzero(known), np.flatnonzero(~known)
    near = min(_ALIKE, len(lenders))
    if not near or not len(new):
        return sp.csr_array((count, count), dtype=np.float32)
    cosines, items = faiss.knn(
        np.ascontiguousarray(content[new], np.float32),
        np.ascontiguousarray(content[lenders], np.float32),
        near,
        metric=faiss.METRIC_INNER_PRODUCT,
    )
    shares = np.maximum(cosines, 0) ** 2
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
    places = (lenders[items].reshape(-1), np.repeat(new, near))
    return sp.csr_array((shares.reshape(-1), places), shape=(count, count))


def _union(
    kinds: tuple[sp.csr_array, ...], known: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Degrees, neighbours and weights of the rows of matrices in the order of `KINDS`.

    Each item keeps the `most` neighbours of the largest sum, and a quarter as many of those that
    are not `known`, bool (N,); the largest first.
    """
    rows, num_items = len(kinds[0].indptr) - 1, len(known)
    row, column, total = entries(sp.csr_array(sum(kinds[1:], start=kinds[0])))
    shape = (rows, num_items)
    apart = (
        strongest(sp.csr_array((total[of], (row[of], column[of])), shape=shape), count)
        for of, count in ((known[column], most), (~known[column], -(-most // 4)))
    )
    row, column, total = entries(sp.csr_array(sum(apart, start=sp.csr_array(shape))))
    order = by_weight(row, column, total)
    edges = row[order] * num_items + column[order]
    weights = np.zeros((len(edges), len(kinds)), np.float32)
    for kind, matrix in enumerate(kinds):
        row_of, column_of, weight = entries(matrix)
        known = np.append(row_of * num_items + column_of, -1)
        at = np.searchsorted(known[:-1], edges)
        weights[:, kind] = np.where(known[at] == edges, np.append(weight, 0)[at], 0.0)
    degrees = np.bincount(row, minlength=rows)
    return degrees, (edges % num_items).astype(np.int32), weights
