"""Packing ragged histories into rows of a fixed length, several users to a row."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from genrec.data.histories import Histories


class Batch(NamedTuple):
    """R packed rows of S slots; on the device, the same as JAX arrays.

    Attributes:
        items: int32 (R, S), the item at each slot.
        targets: int32 (R, S), the item that came next.
        segments: int32 (R, S), which history of its row a slot belongs to; -1 where there is none.
        filled: bool (R, S), false at slots without an item, whose other entries mean nothing.
    """

    items: np.ndarray | jax.Array
    targets: np.ndarray | jax.Array
    segments: np.ndarray | jax.Array
    filled: np.ndarray | jax.Array


def epoch_batches(
    histories: Histories, *, rows: int, row_length: int, max_history: int, seed: int, epoch: int
) -> Iterator[Batch]:
    """The batches of one epoch: every next item of every history is a target exactly once.

    The order of users is a permutation drawn from (seed, epoch), so any epoch can be made again
    without those before it. A history with more than `max_history` items before its last is cut
    into windows of `max_history`, at a point that is drawn anew in each epoch. All batches have the
    same shape; the last one is filled up with empty rows.
    """
    generator = np.random.default_rng((seed, epoch))
    windows = _windows(histories, max_history, generator)
    placed = _best_fit([stop - start for start, stop in windows], row_length)
    for first in range(0, len(placed), rows):
        yield _batch(histories, windows, placed[first : first + rows], rows, row_length)


def _windows(histories: Histories, longest: int, generator: np.random.Generator):
    """Runs (start, stop) of input positions in `histories.items`, in a shuffled order of users."""
    windows: list[tuple[int, int]] = []
    starts, stops = histories.indptr[:-1].tolist(), histories.indptr[1:].tolist()
    for user in generator.permutation(len(histories)).tolist():
        start, stop = starts[user], stops[user] - 1
        if stop - start > longest:
            cut = start + int(generator.integers(1, longest + 1))
            windows.append((start, cut))
            start = cut
        while start < stop:
            windows.append((start, min(start + longest, stop)))
            start += longest
    return windows


def _best_fit(lengths: list[int], capacity: int) -> list[list[int]]:
    """Rows of piece numbers: each piece goes to the open row that it fills best."""
    rows: list[list[int]] = []
    open_rows: list[list[int]] = [[] for _ in range(capacity + 1)]  # by the slots left
    for piece, length in enumerate(lengths):
        left = next((n for n in range(length, capacity + 1) if open_rows[n]), None)
        if left is None:
            row, left = len(rows), capacity
            rows.append([])
        else:
            row = open_rows[left].pop()
        rows[row].append(piece)
        open_rows[left - length].append(row)
    return rows


def _batch(histories, windows, placed, rows: int, row_length: int) -> Batch:
    items = np.zeros((rows, row_length), np.int32)
    targets = np.zeros((rows, row_length), np.int32)
    segments = np.full((rows, row_length), -1, np.int32)
    for row, pieces in enumerate(placed):
        at = 0
        for segment, piece in enumerate(pieces):
            start, stop = windows[piece]
            slots = slice(at, at + stop - start)
            items[row, slots] = histories.items[start:stop]
            targets[row, slots] = histories.items[start + 1 : stop + 1]
            segments[row, slots] = segment
            at += stop - start
    return Batch(items, targets, segments, segments >= 0)
