"""A finished run in use: recommendations for given histories, and a few users of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from genrec.config import Config
from genrec.data import Dataset, Histories, find_items, hash_user_ids, load_dataset
from genrec.decoding import Recommender, named_lists
from genrec.errors import UserError
from genrec.pipeline import config_of, require
from genrec.stages import best_recommender, item_resolver


@dataclass(frozen=True)
class LoadedRun:
    """A finished run, ready to recommend."""

    folder: Path
    config: Config
    dataset: Dataset
    recommender: Recommender

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        k: int = 10,
        *,
        exclude_history: bool = True,
        user_ids: Sequence[str] | None = None,
        timestamps: Sequence[Sequence[int]] | None = None,
    ) -> tuple[list[list[str]], list[list[float]]]:
        """The k items most probable to come next, for each history of item ids or titles.

        Args:
            user_ids: whose histories they are; only a model with user tokens reads them.
            timestamps: seconds since 1970 of every item; only a model with time gaps reads them.

        Returns:
            Item ids, best first, and their scores, log-probabilities. A list is shorter than k only
            where no other item is left.

        Raises:
            UserError: an item is unknown, a history is empty or has not one timestamp for every
                item, or k exceeds the beam width.
        """
        known = self._known(histories, k, user_ids, timestamps)
        items, scores = self.recommender(known, k, exclude_history=exclude_history)
        return named_lists(self.dataset.item_ids, items, scores)

    def recommend_freely(
        self,
        histories: Sequence[Sequence[str]],
        k: int = 10,
        *,
        exclude_history: bool = True,
        user_ids: Sequence[str] | None = None,
        timestamps: Sequence[Sequence[int]] | None = None,
    ) -> tuple[list[list[str]], list[list[float]], float]:
        """As `recommend`, but by a search that may spell any codes, as other recommenders do.

        Where no item has the codes, the nearest one stands in. So a list may be shorter than k.

        Returns:
            Item ids, scores, and the share of the tuples found that no item has.
        """
        known = self._known(histories, k, user_ids, timestamps)
        resolver, sizes = item_resolver(self.config, self.folder)
        excluded = [set(items.tolist()) if exclude_history else set() for items in known]
        items, scores, invalid = resolver.lists(*self.recommender.write(known, sizes), excluded, k)
        return *named_lists(self.dataset.item_ids, items, scores), invalid

    def _known(
        self,
        histories: Sequence[Sequence[str]],
        k: int,
        user_ids: Sequence[str] | None,
        timestamps: Sequence[Sequence[int]] | None,
    ) -> Histories:
        if not 1 <= k <= self.recommender.beam:
            raise UserError(
                f"k is {k}, but must lie between 1 and the beam width, {self.recommender.beam} "
                "(decoding.beam)"
            )
        times = timestamps or [[0] * len(history) for history in histories]
        for number, (history, seconds) in enumerate(zip(histories, times, strict=True), 1):
            if not history:
                raise UserError(f"history {number} has no item, so there is nothing to go on")
            if len(history) != len(seconds):
                raise UserError(
                    f"history {number} has {len(history)} items, but {len(seconds)} timestamps"
                )
        # All names at once: the look-up tables of the catalogue are made once, not once a history.
        items = find_items(self.dataset, [name for history in histories for name in history])
        ends = np.cumsum([0, *map(len, histories)], dtype=np.int64)
        return Histories(
            ends[:-1],
            ends[1:],
            np.array(items, np.int32),
            timestamps=None if timestamps is None else np.concatenate(times).astype(np.int64),
            users=None if user_ids is None else hash_user_ids(user_ids),
        )

    def titles(self) -> dict[str, str]:
        """The title of every item id."""
        return dict(zip(self.dataset.item_ids, self.dataset.titles, strict=True))


def load_run(folder: str | Path) -> LoadedRun:
    """The best model of a run, by validation.

    Raises:
        UserError: it is not a run, or not trained, or its files are not those of its training.
    """
    folder = Path(folder)
    config = config_of(folder)
    require(folder, config, "train")
    dataset = load_dataset(folder / "dataset")
    return LoadedRun(folder, config, dataset, best_recommender(config, folder, dataset))


@dataclass(frozen=True)
class Example:
    """What one user of the test had, then chose, and was recommended."""

    user_id: str
    recent: list[str]
    target: str
    titles: list[str]
    item_ids: list[str]
    scores: list[float]


def examples(folder: Path, *, count: int = 3, k: int = 5, recent: int = 5) -> list[Example]:
    """A few users, drawn by the seed, with their filtered recommendations.

    Raises:
        UserError: the run has not been evaluated, or its lists are shorter than k.
    """
    config = config_of(folder)
    require(folder, config, "evaluate")
    if not 1 <= k <= config.decoding.beam:
        raise UserError(f"k is {k}, but the lists of {folder} have {config.decoding.beam} items")
    dataset = load_dataset(folder / "dataset")
    test = dataset.held_out("test")
    lists = pq.read_table(folder / "recommendations_filtered.parquet")
    titles = dataset.titles
    title_of = dict(zip(dataset.item_ids, titles, strict=True))
    generator = np.random.default_rng(config.seed)
    users = generator.choice(len(test.targets), min(count, len(test.targets)), replace=False)
    shown = []
    for user in users.tolist():
        row = lists.slice(user, 1).to_pylist()[0]
        item_ids = row["item_id"][:k]
        shown.append(
            Example(
                user_id=row["user_id"],
                recent=[titles[item] for item in test.histories[user][-recent:]],
                target=titles[test.targets[user]],
                titles=[title_of[item_id] for item_id in item_ids],
                item_ids=item_ids,
                scores=row["score"][:k],
            )
        )
    return shown


@dataclass(frozen=True)
class GivenHistories:
    """Histories of a file: item ids or titles, and their timestamps if the file has them."""

    user_ids: list[str]
    histories: list[list[str]]
    timestamps: list[list[int]] | None


def read_histories(path: Path) -> GivenHistories:
    """Reads JSON lines or Parquet with the columns user_id, items and, if known, timestamps.

    Raises:
        UserError: the file can't be read or lacks a column.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist")
    try:
        read = pq.read_table if path.suffix == ".parquet" else pyarrow.json.read_json
        table = read(path)
        users = table["user_id"].cast(pa.string()).to_pylist()
        histories = table["items"].cast(pa.list_(pa.string())).to_pylist()
        times = None
        if "timestamps" in table.column_names:
            times = table["timestamps"].cast(pa.list_(pa.int64())).to_pylist()
    except (KeyError, OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path} should be JSON lines or Parquet with user_id and items, a list: {reason}"
        ) from error
    filled = [history or [] for history in histories]
    return GivenHistories(users, filled, times and [seconds or [] for seconds in times])
