"""Answering requests by name: all about them but the search itself, which is left to others."""

import abc
import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from genrec.errors import UserError
from genrec.recommend.catalog import ItemNames
from genrec.sequences.histories import Histories, hash_user_ids

logger = logging.getLogger(__name__)
"""Says what a request could not have, and what it got instead."""

_NAMED_AT_MOST = 5


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
class Known:
    """Requests whose items have been found in the catalogue; see `Requests`.

    Attributes:
        user_ids: whose histories they are; None where nobody knows.
        histories: B histories.
        exclude: for each, the items that its list must not hold.
        allow: for each, the only items that its list may hold; None for all.
    """

    user_ids: Sequence[str] | np.ndarray | None
    histories: Histories
    exclude: list[np.ndarray] | None = None
    allow: list[np.ndarray | None] | None = None

    def select(self, rows: np.ndarray) -> "Known":
        def of(values: Any) -> Any:
            return None if values is None else [values[row] for row in rows.tolist()]

        return Known(
            of(self.user_ids), self.histories.select(rows), of(self.exclude), of(self.allow)
        )

    def whose(self, rows: np.ndarray) -> str:
        """Names the requests in some rows to people."""
        return _whose(self.user_ids, rows)


_Same = TypeVar("_Same", bound="Answering")


class Answering(abc.ABC):
    """What answers requests: a finished run, or a bundle made from one."""

    @property
    @abc.abstractmethod
    def item_ids(self) -> list[str]:
        """The user's own id of each of N items, by item index."""

    @property
    @abc.abstractmethod
    def _item_titles(self) -> list[str]:
        """The title of each item."""

    @property
    @abc.abstractmethod
    def open_items(self) -> np.ndarray:
        """int: the items that may be recommended at all, in ascending order."""

    @property
    @abc.abstractmethod
    def _log_popularity(self) -> np.ndarray:
        """float (N,): the logarithm of each item's share of the interactions."""

    @property
    @abc.abstractmethod
    def _beam(self) -> int:
        """Beam width, and so the largest k."""

    @property
    @abc.abstractmethod
    def _skips_unknown(self) -> bool:
        """Whether names that no item has are skipped, or else refused."""

    @abc.abstractmethod
    def _search(
        self,
        histories: Histories,
        k: int,
        *,
        exclude_history: bool,
        exclude: Sequence[np.ndarray] | None,
        allow: Sequence[np.ndarray | None] | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Recommender.__call__`."""

    @abc.abstractmethod
    def _over(self: _Same, allowed: np.ndarray) -> _Same:
        """The same over no other items than these, at least one."""

    @functools.cached_property
    def by_popularity(self) -> np.ndarray:
        """int (N,): all items, those most met in the training first."""
        return np.argsort(-self._log_popularity, kind="stable")

    @functools.cached_property
    def titles(self) -> dict[str, str]:
        """The title of every item id."""
        return dict(zip(self.item_ids, self._item_titles, strict=True))

    def restricted(
        self: _Same, *, allow: Sequence[str] | None = None, exclude: Sequence[str] = ()
    ) -> _Same:
        """The same over a part of the catalogue, for all requests alike.

        Nothing is compiled anew: the trie is smaller, its shapes are the same.

        Args:
            allow: the only items that may be recommended, by id or title; None for all.
            exclude: items that may not.

        Raises:
            UserError: an item is unknown, or none is left.
        """
        count, allowed = len(self.item_ids), self.open_items
        if allow is not None:
            allowed = np.intersect1d(allowed, self._items(allow, "the list to allow"))
        allowed = np.setdiff1d(allowed, self._items(exclude, "the list to exclude"))
        if len(allowed) == 0:
            raise UserError(f"none of the {count:,} items is left: allow more or exclude fewer")
        return self._over(allowed)

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int = 10,
        *,
        exclude_history: bool = True,
        exclude: Sequence[Sequence[str]] | None = None,
        allow: Sequence[Sequence[str] | None] | None = None,
        user_ids: Sequence[str] | None = None,
        timestamps: Sequence[Sequence[int]] | None = None,
    ) -> tuple[list[list[str]], list[list[float]]]:
        """The k items most probable to come next, for each history of item ids or titles.

        An empty history gets the most popular items of the training. The log says so, and names
        items that were skipped and lists that came out short.

        Args:
            exclude_history: leaves out the items of the history.
            exclude: for each history, items that its list must not hold.
            allow: for each history, the only items that its list may hold; None for all.
            user_ids: whose histories they are; only a model with user tokens reads them.
            timestamps: seconds since 1970 of every item; only a model with time gaps reads them.

        Returns:
            Item ids, best first, and their scores, log-probabilities. A list is shorter than k only
            where no other item is left.

        Raises:
            UserError: an item is unknown, a history has not one timestamp for every item, k exceeds
                the beam width, or no item is left for any history.
        """
        requests = Requests(user_ids, histories, timestamps, exclude, allow)
        items, scores = self.recommend_items(
            self.known(requests), k, exclude_history=exclude_history
        )
        return named_lists(self.item_ids, items, scores)

    def recommend_items(
        self,
        requests: Known,
        k: int = 10,
        *,
        exclude_history: bool = True,
        partial: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same by item index: int32 (B, k) items, -1 for none, and float32 (B, k) scores.

        Where these are but a part of the requests, no item need be left for any of them.
        """
        self._check_k(k)
        lengths = requests.histories.lengths
        empty = np.flatnonzero(lengths == 0)
        items = np.empty((len(lengths), k), np.int32)
        scores = np.empty((len(lengths), k), np.float32)
        if len(empty):
            logger.warning(
                "nothing is known of %s: the most popular items stand in", requests.whose(empty)
            )
            items[empty], scores[empty] = self._most_popular(requests.select(empty), k)
        if len(empty) < len(lengths):
            rows = np.flatnonzero(lengths)
            some = requests.select(rows) if len(empty) else requests
            items[rows], scores[rows] = self._search(
                some.histories,
                k,
                exclude_history=exclude_history,
                exclude=some.exclude,
                allow=some.allow,
            )
        if not partial and len(items) and (items < 0).all():
            raise UserError("no item is left to recommend: allow more or exclude fewer")
        _warn_of_short_lists(requests, items, k)
        return items, scores

    def known(self, requests: Requests) -> Known:
        """Requests with item indices in place of names.

        Raises:
            UserError: an item is unknown, or the parts of the requests do not fit each other.
        """
        histories, times = requests.histories, requests.timestamps
        for part, given in vars(requests).items():
            if given is not None and len(given) != len(histories):
                raise UserError(f"{len(histories)} histories do not fit {len(given)} {part}")
        counts = np.array([len(history) for history in histories], np.int64)
        owner = np.repeat(np.arange(len(histories)), counts)
        items = self._find([name for history in histories for name in history], "histories")
        found = items >= 0
        lengths = np.bincount(owner[found], minlength=len(histories))
        ends = np.cumsum([0, *lengths], dtype=np.int64)
        seconds = None
        if times is not None:
            wrong = np.flatnonzero(counts != [len(row) for row in times])[:1]
            if len(wrong):
                raise UserError(
                    f"{_whose(requests.user_ids, wrong)} has {counts[wrong[0]]} items, but "
                    f"{len(times[wrong[0]])} timestamps"
                )
            seconds = np.array([second for row in times for second in row], np.int64)[found]
        users = None if requests.user_ids is None else hash_user_ids(requests.user_ids)
        exclude, allow = None, None
        if requests.exclude is not None:
            exclude = [self._items(names, "exclude") for names in requests.exclude]
        if requests.allow is not None:
            allow = [
                None if names is None else self._items(names, "allow") for names in requests.allow
            ]
        return Known(
            requests.user_ids,
            Histories(ends[:-1], ends[1:], items[found], timestamps=seconds, users=users),
            exclude,
            allow,
        )

    @functools.cached_property
    def names(self) -> ItemNames:
        """Finds items by id or title."""
        return ItemNames(self.item_ids, self._item_titles)

    def _items(self, names: Sequence[str], where: str) -> np.ndarray:
        items = self._find(names, where)
        return np.unique(items[items >= 0])

    def _find(self, names: Sequence[str], where: str) -> np.ndarray:
        """int32: the item of each name, -1 for unknown ones if the settings say to skip them."""
        items = np.array(self.names.find(names), np.int32)
        unknown = list(dict.fromkeys(names[row] for row in np.flatnonzero(items < 0).tolist()))
        if unknown and not self._skips_unknown:
            raise self.names.unknown(unknown[0])
        if unknown:
            logger.warning("skipped in %s, for no item has this name: %s", where, _some(unknown))
        return items

    def _check_k(self, k: int) -> None:
        beam = self._beam
        if not 1 <= k <= beam:
            raise UserError(
                f"k is {k}, but must lie between 1 and the beam width, {beam} (decoding.beam)"
            )

    def _most_popular(self, requests: Known, k: int) -> tuple[np.ndarray, np.ndarray]:
        """What the recommender would return, but the same for every history."""
        ranked = self.by_popularity[np.isin(self.by_popularity, self.open_items)]
        count = len(requests.histories)
        items = np.full((count, k), -1, np.int32)
        scores = np.full((count, k), -np.inf, np.float32)
        for row in range(count):
            best = ranked
            only = None if requests.allow is None else requests.allow[row]
            if only is not None:
                best = best[np.isin(best, only)]
            if requests.exclude is not None:
                best = best[~np.isin(best, requests.exclude[row])]
            best = best[:k]
            items[row, : len(best)], scores[row, : len(best)] = best, self._log_popularity[best]
        return items, scores


def _warn_of_short_lists(requests: Known, items: np.ndarray, k: int) -> None:
    found = (items >= 0).sum(axis=1)
    short = np.flatnonzero(found < k)
    if len(short):
        logger.warning(
            "%d items are wanted, but as few as %d are allowed for %s",
            k,
            found[short].min(),
            requests.whose(short),
        )


def _whose(user_ids: Sequence[str] | np.ndarray | None, rows: np.ndarray) -> str:
    """Names some of the requests to people."""
    if user_ids is None:
        return f"history {_some([str(row + 1) for row in rows.tolist()])}"
    return f"user {_some([str(user_ids[row]) for row in rows.tolist()])}"


def _some(names: Sequence[str]) -> str:
    """The names, or the first few of many."""
    more = len(names) - _NAMED_AT_MOST
    return (
        ", ".join(names) if more <= 0 else f"{', '.join(names[:_NAMED_AT_MOST])} and {more:,} more"
    )


def named_lists(
    item_ids: list[str], items: np.ndarray, scores: np.ndarray
) -> tuple[list[list[str]], list[list[float]]]:
    """Item ids and scores without padding, from item indices (B, k), -1 being none, and scores."""
    lengths = (items >= 0).sum(axis=1).tolist()
    names = [[item_ids[i] for i in row[:n]] for row, n in zip(items.tolist(), lengths, strict=True)]
    return names, [row[:n] for row, n in zip(scores.tolist(), lengths, strict=True)]
