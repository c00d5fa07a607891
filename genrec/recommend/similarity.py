"""Items that are alike in content, by a Faiss index of their directions."""

import faiss
import numpy as np

STORED = "SQ8"
"""Faiss index-factory string: of every number eight bits are kept."""


def build_index(vectors: np.ndarray) -> faiss.Index:
    """An index by inner product of vectors (N, C)."""
    vectors = np.ascontiguousarray(vectors, np.float32)
    index = faiss.index_factory(vectors.shape[1], STORED, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)  # pyright: ignore[reportCallIssue]
    index.add(vectors)  # pyright: ignore[reportCallIssue]
    return index


def nearest(
    index: faiss.Index, directions: np.ndarray, k: int, among: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The k items of `among` (by index) most like each direction (n, C), best first.

    Returns:
        int64 (n, k) items, -1 for none, and float32 (n, k) cosines.
    """
    mask = np.zeros(index.ntotal, bool)
    mask[among] = True
    bits = np.packbits(mask, bitorder="little")
    chosen = faiss.IDSelectorBitmap(bits)  # pyright: ignore[reportCallIssue]
    parameters = faiss.SearchParameters(sel=chosen)  # pyright: ignore[reportCallIssue]
    cosines, items = index.search(  # pyright: ignore[reportCallIssue]
        directions, k, params=parameters
    )
    return items, cosines


def nearest_others(
    index: faiss.Index, items: np.ndarray, k: int, among: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The k items of `among` most like each of `items`, int64 (n,), itself left out.

    See `nearest`.
    """
    directions = np.stack([index.reconstruct(item) for item in items.tolist()])
    near, cosines = nearest(index, directions, k + 1, among)
    itself = near == items[:, None]
    itself[~itself.any(axis=1), -1] = True  # one more was asked for, in case it is the item
    shape = len(items), k
    return near[~itself].reshape(shape), cosines[~itself].reshape(shape)
