"""Ragged histories as two flat arrays: no padding, memory-mappable, cheap to slice."""

from collections.abc import Iterable, Iterator
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
    def of(cls, histories: Iterable[Iterable[int]]) -> "Histories":
        """From one sequence of item indices per history."""
        rows = [np.asarray(list(history), dtype=np.int32) for history in histories]
        indptr = np.cumsum([0] + [len(row) for row in rows], dtype=np.int64)
        return cls(indptr, np.concatenate([np.zeros(0, np.int32), *rows]))

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        return self.items[self.indptr[index] : self.indptr[index + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[b] for b in range(len(self)))

    @property
    def lengths(self) -> np.ndarray:
        """int64 (B,): the number of items in each history."""
        return np.diff(self.indptr)

    def select(self, rows: np.ndarray) -> "Histories":
        """The histories at the given positions, in that order."""
        return Histories.of(self[int(b)] for b in rows)

    def without_last(self, count: int) -> "Histories":
        """Every history without its last `count` items; a shorter one becomes empty."""
        return Histories.of(history[: max(0, len(history) - count)] for history in self)
