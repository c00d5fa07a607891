"""Whether the codebooks still fit a catalogue that has grown."""

import numpy as np

from genrec.tokenizer.kmeans import nearest, residual_kmeans
from genrec.tokenizer.vectors import sample_rows


def gain_of_refitting(
    fitted: np.ndarray, new: np.ndarray, codebook_sizes: tuple[int, ...], *, seed: int
) -> float:
    """How much better codebooks would describe new items if they had known items like them.

    Two residual k-means are compared on one half of the new items that neither has seen: fitted to
    the old items alone, and to these and the other half. The same with the halves exchanged. New
    items that are like the old ones bring nothing (0, give or take a hundredth); to know that their
    error is larger than that of the items the tokenizer was fitted to would tell nothing, because
    that is so of any item it has not seen.

    Args:
        fitted: float (N, D), the vectors that the tokenizer was fitted to.
        new: float (M, D), those that came later, M ≥ 2.
        codebook_sizes: K_l for each of the L levels.
        seed: of the halves and of k-means.

    Returns:
        The share of the squared error that would go away.
    """
    old = sample_rows(fitted, codebook_sizes, seed)
    centre = old.mean(axis=0, dtype=np.float64).astype(np.float32)
    old = old - centre
    later = sample_rows(new, codebook_sizes, seed) - centre
    half = np.random.default_rng(seed).permutation(len(later)) % 2 == 0
    before = after = 0.0
    without = residual_kmeans(old, codebook_sizes, seed=seed)
    for seen in (half, ~half):
        known = residual_kmeans(np.concatenate([old, later[seen]]), codebook_sizes, seed=seed)
        before += _error(without, later[~seen])
        after += _error(known, later[~seen])
    return 1 - after / before if before else 0.0


def _error(codebooks: list[np.ndarray], vectors: np.ndarray) -> float:
    for codebook in codebooks:
        vectors = vectors - codebook[nearest(codebook, vectors)]
    return float(np.sum(vectors.astype(np.float64) ** 2))
