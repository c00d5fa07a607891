"""A prepared dataset in memory, its leave-one-out split, and finding the items that people name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genrec.data.histories import Histories
from genrec.data.prepare import MIN_HISTORY
from genrec.data.reading import nearest
from genrec.errors import UserError

_SEQUENCE_COLUMNS = {
    "user_id": pa.string(),
    "items": pa.list_(pa.int32()),
    "timestamps": pa.list_(pa.int64()),
}
_ITEM_COLUMNS = {
    "item": pa.int32(),
    "item_id": pa.string(),
    "text": pa.string(),
    "row": pa.int64(),
    "title": pa.string(),
}
_LAST = {"validation": 2, "test": 1}


@dataclass(frozen=True)
class HeldOut:
    """One held-out item for every user, and all that came before it.

    Attributes:
        histories: U histories; that of user `u` ends just before the target.
        targets: int32 (U,), the held-out items.
    """

    histories: Histories
    targets: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """Items, users and whole sequences, as `prepare` wrote them.

    Attributes:
        items: one row per item, row i being item index i; columns item, item_id, text, row, title
            and whatever else the items file had.
        user_ids: object (U,) of str.
        histories: U sequences of at least three items, whole: the held-out items included.
        timestamps: int64 (total,), seconds since 1970, aligned with `histories.items`.
    """

    items: pa.Table
    user_ids: np.ndarray
    histories: Histories
    timestamps: np.ndarray

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
    def texts(self) -> list[str]:
        """The text of each item, by item index."""
        return self.items["text"].to_pylist()

    def training(self) -> Histories:
        """Every sequence without its last two items: all that training may see."""
        return self.histories.without_last(MIN_HISTORY - 1)

    def held_out(self, split: Literal["validation", "test"]) -> HeldOut:
        """The last item of every sequence but one (validation), or the last one (test)."""
        last = _LAST[split]
        targets = self.histories.items[self.histories.indptr[1:] - last]
        return HeldOut(self.histories.without_last(last), targets)


def load_dataset(folder: Path) -> Dataset:
    """Reads the folder that `prepare` wrote; UserError when it is missing or contradicts itself."""
    items = _read(folder / "items.parquet", _ITEM_COLUMNS)
    sequences = _read(folder / "sequences.parquet", _SEQUENCE_COLUMNS)
    indptr, indices = _lists(folder, sequences, "items")
    timestamp_indptr, timestamps = _lists(folder, sequences, "timestamps")
    dataset = Dataset(
        items=items,
        user_ids=sequences["user_id"].to_numpy(),
        histories=Histories(indptr, indices),
        timestamps=timestamps,
    )
    numbers = items["item"].to_numpy()
    if not np.array_equal(numbers, np.arange(len(numbers))):
        raise _inconsistent(folder, "items.parquet is not numbered 0, 1, 2 and so on")
    if len(set(dataset.item_ids)) < dataset.num_items:
        raise _inconsistent(folder, "items.parquet has an item id twice")
    if len(set(dataset.user_ids)) < len(dataset.user_ids):
        raise _inconsistent(folder, "sequences.parquet has a user id twice")
    if not np.array_equal(indptr, timestamp_indptr):
        raise _inconsistent(folder, "sequences.parquet has not one timestamp for every item")
    wrong = indices[(indices < 0) | (indices >= dataset.num_items)]
    if len(wrong):
        raise _inconsistent(
            folder,
            f"sequences.parquet has the item {wrong[0]}, but there are {dataset.num_items} items",
        )
    if len(indptr) == 1 or dataset.histories.lengths.min() < MIN_HISTORY:
        raise _inconsistent(folder, f"a sequence has fewer than {MIN_HISTORY} items, or none is")
    steps = np.diff(timestamps)
    # The step from one user's last item to the next user's first says nothing.
    steps[indptr[1:-1] - 1] = 0
    if len(steps) and steps.min() < 0:
        raise _inconsistent(folder, "a sequence is not in the order of its timestamps")
    return dataset


def find_items(dataset: Dataset, names: Sequence[str]) -> list[int]:
    """The item index of each name: an item id, or else a title in whatever case.

    Raises UserError naming the nearest titles for an unknown name, and the ids of the items for a
    title that several share.
    """
    by_id = {item_id: item for item, item_id in enumerate(dataset.item_ids)}
    by_title: dict[str, list[int]] = {}
    for item, title in enumerate(dataset.titles):
        by_title.setdefault(title.casefold(), []).append(item)
    found = []
    for name in names:
        titled = by_title.get(name.strip().casefold(), [])
        if name in by_id:
            found.append(by_id[name])
        elif len(titled) == 1:
            found.append(titled[0])
        elif titled:
            ids = ", ".join(dataset.item_ids[item] for item in titled)
            raise UserError(f"{len(titled)} items are called {name!r}; say which by its id: {ids}")
        else:
            raise UserError(f"no item has the id or title {name!r}; {_similar(name, dataset)}")
    return found


def _similar(name: str, dataset: Dataset) -> str:
    """Titles that contain the name, or else those spelt most like it."""
    within = [title for title in dataset.titles if name.strip().casefold() in title.casefold()]
    titles = sorted(set(within), key=len)[:3] or nearest(name, dataset.titles, 3, cutoff=0.6)
    return f"the nearest titles are {', '.join(map(repr, titles))}" if titles else "nor one like it"


def _read(path: Path, columns: dict[str, pa.DataType]) -> pa.Table:
    if not path.is_file():
        raise UserError(f"{path} does not exist; run genrec prepare first")
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read ({reason}); run genrec prepare again") from error
    for name, kind in columns.items():
        if name not in table.column_names or not _same(table.schema.field(name).type, kind):
            raise _inconsistent(path.parent, f"{path.name} has no column {name} of type {kind}")
        if name != "row" and table[name].null_count:
            raise _inconsistent(path.parent, f"{path.name}: column {name} has gaps")
    return table


def _same(kind: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether two types hold the same values; the name of a list's element does not matter."""
    if pa.types.is_list(kind) and pa.types.is_list(wanted):
        return kind.value_type == wanted.value_type
    return kind == wanted


def _lists(folder: Path, sequences: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A column of lists as indptr int64 (rows + 1,) and the values of all lists, end to end."""
    lists = sequences[name].combine_chunks()
    whole = pa.concat_arrays(lists.chunks) if isinstance(lists, pa.ChunkedArray) else lists
    if whole.values.null_count:
        raise _inconsistent(folder, f"sequences.parquet: a list in {name} has gaps")
    offsets = whole.offsets.to_numpy().astype(np.int64)
    return offsets - offsets[0], whole.values.to_numpy()[offsets[0] : offsets[-1]]


def _inconsistent(folder: Path, what: str) -> UserError:
    return UserError(f"{folder} is no sound dataset: {what}; run genrec prepare again")
