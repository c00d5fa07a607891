"""Residual k-means: codebooks fitted level by level to what the levels before left over."""

import faiss
import jax.numpy as jnp
import numpy as np

from genrec.tokenizer.components import centre_and_scale
from genrec.tokenizer.tokenizer import Tokenizer
from genrec.tokenizer.vectors import check_vectors, sample_rows


def fit_rqkmeans(vectors: np.ndarray, *, codebook_sizes: tuple[int, ...], seed: int) -> Tokenizer:
    """Fits residual k-means to the vectors themselves, centred and scaled; no encoder, no training.

    Args:
        vectors: float (N, D), finite; of more than 1,024 for each code, a sample is used.
        codebook_sizes: K_l for each of the L levels.
        seed: of the sample and the initial centroids.

    Raises:
        UserError: vectors of the wrong shape or not finite.
    """
    vectors = np.asarray(vectors)
    check_vectors(vectors, codebook_sizes)
    mean, scale = centre_and_scale(vectors)
    sample = (sample_rows(vectors, codebook_sizes, seed) - mean) / np.float32(scale)
    codebooks = residual_kmeans(sample, codebook_sizes, seed=seed)
    params = {"codebooks": {level: jnp.array(book) for level, book in enumerate(codebooks)}}
    return Tokenizer(params, mean, scale, None, vectors.shape[1], codebook_sizes)


def residual_kmeans(
    vectors: np.ndarray,
    codebook_sizes: tuple[int, ...],
    *,
    seed: int,
    iterations: int = 20,
) -> list[np.ndarray]:
    """Fits one k-means codebook per level, each to the residuals of the levels before.

    All vectors are used. With fewer distinct vectors than codes, the codes are the distinct
    vectors themselves, followed by slightly moved copies of them, so that every code is finite and
    none equals another.

    Args:
        vectors: float (N, D), finite, N ≥ 1.
        codebook_sizes: K_l for each of the L levels.
        seed: of the initial centroids.
        iterations: Lloyd iterations per level.

    Returns:
        L codebooks, each float32 (K_l, D).
    """
    residuals = np.array(vectors, dtype=np.float32, order="C")
    codebooks = []
    for level, size in enumerate(codebook_sizes):
        codebook = kmeans(residuals, size, seed + level, iterations)
        residuals -= codebook[nearest(codebook, residuals)]
        codebooks.append(codebook)
    return codebooks


def nearest(codebook: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """int64 (N,): the row of `codebook` (K, D) nearest to each row of `vectors` (N, D)."""
    index = faiss.IndexFlatL2(codebook.shape[1])
    index.add(np.ascontiguousarray(codebook, np.float32))  # pyright: ignore[reportCallIssue]
    found = index.search(np.ascontiguousarray(vectors, np.float32), 1)  # pyright: ignore[reportCallIssue]
    return found[1][:, 0]


def distinct_rows(vectors: np.ndarray) -> np.ndarray:
    """The distinct rows of float32 `vectors` (N, D), in the order of their first appearance."""
    rows = np.ascontiguousarray(vectors, np.float32)
    # Rows as opaque bytes sort much faster than column by column.
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).reshape(-1)
    return rows[np.sort(np.unique(keys, return_index=True)[1])]


def kmeans(vectors: np.ndarray, size: int, seed: int, iterations: int = 20) -> np.ndarray:
    """float32 (size, D): the centroids of `vectors` (N, D); see `residual_kmeans`."""
    rng = np.random.default_rng(seed)
    # Distinct rows are dear to count; a few rows usually show that there are more than enough.
    if (
        len(distinct_rows(vectors[: 4 * size])) <= size
        and len(distinct := distinct_rows(vectors)) <= size
    ):
        rms = float(np.sqrt(np.mean(vectors**2)))
        copies = distinct[rng.integers(len(distinct), size=size - len(distinct))]
        jitter = rng.standard_normal(copies.shape, dtype=np.float32) * max(1e-2 * rms, 1e-6)
        return np.concatenate([distinct, copies + jitter])
    found = faiss.Kmeans(
        vectors.shape[1],
        size,
        niter=iterations,
        seed=seed % 2**31,
        # Faiss warns when it thinks the points few, and takes a sample when it thinks them many.
        min_points_per_centroid=1,
        max_points_per_centroid=1 + len(vectors) // size,
    )
    found.train(vectors)
    return np.array(found.centroids, np.float32)
