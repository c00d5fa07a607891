"""The prepared data set and its split, read from the folder and checked."""

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genrec.data.flat import open_histories, read_run
from genrec.data.prepare import SEQUENCES
from genrec.data.splits import Split, open_split
from genrec.data.text import as_text
from genrec.errors import UserError, blaming, instead_of
from genrec.sequences.histories import Histories, runs

_ITEM_COLUMNS = {
    "item": pa.int32(),
    "item_id": pa.string(),
    "text": pa.string(),
    "row": pa.int64(),
    "title": pa.string(),
}
_CATEGORIES = ("category", "categories", "genre", "genres")
_CHECKED_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class HeldOut:
    """One held-out item for each of B users, and the history before it.

    Attributes:
        users: int64 (B,), ascending indices of the users; with leave-one-out these are all users.
        histories: B histories, each of which ends just before its target.
        targets: int32 (B,), the held-out items.
    """

    users: np.ndarray
    histories: Histories
    targets: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """Items, users and whole sequences, as `prepare` wrote them.

    Attributes:
        items: one row per item, row i being item index i; columns item, item_id, text, row, title
            and whatever else the items file had.
        histories: U whole sequences, held-out items included. Their arrays are memory-mapped, so
            they may be larger than memory.
        split: which part of each sequence is for training, and which items are held out.
        sequences: the path of sequences.parquet, which has the users' ids in the same order.
    """

    items: pa.Table
    histories: Histories
    split: Split
    sequences: Path

    @functools.cached_property
    def user_ids(self) -> np.ndarray:
        """object (U,) of str; read from the disk at the first use."""
        with _opened(self.sequences, {"user_id": SEQUENCES["user_id"]}) as file:
            return file.read(columns=["user_id"])["user_id"].to_numpy()

    @property
    def num_items(self) -> int:
        """N, the size of the catalogue."""
        return self.items.num_rows

    @property
    def item_ids(self) -> list[str]:
        """The user's own id of each item, by item index."""
        return self.items["item_id"].to_pylist()

    @property
    def titles(self) -> list[str]:
        """The title of each item, by item index."""
        return self.items["title"].to_pylist()

    @property
    def labels(self) -> list[str]:
        """A short name of each item for people: its title, or else the beginning of its text.

        For an item without a title, `titles` has its id, which tells people nothing.
        """
        named = zip(self.titles, self.item_ids, self.texts, strict=True)
        return [text[:80] if title == item_id and text else title for title, item_id, text in named]

    @property
    def texts(self) -> list[str]:
        """The text of each item, by item index."""
        return self.items["text"].to_pylist()

    def categories(self, column: str | None = None) -> list[str] | None:
        """The category of each item, "" where it is unknown; None without a column of categories.

        Args:
            column: the name of the column; None for the first there is of category, categories,
                genre and genres.

        Raises:
            UserError: the items have no column of the given name.
        """
        names = self.items.column_names
        if column is not None and column not in names:
            raise UserError(
                f"the items have no column {column!r} (data.columns.category); "
                f"{instead_of(column, names, 'they have')}"
            )
        column = column or next((name for name in _CATEGORIES if name in names), None)
        return None if column is None else list(map(as_text, self.items[column].to_pylist()))

    def training(self) -> Histories:
        """The part of every sequence that training may see; it may be empty."""
        return self.histories.up_to(self.split.training)

    def held_out(self, split: Literal["validation", "test"]) -> HeldOut:
        """The held-out items for choosing settings (validation) or for the final figures (test)."""
        positions = self.split.validation if split == "validation" else self.split.test
        users = np.flatnonzero(positions >= 0)
        positions = positions[users]
        targets = self.histories.items[positions]
        return HeldOut(users, self.histories.select(users).up_to(positions), targets)


def load_dataset(folder: str | Path) -> Dataset:
    """Opens the folder that `prepare` wrote.

    Every file is checked, but only the items are kept in memory.

    Raises:
        UserError: the folder is missing, or its files are damaged or contradict each other.
    """
    folder = Path(folder)
    items = _read_items(folder / "items.parquet")
    with _opened(folder / "sequences.parquet", SEQUENCES) as file:
        users = file.metadata.num_rows
        _check_user_ids(folder, file)
    histories = open_histories(folder / "histories")
    if users != len(histories):
        problem = f"sequences.parquet and histories/ differ in users: {users:,}, {len(histories):,}"
        raise _inconsistent(folder, problem)
    _check_histories(folder, histories, items.num_rows)
    split = open_split(folder / "histories", histories)
    _check_split(folder, histories, split)
    return Dataset(items, histories, split, folder / "sequences.parquet")


