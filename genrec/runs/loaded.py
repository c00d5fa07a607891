"""A finished run, ready to recommend."""

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from genrec.config import Config, DecodingConfig, EvaluationConfig
from genrec.config.validation import check
from genrec.data import Dataset
from genrec.decoding import Recommender, Resolver
from genrec.errors import UserError
from genrec.recommend.base import ItemRecommender
from genrec.recommend.explanation import LookedUp
from genrec.recommend.requests import ResolvedRequests, whose
from genrec.recommend.similarity import build_index
from genrec.runs.catalog_updates import BUILT_ON, current_items
from genrec.runs.experts import FUSION
from genrec.runs.folder import config_of, require
from genrec.runs.items import RunItems
from genrec.runs.model import load_recommender, load_resolver
from genrec.semantic_ids.item_features import directions, standard_of


@dataclass(frozen=True)
class LoadedRun(ItemRecommender):
    """A finished run; `load_run` makes one. See `ItemRecommender` for what it can do.

    Attributes:
        items: those that it was trained on, and those that came later.
        recommender: its best model by validation, over the items that may be recommended.
        gone: int, the items that were removed from the catalogue since.
        allowed: the items that may be recommended at all, by index; None for all but those gone.
    """

    folder: Path
    config: Config
    items: RunItems
    recommender: Recommender
    gone: np.ndarray
    allowed: np.ndarray | None = None

    @property
    def dataset(self) -> Dataset:
        return self.items.dataset

    def recommend_freely(
        self, requests: ResolvedRequests, k: int = 10, *, exclude_history: bool = True
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """As `recommend_items`, but by a search over all codes, as other recommenders do it.

        Where no item has the codes, the nearest one stands in. So a list may be shorter than k.

        Returns:
            Items, scores, and the share of the tuples found that no item has.

        Raises:
            UserError: k exceeds the beam width, a history is empty, items are excluded or only some
                allowed, or the model can write no other codes.
        """
        self.check_k(k)
        if not self.config.model.codes:
            raise UserError(f"the model of {self.folder} writes no codes (model.codes false)")
        if self.config.model.look_ahead:
            raise UserError(
                f"the model of {self.folder} scores no codes but those of items (model.look_ahead)"
            )
        if self.allowed is not None or requests.exclude is not None or requests.allow is not None:
            raise UserError("a search of all codes goes without items to exclude or to allow")
        histories = requests.histories
        empty = np.flatnonzero(histories.lengths == 0)
        if len(empty):
            raise UserError(f"nothing is known of {whose(requests.user_ids, empty)}, to go on from")
        gone = set(self.gone.tolist())
        excluded = [
            gone | (set(items.tolist()) if exclude_history else set()) for items in histories
        ]
        sizes = self.items.ids.codebook_sizes
        return self._resolver.lists(*self.recommender.write(histories, sizes), excluded, k)

    def everybody(self, at_once: int) -> Iterator[ResolvedRequests]:
        """Requests of all users, with their whole histories, so many at a time."""
        users = self.dataset.user_ids
        for first in range(0, len(users), at_once):
            rows = np.arange(first, min(first + at_once, len(users)))
            yield ResolvedRequests(users[rows], self.dataset.histories.select(rows))

    @functools.cached_property
    def item_ids(self) -> list[str]:
        return self.dataset.item_ids

    @functools.cached_property
    def codes(self) -> np.ndarray:
        return np.asarray(self.recommender.catalogue.codes)

    @functools.cached_property
    def content_index(self) -> faiss.Index:
        content = np.asarray(self.items.content)
        mean, _ = standard_of(content[: self.items.trained])
        return build_index(directions(content, mean))

    @functools.cached_property
    def looked_up(self) -> LookedUp | None:
        if self.recommender.experts is None:
            return None
        (graph, content, popularity), weights = self.recommender.experts
        tables = weights.ranking, graph.begins, graph.items, graph.weights, content, popularity
        return LookedUp(
            self.recommender.expert_names,
            *(np.asarray(table) for table in tables),
            max_history=self.recommender.max_history,
        )

    @functools.cached_property
    def resolver_index(self) -> str:
        """Which Faiss index stands in for codes that no item has, and how well."""
        resolver = self._resolver
        if resolver.index_name == "Flat":
            return "Flat, exact"
        return f"{resolver.index_name}, recall@1 {resolver.recall():.3f}"

    @functools.cached_property
    def _resolver(self) -> Resolver:
        return load_resolver(self.config, self.folder, self.items)

    @property
    def open_items(self) -> np.ndarray:
        if self.allowed is not None:
            return self.allowed
        return np.setdiff1d(np.arange(self.dataset.num_items), self.gone)

    @property
    def _counts(self) -> np.ndarray:
        return self.dataset.training().counts(self.dataset.num_items)

    @property
    def _item_titles(self) -> list[str]:
        return self.dataset.titles

    @property
    def _beam(self) -> int:
        return self.config.decoding.beam

    @property
    def _skips_unknown(self) -> bool:
        return self.config.decoding.unknown_items != "refuse"

    def _search(
        self, requests: ResolvedRequests, k: int, exclude_history: bool
    ) -> tuple[np.ndarray, ...]:
        ranked = self.recommender if self.looked_up is None else self.recommender.explained
        return ranked(
            requests.histories,
            k,
            exclude_history=exclude_history,
            exclude=requests.exclude,
            allow=requests.allow,
        )

    def _with_open_items(self, items: np.ndarray) -> "LoadedRun":
        return dataclasses.replace(self, recommender=self.recommender.only(items), allowed=items)


def load_run(folder: str | Path, decoding: DecodingConfig | None = None) -> LoadedRun:
    """The best model of a run, by validation; `decoding` takes the place of the run's own settings.

    Raises:
        UserError: it is not a run, or not trained, or its files are not those of its training; or
            the settings make no sense.
    """
    folder = Path(folder)
    config = config_of(folder)
    fused = ["fuse"] * (folder / FUSION).exists()  # runs made before have none
    built_on = require(folder, config, *BUILT_ON, "train", *fused)
    if decoding is not None:
        config = dataclasses.replace(config, decoding=decoding)
        # A beam may be narrower here than an evaluation needs.
        check(dataclasses.replace(config, evaluation=EvaluationConfig(top_k=(1,))))
    items, gone = current_items(folder, built_on)
    run = LoadedRun(folder, config, items, load_recommender(config, folder, items), gone)
    if not len(gone):
        return run
    return dataclasses.replace(run, recommender=run.recommender.only(run.open_items))
