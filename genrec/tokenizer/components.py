"""Centre, scale and principal components of a catalogue's vectors, read chunk by chunk."""

import numpy as np

from genrec.tokenizer.vectors import in_chunks, sample_rows


def fitting_sample(
    vectors: np.ndarray, codebook_sizes: tuple[int, ...], seed: int
) -> tuple[np.ndarray, float, np.ndarray]:
    """The sample of `vectors` (N, D), finite, that codebooks are fitted to.

    Returns:
        Their centre and scale, see `centre_and_scale`; and the sample, float32 (n, D) with n ≤ N,
        centred and scaled.
    """
    mean, scale = centre_and_scale(vectors)
    sample = sample_rows(vectors, codebook_sizes, seed)
    return mean, scale, (sample - mean) / np.float32(scale)


def centre_and_scale(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """The mean of `vectors` (N, D), float32 (D,), and the root mean square of their deviations.

    The scale of vectors that are all equal is 1.
    """
    mean = mean_of(vectors)
    energy = 0.0
    for chunk, count in in_chunks(vectors):
        energy += float(np.square(chunk[:count] - mean).sum()) / vectors.size
    scale = float(np.sqrt(energy))
    return mean.astype(np.float32), scale if scale > 1e-12 else 1.0


def principal_components(vectors: np.ndarray, width: int) -> np.ndarray:
    """The principal components of `vectors` (N, D), that of the largest variance first.

    Returns:
        Orthonormal columns, float32 (D, width); zero columns beyond D.
    """
    dim, mean = vectors.shape[1], mean_of(vectors)
    covariance = np.zeros((dim, dim))
    for chunk, count in in_chunks(vectors):
        centred = chunk[:count] - mean
        covariance += centred.T @ centred / len(vectors)
    strongest = np.linalg.eigh(covariance).eigenvectors[:, ::-1][:, :width]
    # An eigenvector's sign depends on the library: make its largest entry positive.
    strongest *= np.sign(strongest[np.abs(strongest).argmax(axis=0), np.arange(strongest.shape[1])])
    components = np.zeros((dim, width), np.float32)
    components[:, : strongest.shape[1]] = strongest
    return components


def mean_of(vectors: np.ndarray) -> np.ndarray:
    """The mean of `vectors` (N, D), float64 (D,)."""
    mean = np.zeros(vectors.shape[1])
    for chunk, count in in_chunks(vectors):
        mean += chunk[:count].sum(axis=0, dtype=np.float64) / len(vectors)
    return mean
