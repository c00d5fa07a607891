"""Principal components of a catalogue's vectors, where the RQ-VAE starts from."""

import numpy as np

from genrec.tokenizer.vectors import in_chunks


def principal_components(vectors: np.ndarray, width: int) -> tuple[np.ndarray, float, np.ndarray]:
    """The mean, the scale and the strongest principal components of `vectors` (N, D).

    Returns:
        The mean, float32 (D,); the root mean square of the centred entries; the components as
        orthonormal columns, float32 (D, width), the strongest first, zero beyond D.
    """
    dim = vectors.shape[1]
    mean = np.zeros(dim)
    for chunk, count in in_chunks(vectors):
        mean += chunk[:count].sum(axis=0, dtype=np.float64) / len(vectors)
    covariance = np.zeros((dim, dim))
    for chunk, count in in_chunks(vectors):
        centred = chunk[:count] - mean
        covariance += centred.T @ centred / len(vectors)
    scale = float(np.sqrt(np.trace(covariance) / dim))
    found = np.linalg.eigh(covariance).eigenvectors[:, ::-1][:, :width]
    # An eigenvector's sign is the library's whim: make its largest entry positive.
    found *= np.sign(found[np.abs(found).argmax(axis=0), np.arange(found.shape[1])])
    components = np.zeros((dim, width), np.float32)
    components[:, : found.shape[1]] = found
    return mean.astype(np.float32), scale if scale > 1e-12 else 1.0, components
