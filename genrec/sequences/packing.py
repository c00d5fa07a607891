"""The batches of an epoch: histories packed into rows, or one window for every prefix."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import numpy as np

from genrec.sequences.histories import Histories
from genrec.sequences.inputs import Inputs, lay_out

BLOCK = 1 << 16
"""Users that are shuffled among each other and packed at once: bounds the memory, not the data."""


class Batch(NamedTuple):
    """B rows of T slots with Q targets each: one for every slot (Q = T) or for the row (Q = 1).

    Attributes:
        targets: int32 (B, Q), the item that came next.
        wanted: bool (B, Q), false where there is no target, and the entry above means nothing.
    """

    inputs: Inputs
    targets: np.ndarray | jax.Array
    wanted: np.ndarray | jax.Array


@dataclass(frozen=True)
class Plan:
    """How histories become batches.

    Attributes:
        every_prefix: pack several histories into a row, with a target at every slot; or else give
            every prefix a row of its own, as a bidirectional encoder needs it.
        row_length: slots in a row of packed histories.
        max_history: the most items that are read before a target.
        longer: whether packed histories that are longer are cut into windows, at a point drawn
            anew in every epoch, or reduced to their most recent items. A prefix in a row of its own
            is always reduced to its most recent items.
    """

    every_prefix: bool
    rows: int
    row_length: int
    max_history: int
    longer: Literal["windows", "recent"] = "windows"


Piece = tuple[int, int, int]
"""Start and stop of a run of inputs in `histories.items`, the last target at its stop; the user's
hash, or 0."""


def epoch_batches(
    histories: Histories,
    plan: Plan,
    *,
    seed: int,
    epoch: int,
    skip: int = 0,
    part: tuple[int, int] = (0, 1),
) -> Iterator[Batch]:
    """The batches of one epoch: every item but the first of a history is a target (see `Plan`).

    - The order of users is drawn from (seed, epoch), so any epoch can be made again without those
      before it.
    - Packed batches have one shape; others have one of three widths, by the lengths of prefixes.
    - The last batches are filled up with empty rows.

    Args:
        skip: how many of the first batches to leave out, at little cost.
        part: (i, n) for the i-th of n equal parts of every batch's rows, from 0.
    """
    first, last = (plan.rows * (part[0] + i) // part[1] for i in (0, 1))
    for number, (width, rows) in enumerate(_epoch(histories, plan, seed, epoch)):
        if number >= skip:
            yield _batch(histories, rows[first:last], plan, last - first, width)


def count_batches(histories: Histories, plan: Plan, *, seed: int) -> int:
    """The number of batches in the first epoch; others may differ a little if rows are packed."""
    return sum(1 for _ in _epoch(histories, plan, seed, epoch=0))


def _epoch(
    histories: Histories, plan: Plan, seed: int, epoch: int
) -> Iterator[tuple[int, list[list[Piece]]]]:
    """The rows of every batch of an epoch, and their width in slots."""
    generator = np.random.default_rng((seed, epoch))
    order = generator.permutation(len(histories))
    waiting: dict[int, list[list[Piece]]] = {}  # rows that fill no batch yet, by their width
    for begin in range(0, len(order), BLOCK):
        block = histories.select(order[begin : begin + BLOCK])
        for width, rows in _rows(block, plan, generator):
            waiting.setdefault(width, []).extend(rows)
        least = 1 if begin + BLOCK >= len(order) else plan.rows
        ready = []
        for width, rows in waiting.items():
            full = [rows[at : at + plan.rows] for at in range(0, len(rows), plan.rows)]
            waiting[width] = full.pop() if full and len(full[-1]) < least else []
            ready += [(width, batch) for batch in full]
        # Prefixes come sorted by length, which no stretch of the training should be.
        yield from (ready[i] for i in generator.permutation(len(ready)))


def _rows(
    histories: Histories, plan: Plan, generator: np.random.Generator
) -> Iterator[tuple[int, list[list[Piece]]]]:
    """Rows of pieces and their width in slots."""
    if plan.every_prefix:
        pieces = _windows(histories, plan, generator)
        yield plan.row_length, _best_fit(pieces, plan.row_length)
        return
    prefixes = [
        (max(start, stop - plan.max_history), stop, user)
        for start, end, user in _inputs(histories)
        for stop in range(start + 1, end + 1)
    ]
    shuffled = [prefixes[i] for i in generator.permutation(len(prefixes))]
    shorter = 0
    for width in sorted({-(-plan.max_history // part) for part in (4, 2, 1)}):
        yield width, [[piece] for piece in shuffled if shorter < piece[1] - piece[0] <= width]
        shorter = width


def _inputs(histories: Histories) -> Iterator[Piece]:
    """The run of items of every history that have an item after them."""
    users = np.zeros(len(histories), np.uint32) if histories.users is None else histories.users
    stops = histories.stops - 1
    return zip(histories.starts.tolist(), stops.tolist(), users.tolist(), strict=True)


def _windows(histories: Histories, plan: Plan, generator: np.random.Generator) -> list[Piece]:
    """Pieces of at most `max_history` inputs, with every target or the most recent ones."""
    longest = plan.max_history
    pieces: list[Piece] = []
    for start, stop, user in _inputs(histories):
        if stop - start > longest and plan.longer == "recent":
            start = stop - longest
        elif stop - start > longest:
            cut = start + int(generator.integers(1, longest + 1))
            pieces.append((start, cut, user))
            start = cut
        while start < stop:
            pieces.append((start, min(start + longest, stop), user))
            start += longest
    return pieces


def _best_fit(pieces: list[Piece], capacity: int) -> list[list[Piece]]:
    """Rows of pieces: each piece goes to the open row that it fills best."""
    rows: list[list[Piece]] = []
    open_rows: list[list[int]] = [[] for _ in range(capacity + 1)]  # by the slots left
    for piece in pieces:
        length = piece[1] - piece[0]
        left = next((n for n in range(length, capacity + 1) if open_rows[n]), None)
        if left is None:
            row, left = len(rows), capacity
            rows.append([])
        else:
            row = open_rows[left].pop()
        rows[row].append(piece)
        open_rows[left - length].append(row)
    return rows


def _batch(
    histories: Histories, rows: list[list[Piece]], plan: Plan, count: int, width: int
) -> Batch:
    """Lays out rows, and empty ones behind them until there are `count`."""
    placed = [
        (row, segment, *piece)
        for row, pieces in enumerate(rows)
        for segment, piece in enumerate(pieces)
    ]
    row, segment, start, stop, user = np.array(placed, np.int64).reshape(-1, 5).T
    ends = np.cumsum(stop - start)
    before = ends - (stop - start)
    offset = before - before[np.searchsorted(row, row)]
    inputs, source = lay_out(histories, start, stop, row, offset, segment, (count, width))
    if plan.every_prefix:
        wanted = inputs.segments >= 0
        targets = np.where(wanted, histories.items[source + wanted], 0)
        return Batch(inputs, targets.astype(np.int32), np.asarray(wanted))
    users = None
    if histories.users is not None:
        users = np.zeros(count, np.uint32)
        users[row] = user
    targets, wanted = np.zeros((count, 1), np.int32), np.zeros((count, 1), bool)
    targets[row, 0], wanted[row, 0] = histories.items[stop], True
    return Batch(inputs._replace(users=users), targets, wanted)
