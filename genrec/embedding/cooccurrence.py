"""Vectors of what items are consumed with, beside the vectors of what they say of themselves.

Item text tells what an item is; histories tell what it is chosen with. Only training interactions
may be used, or the codes made from these vectors would know the held-out items.
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
    """Factorises how much more often than by chance two items stand near each other.

    The positive pointwise mutual information of items at most five places apart (a pair counts
    1 / distance), factorised by a truncated SVD: what word2vec does implicitly (Levy and Goldberg
    2014), with its smoothed context distribution (Levy, Goldberg and Dagan 2015).

    Args:
        training: the training part of the histories.
        num_items: N, the size of the catalogue.
        dim: width asked for; the vectors are narrower where the catalogue is smaller.
        seed: of the randomised SVD.

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


def lend(
    other: np.ndarray,
    content: np.ndarray,
    neighbours: int = NEIGHBOURS,
    *,
    fitted: int | None = None,
) -> np.ndarray:
    """Gives items that stand near no other those of the items that they are like.

    Without it all new items would be alike in what they are consumed with, and their codes with
    them.

    Args:
        other: float32 (N, D), what `embed_cooccurrence` returned; zero for items that came later.
        content: float32 (N, E).
        neighbours: the items most similar in content whose mean, of unit norm, is lent.
        fitted: how many of the items were there first; what these get does not depend on the rest.

    Returns:
        float32 (N, D), no row of it zero if any was not.
    """
    missing = ~other.any(axis=1)
    if not missing.any() or missing.all():
        return other
    towards = directions(content, content[:fitted].mean(axis=0, dtype=np.float64))
    index = faiss.IndexFlatIP(towards.shape[1])
    index.add(towards[~missing])  # pyright: ignore[reportCallIssue]
    count = min(neighbours, int((~missing).sum()))
    near = index.search(towards[missing], count)[1]  # pyright: ignore[reportCallIssue]
    filled = other.copy()
    filled[missing] = lent(other[~missing][near])
    return filled


def fuse(
    content: np.ndarray, other: np.ndarray, weight: float, *, fitted: int | None = None
) -> np.ndarray:
    """One vector for each item from two: float32 (N, D + D').

    Both are centred and brought to the same mean squared norm; then the second counts `weight`
    times as much as the first in the distance between two items. The first `fitted` items decide
    the centres and the norms (None: all).
    """
    return beside(
        standardised(content, standard_of(content[:fitted])),
        standardised(other, standard_of(other[:fitted])),
        weight,
    )


def _counts(histories: Histories, num_items: int) -> sp.csr_array:
    """float64 (N, N), symmetric: how often two items are near each other, by 1 / distance."""
    indptr, items = histories.csr()
    user = np.repeat(np.arange(len(histories)), np.diff(indptr))
    total = sp.csr_array((num_items, num_items))
    for distance in range(1, _WINDOW + 1):
        same = np.flatnonzero(user[distance:] == user[:-distance])
        pair = (items[same], items[same + distance])
        weight = np.full(len(same), 1.0 / distance)
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
