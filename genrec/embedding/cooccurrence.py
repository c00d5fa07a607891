"""Co-occurrence vectors: which items are consumed together; and fusing them with content vectors.

Only training interactions may be used, or the codes made from these vectors would know the
held-out items. Array shapes: N items, C width of content, D width of co-occurrence.
"""

import faiss
import numpy as np
import scipy.sparse as sp
from sklearn.utils.extmath import randomized_svd

from genrec.semantic_ids.item_features import (
    NEIGHBOURS,
    beside,
    directions,
    lent,
    standard_of,
    standardised,
)
from genrec.sequences.histories import Histories

_WINDOW = 5
_SMOOTHING = 0.75


def embed_cooccurrence(training: Histories, num_items: int, *, dim: int, seed: int) -> np.ndarray:
    """Vectors of items that are near each other where the items are often consumed together.

    The positive pointwise mutual information of items at most five positions apart (a pair counts
    1 / distance), factorised by a truncated SVD: what word2vec does implicitly (Levy and Goldberg
    2014), with its smoothed context distribution (Levy, Goldberg and Dagan 2015).

    Args:
        num_items: N, the size of the catalogue.
        dim: the width D; a catalogue of fewer items gets narrower vectors.

    Returns:
        float32 (N, D), rows of unit norm; zero for an item without neighbours in any history.
    """
    information = _positive_information(_counts(training, num_items))
    size = min(dim, num_items)
    left, strength, _ = randomized_svd(information, size, random_state=seed)
    vectors = left * np.sqrt(strength)
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norm, out=np.zeros_like(vectors), where=norm > 1e-6).astype(
        np.float32
    )


def lend(cooccurrence: np.ndarray, content: np.ndarray, *, fitted: int | None = None) -> np.ndarray:
    """Replaces zero vectors by the mean vector, of unit norm, of the items most similar in content.

    Without it all new items would have the same co-occurrence vector, and similar codes for it.

    Args:
        cooccurrence: float32 (N, D), see `embed_cooccurrence`; zero for items that came later.
        content: float32 (N, C).
        fitted: how many of the items the tokenizer was fitted to, which come first; their vectors
            do not depend on the others. None: all.

    Returns:
        float32 (N, D) without zero rows, unless all rows are zero.
    """
    missing = ~cooccurrence.any(axis=1)
    if not missing.any() or missing.all():
        return cooccurrence
    towards = directions(content, content[:fitted].mean(axis=0, dtype=np.float64))
    count = min(NEIGHBOURS, int((~missing).sum()))
    metric = faiss.METRIC_INNER_PRODUCT
    near = faiss.knn(towards[missing], towards[~missing], count, metric)[1]
    filled = cooccurrence.copy()
    filled[missing] = lent(cooccurrence[~missing][near])
    return filled


def fuse(
    content: np.ndarray, cooccurrence: np.ndarray, weight: float, *, fitted: int | None = None
) -> np.ndarray:
    """Concatenates two vectors of each item: float32 (N, C) and (N, D) → float32 (N, C + D).

    Both are centred and brought to the same mean squared norm; then the second counts `weight`
    times as much as the first in the distance between two items. The first `fitted` items decide
    the centres and the norms (None: all).
    """
    return beside(
        standardised(content, *standard_of(content[:fitted])),
        standardised(cooccurrence, *standard_of(cooccurrence[:fitted])),
        weight,
    )


def _counts(histories: Histories, num_items: int) -> sp.csr_array:
    """float64 (N, N), symmetric: how often two items are near each other, by 1 / distance."""
    indptr, items = histories.csr()
    user = np.repeat(np.arange(len(histories)), np.diff(indptr))
    total = sp.csr_array((num_items, num_items))
    for distance in range(1, _WINDOW + 1):
        first = np.flatnonzero(user[distance:] == user[:-distance])
        pair = (items[first], items[first + distance])
        weight = np.full(len(first), 1.0 / distance)
        total = total + sp.csr_array((weight, pair), shape=total.shape)
    return sp.csr_array(total + total.T)


def _positive_information(counts: sp.csr_array) -> sp.csr_array:
    """max(0, log p(i, j) / (p(i) q(j))), q being p with its differences smoothed."""
    mass = counts.sum(axis=0)
    smoothed = mass**_SMOOTHING
    pairs = counts.tocoo()
    chance = mass[pairs.row] * smoothed[pairs.col] / max(smoothed.sum(), 1e-12)
    value = np.maximum(np.log(pairs.data / chance), 0.0)
    return sp.csr_array((value, (pairs.row, pairs.col)), shape=counts.shape)
