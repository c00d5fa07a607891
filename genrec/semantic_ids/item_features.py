"""What the tokenizer is given of an item: what it says of itself, and what it is consumed with.

An item's direction is its content vector, centred on the mean of the catalogue's and of unit norm.

Array shapes: N items, E width of content, D of what they are consumed with.
"""

from typing import NamedTuple

import faiss
import numpy as np

NEIGHBOURS = 10
"""Items most similar in content that lend a new one what they are consumed with."""


class Standard(NamedTuple):
    """What brings vectors to a centre of zero and a root mean square norm of one.

    Attributes:
        mean: float (D,).
        norm: root mean square of the norms about it.
    """

    mean: np.ndarray
    norm: float


def standard_of(vectors: np.ndarray) -> Standard:
    """That of vectors (N, D)."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    norm = float(np.sqrt(np.mean(np.sum((vectors - mean) ** 2, axis=1))))
    return Standard(mean, max(norm, 1e-12))


def standardised(vectors: np.ndarray, standard: Standard) -> np.ndarray:
    """The same vectors by a standard."""
    return (vectors - standard.mean) / standard.norm


def directions(content: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """float32 (N, E); zero for an item that is just the mean."""
    centred = np.ascontiguousarray(content - mean, np.float32)
    faiss.normalize_L2(centred)
    return centred


def lent(near: np.ndarray) -> np.ndarray:
    """What an item borrows of those that are like it: the mean of (N, n, D), of unit norm."""
    mean = near.mean(axis=1)
    return mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-6)


def beside(content: np.ndarray, other: np.ndarray, weight: float) -> np.ndarray:
    """float32 (N, E + D): one vector of two standardised ones, of which the second counts `weight`
    times as much in the distance between two items."""
    return np.concatenate([content, weight * other], axis=1).astype(np.float32)
