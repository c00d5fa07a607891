"""Ragged histories as two flat arrays: no padding, memory-mappable, cheap to slice."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Histories:
    """Many histories, each a run of item indices in time order, oldest first (a CSR layout).

    Attributes:
        indptr: int64 (B+1,), history `b` is `items[indptr[b]:indptr[b + 1]]`.
        items: int32 (total,), item indices in 0…N-1.
    """

    indptr: np.ndarray
    items: np.ndarray

    @classmethod
    def of(cls, histories: Iterable[Sequence[int] | np.ndarray]) -> "Histories":
        """From one sequence of item indices per history."""
        rows = [np.asarray(history, dtype=np.int32) for history in histories]
        indptr = np.cumsum([0] + [len(row) for row in rows], dtype=np.int64)
        return cls(indptr, np.concatenate([np.zeros(0, np.int32), *rows]))

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __getitem__(self, index: int | np.integer) -> np.ndarray:
        return self.items[self.indptr[index] : self.indptr[index + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[b] for b in range(len(self)))

    @property
    def lengths(self) -> np.ndarray:
        """int64 (B,): the number of items in each history."""
        return np.diff(self.indptr)

    def select(self, rows: np.ndarray) -> "Histories":
        """The histories at the given positions (0…B-1, repeats allowed), in that order."""
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"history positions must lie in 0…{len(self) - 1}")
        return self._runs(self.indptr[:-1][rows], self.lengths[rows])

    def without_last(self, count: int) -> "Histories":
        """Every history without its last `count` items; a shorter one becomes empty."""
        return self._runs(self.indptr[:-1], np.maximum(self.lengths - count, 0))

    def _runs(self, starts: np.ndarray, lengths: np.ndarray) -> "Histories":
        """The runs `items[starts[b]:starts[b] + lengths[b]]` as histories of their own."""
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
        shift = np.repeat(starts - indptr[:-1], lengths)
        return Histories(indptr, self.items[np.arange(indptr[-1]) + shift])
