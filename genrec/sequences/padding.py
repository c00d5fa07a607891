"""Histories in batches of few shapes, so that little is compiled."""

from collections.abc import Iterator, Sequence

import numpy as np

from genrec.sequences.histories import Histories
from genrec.sequences.inputs import Inputs, lay_out


def batches(
    histories: Histories, max_history: int, batch_size: int
) -> Iterator[tuple[np.ndarray, Inputs]]:
    """Which histories are searched together, int (at most B,), and what is read of them.

    Histories of like lengths share a batch, so that short ones do not pay for long ones. A batch
    has empty rows behind its histories where they are fewer than its rows.

    Args:
        max_history: the most recent items of a history that are read.
        batch_size: the most histories in a batch.

    Raises:
        ValueError: a history is empty.
    """
    if len(histories) and histories.lengths.min() == 0:
        raise ValueError("a history without items has nothing to go on")
    lengths = np.minimum(histories.lengths, max_history)
    order = np.argsort(lengths, kind="stable")
    size = min(batch_size, round_up(len(order), smallest=1))
    for first in range(0, len(order), size):
        rows = order[first : first + size]
        width = min(round_up(int(lengths[rows].max())), max_history)
        yield rows, _read(histories, rows, max_history, (size, width))


def filter_table(
    histories: Histories,
    rows: np.ndarray,
    size: int,
    exclude_history: bool,
    exclude: Sequence[np.ndarray] | None,
    allow: Sequence[np.ndarray | None] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The filters of the histories in `rows`; `size` requests in all, the last ones without any.

    Returns:
        int32 (B, X) item indices, -1 for none; bool (B,), whether they are the only ones allowed,
        or else the ones excluded.
    """
    named = []
    allows = np.zeros(size, bool)
    for place, row in enumerate(rows.tolist()):
        parts = [histories[row]] if exclude_history else []
        parts += [] if exclude is None else [exclude[row]]
        items = np.concatenate([np.zeros(0, np.int32), *parts])
        only = None if allow is None else allow[row]
        if only is not None:
            allows[place] = True
            items = np.setdiff1d(only, items)
        named.append(items)
    widest = max(map(len, named), default=1)
    table = np.full((size, round_up(max(widest, 1))), -1, np.int32)
    for place, items in enumerate(named):
        table[place, : len(items)] = items
    return table, allows


def no_lists(count: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """int32 and float32 (count, k): lists of no item, and their scores."""
    return np.full((count, k), -1, np.int32), np.full((count, k), -np.inf, np.float32)


def round_up(length: int, smallest: int = 8) -> int:
    """The next power of two: few shapes, so few compilations."""
    return max(smallest, 1 << max(0, length - 1).bit_length())


def _read(
    histories: Histories, rows: np.ndarray, max_history: int, shape: tuple[int, int]
) -> Inputs:
    """The last items of some histories, a row each, and empty rows behind them."""
    stops = histories.stops[rows]
    starts = np.maximum(histories.starts[rows], stops - max_history)
    row, nought = np.arange(len(rows)), np.zeros(len(rows), np.int64)
    inputs, _ = lay_out(histories, starts, stops, row, nought, nought, shape)
    users = None
    if histories.users is not None:
        users = np.zeros(shape[0], np.uint32)
        users[: len(rows)] = histories.users[rows]
    return inputs._replace(users=users)
