"""Requests laid out in arrays of few shapes, so that little is compiled.

Array shapes: n requests in a batch of B rows, T slots for items of a history, X for named items.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from genrec.sequences.histories import Histories
from genrec.sequences.inputs import Inputs, lay_out


class RequestBatch(NamedTuple):
    """Some requests, a row each, and empty rows behind them.

    Attributes:
        inputs: (B, T), what is read of the histories.
        named: int32 (B, X), the items that each request names; -1 for none.
        allow: bool (B,), whether those are the only items allowed, or else the ones excluded.
    """

    inputs: Inputs
    named: np.ndarray
    allow: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """The second argument of a bundle's programs, see `genrec.export.stablehlo`."""
        arrays = self.inputs._asdict() | {"named": self.named, "allow": self.allow}
        if self.inputs.gaps is None:
            arrays["gaps"] = np.zeros_like(self.inputs.items)
        return {name: np.asarray(x) for name, x in arrays.items() if x is not None}


class NamedItems(NamedTuple):
    """The items that one request names.

    Attributes:
        items: int32 (X,), each once, in ascending order.
        allow: whether they are the only ones allowed, or else the ones excluded.
    """

    items: np.ndarray
    allow: bool


def round_up(length: int, smallest: int = 8) -> int:
    """The next power of two: few shapes, so few compilations."""
    return max(smallest, 1 << max(0, length - 1).bit_length())


def request_batches(
    histories: Histories,
    max_history: int,
    batch_size: int,
    *,
    exclude_history: bool = False,
    exclude: Sequence[np.ndarray] | None = None,
    allow: Sequence[np.ndarray | None] | None = None,
    named_width: Callable[[int], int] = round_up,
) -> Iterator[tuple[np.ndarray, RequestBatch]]:
    """Which requests are searched together, int (n,), and their arrays.

    Histories of like lengths share a batch, so that short ones do not pay for long ones.

    Args:
        max_history: the most recent items of a history that are read.
        batch_size: the most rows of a batch.
        exclude_history: each request names the items of its history, to exclude them.
        exclude: for each request, more items to exclude.
        allow: for each request, the only items allowed; None for all.
        named_width: how wide the table of named items is, where a request names so many.

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
        slots = min(round_up(int(lengths[rows].max())), max_history)
        named = [
            named_items(
                [histories[row]] * exclude_history + ([] if exclude is None else [exclude[row]]),
                None if allow is None else allow[row],
            )
            for row in rows.tolist()
        ]
        width = named_width(max(len(each.items) for each in named))
        yield rows, request_batch(histories.select(rows), named, (size, slots), width)


def named_items(excluded: Iterable[np.ndarray], allowed: np.ndarray | None) -> NamedItems:
    """What one request names: items to exclude, or the only ones allowed (None for all)."""
    items = np.unique(np.concatenate([np.zeros(0, np.int32), *excluded]))
    if allowed is None:
        return NamedItems(items, False)
    return NamedItems(np.setdiff1d(allowed, items), True)


def request_batch(
    histories: Histories,
    named: Sequence[NamedItems],
    shape: tuple[int, int],
    width: int,
) -> RequestBatch:
    """The arrays of n requests.

    Args:
        histories: n histories, of which the last T items are read.
        named: what each of them names, at most X items.
        shape: rows and slots, (B, T).
        width: X.
    """
    count, (size, slots) = len(histories), shape
    starts = np.maximum(histories.starts, histories.stops - slots)
    zeros = np.zeros(count, np.int64)
    inputs, _ = lay_out(histories, starts, histories.stops, np.arange(count), zeros, zeros, shape)
    if histories.users is not None:
        users = np.zeros(size, np.uint32)
        users[:count] = histories.users
        inputs = inputs._replace(users=users)
    table, allow = np.full((size, width), -1, np.int32), np.zeros(size, bool)
    for row, request in enumerate(named):
        table[row, : len(request.items)] = request.items
        allow[row] = request.allow
    return RequestBatch(inputs, table, allow)


def empty_lists(count: int, k: int, *more: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """int32 and float32 (count, k): lists of no item, and their scores; and for each shape in
    `more` float32 (count, k, …), zeros."""
    others = (np.zeros((count, k, *shape), np.float32) for shape in more)
    return np.full((count, k), -1, np.int32), np.full((count, k), -np.inf, np.float32), *others


def fill_lists(
    lists: tuple[np.ndarray, ...],
    rows: np.ndarray,
    answers: Iterable[np.ndarray | jax.Array],
) -> None:
    """Puts a batch's items, scores and so on, (B, M, …), best first, into some rows of lists, (N,
    k, …)."""
    for values, answer in zip(lists, answers, strict=True):
        width = min(values.shape[1], answer.shape[1])
        values[rows, :width] = np.asarray(answer)[: len(rows), :width]
