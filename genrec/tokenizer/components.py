"""Centre, scale and principal components of a catalogue's vectors, read in pieces."""

import numpy as np

from genrec.tokenizer.vectors import in_chunks


def centre_and_scale(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """The mean of `vectors` (N, D), float32 (D,), and the root mean square of what is then left.

    The scale of vectors that are all the same is 1.
    """
    mean = _mean(vectors)
    energy = 0.0
    for chunk, count in in_chunks(vectors):
        energy += float(np.square(chunk[:count] - mean).sum()) / vectors.size
    scale = float(np.sqrt(energy))
    return mean.astype(np.float32), scale if scale > 1e-12 else 1.0


def principal_components(vectors: np.ndarray, width: int) -> np.ndarray:
    """Those of `vectors` (N, D) about their mean, the strongest first.

    Returns:
        Orthonormal columns, float32 (D, width), zero beyond D.
    """
    dim, mean = vectors.shape[1], _mean(vectors)
    covariance = np.zeros((dim, dim))
    for chunk, count in in_chunks(vectors):
        centred = chunk[:count] - mean
        covariance += centred.T @ centred / len(vectors)
    found = np.linalg.eigh(covariance).eigenvectors[:, ::-1][:, :width]
    # An eigenvector's sign is the library's whim: make its largest entry positive.
    found *= np.sign(found[np.abs(found).argmax(axis=0), np.arange(found.shape[1])])
    components = np.zeros((dim, width), np.float32)
    components[:, : found.shape[1]] = found
    return components


def _mean(vectors: np.ndarray) -> np.ndarray:
    """float64 (D,)."""
    mean = np.zeros(vectors.shape[1])
    for chunk, count in in_chunks(vectors):
        mean += chunk[:count].sum(axis=0, dtype=np.float64) / len(vectors)
    return mean