@contextlib.contextmanager
def _opened(path: Path, columns: dict[str, pa.DataType]) -> Iterator[pq.ParquetFile]:
    """Opens a Parquet file that has at least the given columns; UserError for any other."""
    if not path.is_file():
        raise UserError(f"{path} does not exist; run genrec prepare first")
    with blaming(path, "; run genrec prepare again"), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        for name, kind in columns.items():
            index = schema.get_field_index(name)  # -1 also where there are several
            if index < 0 or schema.field(index).type != kind:
                problem = f"{path.name} has no column {name} of type {kind}"
                raise _inconsistent(path.parent, problem)
        yield file


def _read_items(path: Path) -> pa.Table:
    with _opened(path, _ITEM_COLUMNS) as file:
        table = file.read()
    if len(set(table.column_names)) < table.num_columns:
        raise _inconsistent(path.parent, f"{path.name} has a column twice")
    for name in _ITEM_COLUMNS:
        if name != "row" and table[name].null_count:
            raise _inconsistent(path.parent, f"{path.name}: column {name} has gaps")
    if not np.array_equal(table["item"].to_numpy(), np.arange(table.num_rows)):
        raise _inconsistent(path.parent, f"{path.name} is not numbered 0, 1, 2 and so on")
    if len(table["item_id"].unique()) < table.num_rows:
        raise _inconsistent(path.parent, f"{path.name} has an item id twice")
    return table


def _check_user_ids(folder: Path, sequences: pq.ParquetFile) -> None:
    """Checks that the user ids ascend, as `prepare` writes them, so that each is there once."""
    last = np.empty(0, object)
    for batch in sequences.iter_batches(columns=["user_id"]):
        if batch["user_id"].null_count:
            raise _inconsistent(folder, "sequences.parquet: column user_id has gaps")
        ids = np.concatenate([last, batch["user_id"].to_numpy(zero_copy_only=False)])
        if (ids[:-1] >= ids[1:]).any():
            problem = "has a user id twice, or is not in the order of the user ids"
            raise _inconsistent(folder, f"sequences.parquet {problem}")
        last = ids[-1:]


def _check_histories(folder: Path, histories: Histories, num_items: int) -> None:
    """Checks the items and the order of the timestamps, reading one part after another."""
    starts, stops = histories.starts, histories.stops
    if len(histories) == 0 or histories.lengths.min() < 1:
        raise _inconsistent(folder, "there is no sequence, or one has no items")
    if starts[0] != 0 or stops[-1] != len(histories.items):
        raise _inconsistent(folder, "histories/indptr.npy does not fit histories/items.npy")
    indptr = np.append(starts, stops[-1])
    for first, last in runs(indptr, _CHECKED_AT_ONCE):
        begin, end = indptr[first], indptr[last]
        items = read_run(folder / "histories" / "items.npy", begin, end)
        wrong = items[(items < 0) | (items >= num_items)]
        if len(wrong):
            problem = (
                f"histories/items.npy has the item {wrong[0]}, but there are {num_items} items"
            )
            raise _inconsistent(folder, problem)
        steps = np.diff(read_run(folder / "histories" / "timestamps.npy", begin, end))
        # Between one user's last item and the next user's first, time may go backwards.
        steps[indptr[first + 1 : last] - begin - 1] = 0
        if steps.min() < 0:
            raise _inconsistent(folder, "a sequence is not in the order of its timestamps")


def _check_split(folder: Path, histories: Histories, split: Split) -> None:
    """Checks that every part lies in its history, and no target in the part for training."""
    if any(array.shape != histories.starts.shape for array in split):
        raise _inconsistent(folder, "histories/ and its split differ in users")
    training, validation, test = split
    sound = (histories.starts <= training) & (training <= histories.stops)
    for positions in (validation, test):
        sound &= (positions < 0) | ((training <= positions) & (histories.starts < positions))
        sound &= positions < histories.stops
    sound &= (validation < 0) | (test < 0) | (validation < test)
    if not sound.all():
        problem = f"the split of user {np.flatnonzero(~sound)[0]} does not fit the sequence"
        raise _inconsistent(folder, problem)


def _inconsistent(folder: Path, problem: str) -> UserError:
    return UserError(f"{folder} is no sound dataset: {problem}; run genrec prepare again")
