"""A finished run in use: recommendations for histories given by name."""

import dataclasses
import functools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genrec.assembly import Items, best_recommender, item_resolver
from genrec.config import Config, DecodingConfig, EvaluationConfig
from genrec.core.histories import Histories, hash_user_ids
from genrec.core.names import ItemNames
from genrec.data import Dataset
from genrec.decoding import Recommender, Resolver, named_lists
from genrec.errors import UserError
from genrec.pipeline import config_of, require
from genrec.requests import Requests
from genrec.rules import check
from genrec.upkeep import BUILT_ON, current_items

logger = logging.getLogger(__name__)
"""Says what a request could not have, and what it got instead."""

_NAMED_AT_MOST = 5


@dataclass(frozen=True)
class Known:
    """Requests whose items have been found in the catalogue; see `Requests`.

    Attributes:
        user_ids: whose histories they are; None where nobody knows.
        histories: B histories.
        block: for each, the items that its list must not hold.
        allow: for each, the only items that its list may hold; None for all.
    """

    user_ids: Sequence[str] | np.ndarray | None
    histories: Histories
    block: list[np.ndarray] | None = None
    allow: list[np.ndarray | None] | None = None

    def select(self, rows: np.ndarray) -> "Known":
        def of(values: Any) -> Any:
            return None if values is None else [values[row] for row in rows.tolist()]

        return Known(of(self.user_ids), self.histories.select(rows), of(self.block), of(self.allow))

    def whose(self, rows: np.ndarray) -> str:
        """Names the requests in some rows to people."""
        return _whose(self.user_ids, rows)


