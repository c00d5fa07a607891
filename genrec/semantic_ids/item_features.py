"""The input of the tokenizer: vectors of items' content, and of what they are consumed with.

An item's direction is its content vector, centred on the mean of the catalogue's and of unit norm.

Array shapes: N items, C width of content vectors, G width of co-occurrence vectors (what an item is
consumed with), R most similar items.
"""

import faiss
import numpy as np

NEIGHBOURS = 10
"""R, the items most similar in content that lend a new item their co-occurrence vectors."""


def standard_of(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """What vectors (N, C) or (N, G) are standardised by: their mean, float (C,) or (G,), and their
    norm, the root mean square of their distances from it."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    norm = float(np.sqrt(np.mean(np.sum((vectors - mean) ** 2, axis=1))))
    return mean, max(norm, 1e-12)


def standardised(vectors: np.ndarray, mean: np.ndarray, norm: float) -> np.ndarray:
    """The vectors with this mean taken away, divided by this norm; see `standard_of`."""
    return (vectors - mean) / norm


def directions(content: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """float32 (N, C): the directions of content vectors (N, C); 0 for an item that is the mean."""
    centred = np.ascontiguousarray(content - mean, np.float32)
    faiss.normalize_L2(centred)
    return centred


def lent(near: np.ndarray) -> np.ndarray:
    """(N, G): the mean of the co-occurrence vectors (N, R, G) of each item's most similar ones,
    of unit norm."""
    mean = near.mean(axis=1)
    return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-6)


def beside(content: np.ndarray, other: np.ndarray, weight: float) -> np.ndarray:
    """float32 (N, C + G): standardised vectors of both kinds in one, the other times `weight`."""
    return np.concatenate([content, weight * other], axis=1).astype(np.float32)
