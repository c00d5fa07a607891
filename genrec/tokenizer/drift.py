"""Drift: whether the codebooks still fit a catalogue that has grown."""

import numpy as np

from genrec.tokenizer.kmeans import nearest, residual_kmeans
from genrec.tokenizer.vectors import sample_rows


def gain_of_refitting(
    fitted: np.ndarray, new: np.ndarray, codebook_sizes: tuple[int, ...], *, seed: int
) -> float:
    """How much better the codebooks would describe new items if they were fitted to such items too.

    Compares two residual k-means on one half of the new items: fitted to the old items only, and to
    the old items and the other half of the new ones; then again with the halves exchanged. The
    result is about 0 (± 0.01) for new items that are like the old ones. The error of the existing
    codebooks would be no measure: it is larger for all items that they were not fitted to.

    Args:
        fitted: float (N, D), the vectors that the tokenizer was fitted to.
        new: float (n, D), vectors of new items, n ≥ 2.

    Returns:
        The share of the new items' squared error that refitting would remove.
    """
    old = sample_rows(fitted, codebook_sizes, seed)
    centre = old.mean(axis=0, dtype=np.float64).astype(np.float32)
    old = old - centre
    later = sample_rows(new, codebook_sizes, seed) - centre
    half = np.random.default_rng(seed).permutation(len(later)) % 2 == 0
    before = after = 0.0
    without = residual_kmeans(old, codebook_sizes, seed=seed)
    for seen in (half, ~half):
        refitted = residual_kmeans(np.concatenate([old, later[seen]]), codebook_sizes, seed=seed)
        before += _error(without, later[~seen])
        after += _error(refitted, later[~seen])
    return 1 - after / before if before else 0.0


def _error(codebooks: list[np.ndarray], vectors: np.ndarray) -> float:
    """The sum of the vectors' squared errors after all levels."""
    for codebook in codebooks:
        vectors = vectors - codebook[nearest(codebook, vectors)]
    return float(np.sum(vectors.astype(np.float64) ** 2))