@dataclass(frozen=True)
class LoadedRun:
    """A finished run, ready to recommend.

    Attributes:
        items: those that it was trained on, and those that came later.
        gone: int (R,), the items that were removed from the catalogue since.
        allowed: the items that may be recommended at all, by index; None for all but those gone.
    """

    folder: Path
    config: Config
    items: Items
    recommender: Recommender
    gone: np.ndarray
    allowed: np.ndarray | None = None

    @property
    def dataset(self) -> Dataset:
        return self.items.dataset

    def restricted(
        self, *, allow: Sequence[str] | None = None, block: Sequence[str] = ()
    ) -> "LoadedRun":
        """The same run over a part of its catalogue, for all requests alike.

        Nothing is compiled anew: the trie is smaller, its shapes are the same.

        Args:
            allow: the only items that may be recommended, by id or title; None for all.
            block: items that may not.

        Raises:
            UserError: an item is unknown, or none is left.
        """
        count, allowed = self.dataset.num_items, self._open
        if allow is not None:
            allowed = np.intersect1d(allowed, self._items(allow, "the list to allow"))
        allowed = np.setdiff1d(allowed, self._items(block, "the list to block"))
        if len(allowed) == 0:
            raise UserError(f"none of the {count:,} items is left: allow more or block fewer")
        return dataclasses.replace(
            self, recommender=self.recommender.only(allowed), allowed=allowed
        )

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int = 10,
        *,
        exclude_history: bool = True,
        block: Sequence[Sequence[str]] | None = None,
        allow: Sequence[Sequence[str] | None] | None = None,
        user_ids: Sequence[str] | None = None,
        timestamps: Sequence[Sequence[int]] | None = None,
    ) -> tuple[list[list[str]], list[list[float]]]:
        """The k items most probable to come next, for each history of item ids or titles.

        An empty history gets the most popular items of the training. The log says so, and names
        items that were skipped and lists that came out short.

        Args:
            exclude_history: leaves out the items of the history.
            block: for each history, items that its list must not hold.
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
        requests = Requests(user_ids, histories, timestamps, block, allow)
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
            items[rows], scores[rows] = self.recommender(
                some.histories,
                k,
                exclude_history=exclude_history,
                block=some.block,
                allow=some.allow,
            )
        if not partial and len(items) and (items < 0).all():
            raise UserError("no item is left to recommend: allow more or block fewer")
        _warn_of_short_lists(requests, items, k)
        return items, scores

    def recommend_freely(
        self, requests: Known, k: int = 10, *, exclude_history: bool = True
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """As `recommend_items`, but by a search that may spell any codes, as other recommenders do.

        Where no item has the codes, the nearest one stands in. So a list may be shorter than k.

        Returns:
            Items, scores, and the share of the tuples found that no item has.

        Raises:
            UserError: k exceeds the beam width, a history is empty, items are blocked or only some
                allowed, or the model can write no other codes.
        """
        self._check_k(k)
        if not self.config.model.codes:
            raise UserError(f"the model of {self.folder} writes no codes (model.codes false)")
        if self.config.model.look_ahead:
            raise UserError(
                f"the model of {self.folder} scores no codes but those of items (model.look_ahead)"
            )
        if self.allowed is not None or requests.block is not None or requests.allow is not None:
            raise UserError("a search of all codes goes without items to block or to allow")
        histories = requests.histories
        empty = np.flatnonzero(histories.lengths == 0)
        if len(empty):
            raise UserError(f"nothing is known of {requests.whose(empty)}, to go on from")
        gone = set(self.gone.tolist())
        excluded = [
            gone | (set(items.tolist()) if exclude_history else set()) for items in histories
        ]
        sizes = self.items.ids.codebook_sizes
        return self._resolver.lists(*self.recommender.write(histories, sizes), excluded, k)

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
        block, allow = None, None
        if requests.block is not None:
            block = [self._items(names, "block") for names in requests.block]
        if requests.allow is not None:
            allow = [
                None if names is None else self._items(names, "allow") for names in requests.allow
            ]
        return Known(
            requests.user_ids,
            Histories(ends[:-1], ends[1:], items[found], timestamps=seconds, users=users),
            block,
            allow,
        )

    def everybody(self, at_once: int) -> Iterator[Known]:
        """All users of the log with all that they had, some at a time."""
        users = self.dataset.user_ids
        for first in range(0, len(users), at_once):
            rows = np.arange(first, min(first + at_once, len(users)))
            yield Known(users[rows], self.dataset.histories.select(rows))

    @functools.cached_property
    def item_ids(self) -> list[str]:
        """The user's own id of each item, by item index."""
        return self.dataset.item_ids

    @functools.cached_property
    def codes(self) -> np.ndarray:
        """int32 (N, L): the semantic ID of each item, by item index."""
        return np.asarray(self.recommender.catalogue.codes)

    @functools.cached_property
    def titles(self) -> dict[str, str]:
        """The title of every item id."""
        return dict(zip(self.item_ids, self.dataset.titles, strict=True))

    @functools.cached_property
    def resolver_index(self) -> str:
        """Which Faiss index stands in for codes that no item has, and how well."""
        resolver = self._resolver
        if resolver.index_name == "Flat":
            return "Flat, exact"
        return f"{resolver.index_name}, recall@1 {resolver.recall():.3f}"

    @functools.cached_property
    def _names(self) -> ItemNames:
        return ItemNames(self.dataset.item_ids, self.dataset.titles)

    @functools.cached_property
    def _resolver(self) -> Resolver:
        return item_resolver(self.config, self.folder, self.items)

    @property
    def _open(self) -> np.ndarray:
        """The items that may be recommended."""
        if self.allowed is not None:
            return self.allowed
        return np.setdiff1d(np.arange(self.dataset.num_items), self.gone)

    @functools.cached_property
    def _popularity(self) -> np.ndarray:
        """float64 (N,): the log of each item's share of the training interactions.

        Each is counted one more, lest an item has none.
        """
        counts = self.dataset.training().counts(self.dataset.num_items) + 1.0
        return np.log(counts / counts.sum())

    def _items(self, names: Sequence[str], where: str) -> np.ndarray:
        items = self._find(names, where)
        return np.unique(items[items >= 0])

    def _find(self, names: Sequence[str], where: str) -> np.ndarray:
        """int32: the item of each name, -1 for unknown ones if the settings say to skip them."""
        items = np.array(self._names.find(names), np.int32)
        unknown = list(dict.fromkeys(names[row] for row in np.flatnonzero(items < 0).tolist()))
        if unknown and self.config.decoding.unknown_items == "refuse":
            raise self._names.unknown(unknown[0])
        if unknown:
            logger.warning("skipped in %s, for no item has this name: %s", where, _some(unknown))
        return items

    def _check_k(self, k: int) -> None:
        beam = self.config.decoding.beam
        if not 1 <= k <= beam:
            raise UserError(
                f"k is {k}, but must lie between 1 and the beam width, {beam} (decoding.beam)"
            )

    def _most_popular(self, requests: Known, k: int) -> tuple[np.ndarray, np.ndarray]:
        """What the recommender would return, but the same for every history."""
        ranked = np.argsort(-self._popularity, kind="stable")
        ranked = ranked[np.isin(ranked, self._open)]
        count = len(requests.histories)
        items = np.full((count, k), -1, np.int32)
        scores = np.full((count, k), -np.inf, np.float32)
        for row in range(count):
            best = ranked
            only = None if requests.allow is None else requests.allow[row]
            if only is not None:
                best = best[np.isin(best, only)]
            if requests.block is not None:
                best = best[~np.isin(best, requests.block[row])]
            best = best[:k]
            items[row, : len(best)], scores[row, : len(best)] = best, self._popularity[best]
        return items, scores


def load_run(folder: str | Path, decoding: DecodingConfig | None = None) -> LoadedRun:
    """The best model of a run, by validation; `decoding` takes the place of the run's own settings.

    Raises:
        UserError: it is not a run, or not trained, or its files are not those of its training; or
            the settings make no sense.
    """
    folder = Path(folder)
    config = config_of(folder)
    built_on = require(folder, config, *BUILT_ON, "train")
    if decoding is not None:
        config = dataclasses.replace(config, decoding=decoding)
        # A beam may be narrower here than an evaluation needs.
        check(dataclasses.replace(config, evaluation=EvaluationConfig(top_k=(1,))))
    items, gone = current_items(folder, built_on)
    run = LoadedRun(folder, config, items, best_recommender(config, folder, items), gone)
    if not len(gone):
        return run
    return dataclasses.replace(run, recommender=run.recommender.only(run._open))


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
