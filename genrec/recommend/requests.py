"""Requests for recommendations, by name and by item index, and what people are told of them."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from genrec.errors import UserError
from genrec.recommend.catalog import first_few
from genrec.sequences.histories import Histories

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Requests:
    """Some requests, in the order of their file.

    Attributes:
        user_ids: whose histories they are; None where nobody knows.
        histories: the item ids or titles of each, oldest first.
        timestamps: seconds since 1970 of every item; None where the file has none.
        exclude: the items that each list must not hold; None where the file has none.
        allow: the only items that each list may hold, None for all; None where the file has none.
    """

    user_ids: Sequence[str] | None
    histories: Sequence[Sequence[str]]
    timestamps: Sequence[Sequence[int]] | None = None
    exclude: Sequence[Sequence[str]] | None = None
    allow: Sequence[Sequence[str] | None] | None = None


@dataclass(frozen=True)
class ResolvedRequests:
    """Requests with item indices in place of names; see `Requests`.

    Attributes:
        histories: B histories.
        exclude: for each, int, the items that its list must not hold.
        allow: for each, int, the only items that its list may hold; None for all.
        notices: for people, which names were skipped.
    """

    user_ids: Sequence[str] | np.ndarray | None
    histories: Histories
    exclude: list[np.ndarray] | None = None
    allow: list[np.ndarray | None] | None = None
    notices: tuple[str, ...] = ()

    def select(self, rows: np.ndarray) -> "ResolvedRequests":
        """The requests in some rows, without notices."""

        def of(values: Any) -> Any:
            return None if values is None else [values[row] for row in rows.tolist()]

        return ResolvedRequests(
            of(self.user_ids), self.histories.select(rows), of(self.exclude), of(self.allow)
        )


class RankedLists(NamedTuple):
    """Answers to B requests.

    Attributes:
        items: int32 (B, k), item indices, best first; -1 for none.
        scores: float32 (B, k), log-probabilities; -inf for none.
        notices: for people, where the most popular items stand in, and which lists are short.
        added: float32 (B, k, F), what each expert adds to each score, 0 where the most popular
            items stand in; None without experts.
    """

    items: np.ndarray
    scores: np.ndarray
    notices: list[str]
    added: np.ndarray | None = None


def short_lists(
    requests: ResolvedRequests, items: np.ndarray, k: int, *, partial: bool = False
) -> list[str]:
    """A notice of the lists that hold fewer than k items, if any does.

    Args:
        items: int (B, at most k), of each list; -1 for none.
        partial: these are but a part of the requests, so there may be no item in any list.

    Raises:
        UserError: no list holds an item.
    """
    lengths = (items >= 0).sum(axis=1)
    if not partial and len(lengths) and lengths.max() == 0:
        raise UserError("no item is left to recommend: allow more or exclude fewer")
    short = np.flatnonzero(lengths < k)
    if len(short) == 0:
        return []
    people, fewest = whose(requests.user_ids, short), lengths[short].min()
    return [f"{k} items are wanted, but as few as {fewest} are allowed for {people}"]


def log_notices(notices: Iterable[str]) -> None:
    """Says in the log what requests could not have, and what they got instead."""
    for notice in notices:
        logger.warning("%s", notice)


def whose(user_ids: Sequence[str] | np.ndarray | None, rows: np.ndarray) -> str:
    """Names the requests in some rows to people."""
    if user_ids is None:
        return f"history {first_few([str(row + 1) for row in rows.tolist()])}"
    return f"user {first_few([str(user_ids[row]) for row in rows.tolist()])}"
