"""Splits: which part of each history is for training, and which items are held out."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from genrec.data.flat import open_array
from genrec.sequences.histories import Histories, runs
from genrec.storage.npy import save_array

_AT_ONCE = 1 << 22


class Split(NamedTuple):
    """A split of U histories that lie end to end; positions are those in their items array.

    Attributes:
        training: int64 (U,), the position where each history's part for training stops.
        validation: int64 (U,), the position of the item held out for validation, -1 for a user
            without one. It is to be predicted from all items of the history before it.
        test: int64 (U,), the same for the test.
    """

    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def leave_one_out(histories: Histories) -> Split:
    """The last item of each history is for the test, the one before it for validation."""
    stops = histories.stops
    return Split(stops - 2, stops - 2, stops - 1)


def temporal(histories: Histories, validation_from: int, test_from: int) -> Split:
    """Cuts all histories at two moments: items before the first are for training.

    For validation, a user's first item between the two moments is held out, if the user has items
    for training; for the test, the first item from the second moment on, if any item comes before
    it. So training sees nothing that is younger than a held-out item.

    Args:
        histories: with timestamps; only a part of these is in memory at once.
        validation_from, test_from: the two moments, seconds since 1970, the earlier first.
    """
    assert histories.timestamps is not None
    indptr = np.append(histories.starts, histories.stops[-1:])
    stops = np.empty((2, len(histories)), np.int64)
    for first, last in runs(indptr, _AT_ONCE):
        begin, end = indptr[first], indptr[last]
        times = np.asarray(histories.timestamps[begin:end])
        for row, moment in zip(stops, (validation_from, test_from), strict=True):
            before = np.append(0, np.cumsum(times < moment))[indptr[first : last + 1] - begin]
            row[first:last] = indptr[first:last] + np.diff(before)
    training, before_test = stops
    has_validation = (training > histories.starts) & (training < before_test)
    has_test = (before_test > histories.starts) & (before_test < histories.stops)
    validation = np.where(has_validation, training, -1)
    return Split(training, validation, np.where(has_test, before_test, -1))


def write_split(folder: Path, split: Split) -> None:
    """Writes training.npy, validation.npy and test.npy beside the histories."""
    for name, array in split._asdict().items():
        save_array(folder / f"{name}.npy", array.astype("<i8"))


def open_split(folder: Path, histories: Histories) -> Split:
    """The split that `write_split` wrote; without its files, leave-one-out.

    Raises:
        UserError: a file is missing or damaged. Whether the split fits is not checked.
    """
    if not (folder / "test.npy").exists():
        return leave_one_out(histories)
    return Split(*(open_array(folder / f"{name}.npy", np.dtype("<i8")) for name in Split._fields))
