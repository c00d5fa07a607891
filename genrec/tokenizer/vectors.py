"""Reading a catalogue's vectors: chunks, and samples."""

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np

_CHUNK = 4096
_SAMPLED_PER_CODE = 1024
"""Vectors per code of the largest codebook that k-means is given; more change little."""


def in_chunks(rows: np.ndarray, dtype: type = np.float32) -> Iterator[tuple[np.ndarray, int]]:
    """Slices of `rows` (N, D), padded to the same shape, each with its number of real rows.

    With one shape a compiled function serves all slices, and an item's codes cannot depend on how
    many others are encoded with it. Of a memory-mapped file only one slice is in memory at once.
    """
    mapped = _mapping(rows)
    for start in range(0, len(rows), _CHUNK):
        chunk = np.array(rows[start : start + _CHUNK], dtype)
        if mapped is not None:
            mapped.madvise(mmap.MADV_DONTNEED)  # the pages read stay in the system's cache
        yield np.pad(chunk, [(0, _CHUNK - len(chunk)), (0, 0)]), len(chunk)


def sample_rows(vectors: np.ndarray, codebook_sizes: tuple[int, ...], seed: int) -> np.ndarray:
    """A random sample of the rows of `vectors` (N, D) for k-means, float32; all if they are few."""
    count = _SAMPLED_PER_CODE * max(codebook_sizes)
    if count >= len(vectors):
        return np.array(vectors, np.float32)
    rows = np.random.default_rng(seed).choice(len(vectors), count, replace=False)
    return np.array(vectors[np.sort(rows)], np.float32)


def _mapping(rows: np.ndarray) -> mmap.mmap | None:
    """The memory map behind an array, if it is read-only."""
    base: Any = rows
    while isinstance(base, np.ndarray):
        base = base.base
    # Dropping the pages of a private mapping would lose what was written to it.
    return base if isinstance(base, mmap.mmap) and not rows.flags.writeable else None
