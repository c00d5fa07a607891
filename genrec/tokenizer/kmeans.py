"""Residual k-means: the codebook of each level is fitted to the residuals of the level before."""

import faiss
import jax.numpy as jnp
import numpy as np

from genrec.tokenizer.components import fitting_sample
from genrec.tokenizer.tokenizer import Tokenizer

_ITERATIONS = 20
"""Lloyd iterations per level."""


def fit_rqkmeans(vectors: np.ndarray, *, codebook_sizes: tuple[int, ...], seed: int) -> Tokenizer:
    """Fits residual k-means to the centred and scaled vectors, without an encoder.

    Args:
        vectors: float (N, D), finite; if they are more than 1,024 per code, a sample is used.
    """
    mean, scale, sample = fitting_sample(vectors, codebook_sizes, seed)
    codebooks = residual_kmeans(sample, codebook_sizes, seed=seed)
    params = {"codebooks": {level: jnp.array(book) for level, book in enumerate(codebooks)}}
    return Tokenizer(params, mean, scale, None, vectors.shape[1], codebook_sizes)


def residual_kmeans(
    vectors: np.ndarray, codebook_sizes: tuple[int, ...], *, seed: int
) -> list[np.ndarray]:
    """Fits one k-means codebook per level, each to the residuals of the level before.

    All vectors are used. With fewer distinct vectors than codes, the codes are the distinct
    vectors, followed by slightly moved copies of them, so that every code is finite and none
    equals another.

    Args:
        vectors: float (N, D), finite, N ≥ 1.

    Returns:
        L codebooks, each float32 (K_l, D).
    """
    residuals = np.array(vectors, dtype=np.float32, order="C")
    codebooks = []
    for level, size in enumerate(codebook_sizes):
        codebook = kmeans(residuals, size, seed + level)
        residuals -= codebook[nearest(codebook, residuals)]
        codebooks.append(codebook)
    return codebooks


def nearest(codebook: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """int64 (N,): for each row of `vectors` (N, D) the nearest row of `codebook` (K, D)."""
    rows, codes = (np.ascontiguousarray(x, np.float32) for x in (vectors, codebook))
    return faiss.knn(rows, codes, 1)[1][:, 0]


def distinct_rows(vectors: np.ndarray) -> np.ndarray:
    """The distinct rows of float32 `vectors` (N, D), in the order of their first appearance."""
    rows = np.ascontiguousarray(vectors, np.float32)
    # Rows as opaque bytes sort much faster than column by column.
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).reshape(-1)
    return rows[np.sort(np.unique(keys, return_index=True)[1])]


def kmeans(vectors: np.ndarray, size: int, seed: int) -> np.ndarray:
    """float32 (size, D): the centroids of `vectors` (N, D); see `residual_kmeans`."""
    rng = np.random.default_rng(seed)
    # Counting distinct rows is slow; a few rows usually show that there are enough.
    if (
        len(distinct_rows(vectors[: 4 * size])) <= size
        and len(distinct := distinct_rows(vectors)) <= size
    ):
        rms = float(np.sqrt(np.mean(vectors**2)))
        copies = distinct[rng.integers(len(distinct), size=size - len(distinct))]
        jitter = rng.standard_normal(copies.shape, dtype=np.float32) * max(1e-2 * rms, 1e-6)
        return np.concatenate([distinct, copies + jitter])
    clustering = faiss.Kmeans(
        vectors.shape[1],
        size,
        niter=_ITERATIONS,
        seed=seed % 2**31,
        # Faiss warns when it thinks the points few, and takes a sample when it thinks them many.
        min_points_per_centroid=1,
        max_points_per_centroid=1 + len(vectors) // size,
    )
    clustering.train(vectors)
    return np.array(clustering.centroids, np.float32)
