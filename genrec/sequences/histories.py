"""Ragged histories as views into flat arrays: no padding, and no copy of what is on disk."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Histories:
    """Many histories, each a run of item indices in time order, oldest first.

    Several of them may share one flat array, which may be memory-mapped: `select`,
    `up_to` and `without_last` only choose other runs, so they take O(B) and never copy an item.

    Attributes:
        starts, stops: int64 (B,), history `b` is `items[starts[b]:stops[b]]`.
        items: int32 (total,), item indices in 0…N-1; also those outside of every history.
        timestamps: int64 (total,), seconds since 1970, aligned with `items`; None where unknown.
        users: uint32 (B,), a hash of each user's id as `hash_user_ids` makes it; None where
            unknown.

    Raises:
        ValueError: the arrays do not fit each other.
    """

    starts: np.ndarray
    stops: np.ndarray
    items: np.ndarray
    timestamps: np.ndarray | None = None
    users: np.ndarray | None = None

    def __post_init__(self):
        for one, other, fault in (
            (self.stops, self.starts, "stop for every start of a history"),
            (self.timestamps, self.items, "timestamp for every item"),
            (self.users, self.starts, "user for every history"),
        ):
            if one is not None and one.shape != other.shape:
                raise ValueError(f"not one {fault}: {len(one)} for {len(other)}")

    @classmethod
    def of(
        cls,
        histories: Iterable[Sequence[int] | np.ndarray],
        timestamps: Iterable[Sequence[int] | np.ndarray] | None = None,
        users: Sequence[int] | np.ndarray | None = None,
    ) -> "Histories":
        """From one sequence of item indices per history, and of as many timestamps if known.

        Raises:
            ValueError: a history has not one timestamp for every item, or `users` has not one
                hash for every history.
        """
        rows = [np.asarray(history, dtype=np.int32) for history in histories]
        ends = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        items = np.concatenate([np.zeros(0, np.int32), *rows])
        times = None
        if timestamps is not None:
            stamps = [np.asarray(row, dtype=np.int64) for row in timestamps]
            if list(map(len, stamps)) != list(map(len, rows)):
                raise ValueError("not one timestamp for every item of every history")
            times = np.concatenate([np.zeros(0, np.int64), *stamps])
        hashes = None if users is None else np.asarray(users, dtype=np.uint32)
        return cls(ends[:-1], ends[1:], items, times, hashes)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int | np.integer) -> np.ndarray:
        return self.items[self.starts[index] : self.stops[index]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[b] for b in range(len(self)))

    @property
    def lengths(self) -> np.ndarray:
        """int64 (B,): the number of items in each history."""
        return self.stops - self.starts

    def select(self, rows: np.ndarray) -> "Histories":
        """The histories at the given positions (0…B-1, repeats allowed), in that order."""
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"history positions must lie in 0…{len(self) - 1}")
        users = None if self.users is None else self.users[rows]
        return Histories(self.starts[rows], self.stops[rows], self.items, self.timestamps, users)

    def up_to(self, stops: np.ndarray) -> "Histories":
        """Every history up to a position in `items`, int64 (B,), from its start to its stop."""
        return Histories(self.starts, stops, self.items, self.timestamps, self.users)

    def without_last(self, count: int) -> "Histories":
        """Every history without its last `count` items; a shorter one becomes empty."""
        return self.up_to(np.maximum(self.stops - count, self.starts))

    def csr(self) -> tuple[np.ndarray, np.ndarray]:
        """The items of these histories alone, end to end, as the rows of a sparse matrix.

        Returns:
            indptr int64 (B+1,) and items int32 (indptr[B],); history `b` is
            `items[indptr[b]:indptr[b + 1]]`. Where the histories lie end to end already, the items
            are a view, which may be read-only; elsewhere they are a copy in memory.
        """
        lengths = self.lengths
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
        if len(self) and np.array_equal(self.starts[1:], self.stops[:-1]):
            return indptr, self.items[self.starts[0] : self.stops[-1]]
        items = np.empty(indptr[-1], np.int32)
        # An item's position takes more memory than the item, so few are looked up at once.
        for first, last in runs(indptr, _AT_ONCE):
            begin, end = indptr[first], indptr[last]
            shift = np.repeat(self.starts[first:last] - indptr[first:last], lengths[first:last])
            items[begin:end] = self.items[np.arange(begin, end) + shift]
        return indptr, items

    def counts(self, num_items: int) -> np.ndarray:
        """int64 (num_items,): how often each item occurs."""
        counts = np.zeros(num_items, np.int64)
        indptr = np.append(0, np.cumsum(self.lengths, dtype=np.int64))
        for first, last in runs(indptr, _AT_ONCE):
            _, items = self.select(np.arange(first, last)).csr()
            counts += np.bincount(items, minlength=num_items)
        return counts


def runs(indptr: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """Ranges (first, last) of a CSR's rows, in order: of at most `most` entries, or of one row."""
    first, rows = 0, len(indptr) - 1
    while first < rows:
        full = int(np.searchsorted(indptr, indptr[first] + most, side="right")) - 1
        last = max(first + 1, full)
        yield first, last
        first = last


def hash_user_ids(user_ids: Sequence[str]) -> np.ndarray:
    """uint32 (U,): a hash of each user's id, the same in every run and on every machine.

    It is the first four bytes of BLAKE2b of the id in UTF-8, the least significant first, and
    assigns users to a fixed number of tokens (modulo that number), as TIGER does.
    """
    digests = (hashlib.blake2b(name.encode(), digest_size=4).digest() for name in user_ids)
    return np.frombuffer(b"".join(digests), dtype="<u4").astype(np.uint32)
