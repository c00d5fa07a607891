"""Recommending by name: all of it but the search itself, which a run and a bundle each have."""

import abc
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from genrec.errors import UserError
from genrec.recommend.catalog import ItemNames, UnknownItem, first_few
from genrec.recommend.explanation import Explanation, LookedUp, explain_list
from genrec.recommend.requests import (
    RankedLists,
    Requests,
    ResolvedRequests,
    log_notices,
    short_lists,
    whose,
)
from genrec.sequences.histories import Histories, hash_user_ids
from genrec.sequences.padding import empty_lists

if TYPE_CHECKING:
    import faiss

_Self = TypeVar("_Self", bound="ItemRecommender")


class ItemRecommender(abc.ABC):
    """Recommends items by name: a finished run, or a bundle made from one.

    Attributes:
        item_ids: the user's own id of each of N items, by item index.
        codes: int (N, L), the semantic ID of each item.
        open_items: int, the items that may be recommended at all, in ascending order.
        content_index: the directions of all items' content (see `item_features`), by inner product.
        looked_up: what ranks beside the model; None for one that ranks without experts.
    """

    item_ids: list[str]
    codes: np.ndarray
    open_items: np.ndarray
    content_index: "faiss.Index"
    _item_titles: list[str]
    _counts: np.ndarray
    """int (N,): how many training interactions each item has."""
    _beam: int
    """Beam width, and so the largest k."""
    _skips_unknown: bool
    """Whether names that no item has are skipped, or else refused."""

    @functools.cached_property
    def looked_up(self) -> LookedUp | None:
        return None

    @abc.abstractmethod
    def _search(
        self, requests: ResolvedRequests, k: int, exclude_history: bool
    ) -> tuple[np.ndarray, ...]:
        """The lists of `recommend_items`, for requests whose histories are not empty: items and
        scores, and with experts what each of them adds to each score."""

    @abc.abstractmethod
    def _with_open_items(self: _Self, items: np.ndarray) -> _Self:
        """The same, which recommends no other items than these, int, at least one."""

    def everything(self: _Self) -> _Self:
        """The same over all items that it knows, also those that were removed."""
        return self._with_open_items(np.arange(len(self.item_ids), dtype=np.int32))

    @property
    def expert_names(self) -> tuple[str, ...]:
        """Of what each adds to the scores; empty where there are no experts."""
        return () if self.looked_up is None else self.looked_up.names

    @functools.cached_property
    def _log_popularity(self) -> np.ndarray:
        """float64 (N,): the log of each item's share of the interactions, each counted one more."""
        counts = self._counts + 1.0
        return np.log(counts / counts.sum())

    @functools.cached_property
    def by_popularity(self) -> np.ndarray:
        """int (N,): all items, those most met in the training first."""
        return np.argsort(-self._log_popularity, kind="stable")

    @functools.cached_property
    def titles(self) -> dict[str, str]:
        """The title of every item id."""
        return dict(zip(self.item_ids, self._item_titles, strict=True))

    def restricted(
        self: _Self, *, allow: Sequence[str] | None = None, exclude: Sequence[str] = ()
    ) -> _Self:
        """The same over a part of the catalogue, for all requests alike.

        Nothing is compiled anew: the trie is smaller, its shapes are the same.

        Args:
            allow: the only items that may be recommended, by id or title; None for all.
            exclude: items that may not.

        Raises:
            UserError: an item is unknown, or none is left.
        """
        allowed, notices = self.open_items, []
        if allow is not None:
            wanted = self._known_items(allow, "the list to allow", notices)
            allowed = np.intersect1d(allowed, wanted)
        unwanted = self._known_items(exclude, "the list to exclude", notices)
        allowed = np.setdiff1d(allowed, unwanted)
        log_notices(notices)
        if len(allowed) == 0:
            raise UserError(
                f"none of the {len(self.item_ids):,} items is left: allow more or exclude fewer"
            )
        return self._with_open_items(allowed)

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
        resolved = self.resolve(Requests(user_ids, histories, timestamps, exclude, allow))
        log_notices(resolved.notices)
        lists = self.recommend_items(resolved, k, exclude_history=exclude_history)
        log_notices(lists.notices)
        return named_lists(self.item_ids, lists.items, lists.scores)

    def explain(
        self,
        histories: Sequence[Sequence[str]],
        k: int = 10,
        *,
        exclude_history: bool = True,
        **others: Any,
    ) -> tuple[list[list[str]], list[list[float]], list[list[Explanation]]]:
        """The same, and why each item stands in its list; `others` are those of `recommend`.

        Raises:
            UserError: see `recommend`; or there are no experts, whose contributions could be told.
        """
        self.check_experts()
        resolved = self.resolve(Requests(others.pop("user_ids", None), histories, **others))
        log_notices(resolved.notices)
        lists = self.recommend_items(resolved, k, exclude_history=exclude_history)
        log_notices(lists.notices)
        ids, scores = named_lists(self.item_ids, lists.items, lists.scores)
        return ids, scores, self.explain_lists(resolved, lists)

    def recommend_items(
        self,
        requests: ResolvedRequests,
        k: int = 10,
        *,
        exclude_history: bool = True,
        partial: bool = False,
    ) -> RankedLists:
        """The same by item index, with notices in place of what `recommend` logs.

        Where these are but a part of the requests, no item need be left for any of them.
        """
        self.check_k(k)
        lengths = requests.histories.lengths
        empty, others = np.flatnonzero(lengths == 0), np.flatnonzero(lengths)
        names = self.expert_names
        items, scores, *added = empty_lists(len(lengths), k, *[(len(names),)] * bool(names))
        notices = []
        if len(empty):
            nobody = whose(requests.user_ids, empty)
            notices.append(f"nothing is known of {nobody}: the most popular items stand in")
            items[empty], scores[empty] = self._most_popular(requests.select(empty), k)
        if len(others):
            searched = requests.select(others) if len(empty) else requests
            found = self._search(searched, k, exclude_history)
            for values, those in zip((items, scores, *added), found, strict=True):
                values[others] = those
        notices += short_lists(requests, items, k, partial=partial)
        return RankedLists(items, scores, notices, *added)

    def explain_lists(
        self, requests: ResolvedRequests, lists: RankedLists
    ) -> list[list[Explanation]]:
        """Why each item stands in each list, of a recommender with experts."""
        known, titles, explained = self.looked_up, self._item_titles, []
        assert known is not None and lists.added is not None
        for row, history in enumerate(requests.histories):
            there = lists.items[row] >= 0
            ranked = (part[row][there] for part in (lists.items, lists.scores, lists.added))
            explained.append(explain_list(known, titles, history, *ranked))
        return explained

    def similar(
        self, items: Sequence[str], k: int = 10
    ) -> tuple[list[list[str]], list[list[float]]]:
        """The k items most like each of these in content, by id or title; needs Faiss.

        Returns:
            Item ids, of what may be recommended, the most alike first; and the cosine of the
            angle between the content vectors, centred on the catalogue's mean, of which eight bits
            of every number are kept.

        Raises:
            UserError: an item is unknown, or the bundle was exported with --no-newcomers.
        """
        from genrec.recommend.similarity import nearest_others

        index = self.content_index
        if k < 1:
            raise UserError(f"k is {k}, but must be at least 1")
        wanted = np.array(self.names.known(items), np.int64)
        return named_lists(self.item_ids, *nearest_others(index, wanted, k, self.open_items))

    def resolve(self, requests: Requests) -> ResolvedRequests:
        """Requests with item indices in place of names.

        Raises:
            UserError: an item is unknown (UnknownItem), several items have a title, or the parts
                of the requests do not fit each other.
        """
        histories, times = requests.histories, requests.timestamps
        for name, part in vars(requests).items():
            if part is not None and len(part) != len(histories):
                raise UserError(f"{len(histories)} histories do not fit {len(part)} {name}")
        notices: list[str] = []
        counts = np.array([len(history) for history in histories], np.int64)
        names = [name for history in histories for name in history]
        items = self._find(names, "histories", notices)
        known = items >= 0
        owner = np.repeat(np.arange(len(histories)), counts)
        lengths = np.bincount(owner[known], minlength=len(histories))
        ends = np.cumsum([0, *lengths], dtype=np.int64)
        seconds = None
        if times is not None:
            wrong = np.flatnonzero(counts != [len(row) for row in times])[:1]
            if len(wrong):
                raise UserError(
                    f"{whose(requests.user_ids, wrong)} has {counts[wrong[0]]} items, but "
                    f"{len(times[wrong[0]])} timestamps"
                )
            seconds = np.array([second for row in times for second in row], np.int64)[known]
        users = None if requests.user_ids is None else hash_user_ids(requests.user_ids)
        exclude, allow = None, None
        if requests.exclude is not None:
            exclude = [self._known_items(names, "exclude", notices) for names in requests.exclude]
        if requests.allow is not None:
            allow = [
                None if names is None else self._known_items(names, "allow", notices)
                for names in requests.allow
            ]
        return ResolvedRequests(
            requests.user_ids,
            Histories(ends[:-1], ends[1:], items[known], timestamps=seconds, users=users),
            exclude,
            allow,
            tuple(notices),
        )

    def check_experts(self) -> None:
        """Raises UserError unless there are experts, whose contributions could be told."""
        if self.looked_up is None:
            raise UserError(
                "it ranks without experts, which could say why: fit them with `genrec fuse RUN`, "
                "without decoding.dense_share (and export the bundle again, if it is one)"
            )

    def check_k(self, k: int) -> None:
        """Raises UserError unless lists can be so long."""
        if not 1 <= k <= self._beam:
            raise UserError(
                f"k is {k}, but must lie between 1 and the beam width, {self._beam} (decoding.beam)"
            )

    @functools.cached_property
    def names(self) -> ItemNames:
        """Finds items by id or title."""
        return ItemNames(self.item_ids, self._item_titles)

    def _known_items(self, names: Sequence[str], where: str, notices: list[str]) -> np.ndarray:
        """int32: the items of some names, each once, in ascending order; see `_find`."""
        items = self._find(names, where, notices)
        return np.unique(items[items >= 0])

    def _find(self, names: Sequence[str], where: str, notices: list[str]) -> np.ndarray:
        """int32: the item of each name; -1, and a notice, for unknown ones if they are skipped.

        Raises:
            UserError: an item is unknown, and not skipped; see `resolve`.
        """
        items = np.array(self.names.find(names), np.int32)
        unknown = list(dict.fromkeys(names[row] for row in np.flatnonzero(items < 0).tolist()))
        if unknown and not self._skips_unknown:
            raise UnknownItem(unknown[0], self._item_titles)
        if unknown:
            notices.append(f"skipped in {where}, for no item has this name: {first_few(unknown)}")
        return items

    def _most_popular(self, requests: ResolvedRequests, k: int) -> tuple[np.ndarray, np.ndarray]:
        """What the search would return, but the same for every history."""
        ranked = self.by_popularity[np.isin(self.by_popularity, self.open_items)]
        items, scores = empty_lists(len(requests.histories), k)
        for row in range(len(items)):
            best = ranked
            if requests.allow is not None and (only := requests.allow[row]) is not None:
                best = best[np.isin(best, only)]
            if requests.exclude is not None:
                best = best[~np.isin(best, requests.exclude[row])]
            best = best[:k]
            items[row, : len(best)], scores[row, : len(best)] = best, self._log_popularity[best]
        return items, scores


def named_lists(
    item_ids: list[str], items: np.ndarray, scores: np.ndarray
) -> tuple[list[list[str]], list[list[float]]]:
    """Item ids and scores without padding, from item indices (B, k), -1 being none, and scores."""
    lengths = (items >= 0).sum(axis=1).tolist()
    names = [[item_ids[i] for i in row[:n]] for row, n in zip(items.tolist(), lengths, strict=True)]
    return names, [row[:n] for row, n in zip(scores.tolist(), lengths, strict=True)]
