"""Vectors of what items are consumed with, beside the vectors of what they say of themselves.

Item text tells what an item is; histories tell what it is chosen with. Only training interactions
may be used, or the codes made from these vectors would know the held-out items.
"""

import faiss
import numpy as np
import scipy.sparse as sp
from sklearn.utils.extmath import randomized_svd

from genrec.core.histories import Histories

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
    other: np.ndarray, content: np.ndarray, neighbours: int = 10, *, fitted: int | None = None
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
    centred = (content - content[:fitted].mean(axis=0, dtype=np.float64)).astype(np.float32)
    faiss.normalize_L2(centred)
    index = faiss.IndexFlatIP(centred.shape[1])
    index.add(centred[~missing])  # pyright: ignore[reportCallIssue]
    count = min(neighbours, int((~missing).sum()))
    near = index.search(centred[missing], count)[1]  # pyright: ignore[reportCallIssue]
    lent = other.copy()
    lent[missing] = other[~missing][near].mean(axis=1)
    norm = np.linalg.norm(lent[missing], axis=1, keepdims=True)
    lent[missing] /= np.maximum(norm, 1e-6)
    return lent


def fuse(
    content: np.ndarray, other: np.ndarray, weight: float, *, fitted: int | None = None
) -> np.ndarray:
    """One vector for each item from two: float32 (N, D + D').

    Both are centred and brought to the same mean squared norm; then the second counts `weight`
    times as much as the first in the distance between two items. The first `fitted` items decide
    the centres and the norms (None: all).
    """
    parts = [_standardised(content, fitted), weight * _standardised(other, fitted)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _standardised(vectors: np.ndarray, fitted: int | None) -> np.ndarray:
    centred = vectors - vectors[:fitted].mean(axis=0, dtype=np.float64)
    norm = float(np.sqrt(np.mean(np.sum(centred[:fitted] ** 2, axis=1))))
    return centred / max(norm, 1e-12)


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
