"""Which part of each history is for training, and which items are held out to ask for."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from genrec.data.flat import open_array, save_array
from genrec.sequences.histories import Histories, runs

MIN_HISTORY = 3
"""Interactions that leave-one-out needs of a user: to train on, to validate with, to test with."""

_AT_ONCE = 1 << 22


class Split(NamedTuple):
    """A split of U histories, which lie end to end.

    Attributes:
        training: int64 (U,), where the part for training of each history stops.
        validation: int64 (U,), the position of the item held out for validation, and -1 for a user
            without one. What is asked for comes next after all that stands before it.
        test: int64 (U,), the same for the test.
    """

    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def held_out(self, name: Literal["validation", "test"]) -> np.ndarray:
        return self.validation if name == "validation" else self.test


def leave_one_out(histories: Histories) -> Split:
    """The last item of each history is for the test, the one before it for validation."""
    stops = histories.stops
    return Split(stops - 2, stops - 2, stops - 1)


def temporal(histories: Histories, validation_from: int, test_from: int) -> Split:
    """Two moments cut all histories: what comes before the first is for training.

    A user's first item from the second moment on is for the test, if there is one before it; and
    the first from the first moment on, if it lies before the second, for validation, if the user
    has any for training. So nothing that training sees is younger than anything asked for.

    Args:
        histories: with timestamps; only a part of them is in memory at once.
        validation_from, test_from: seconds since 1970, the earlier first.
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
    training, second = stops
    validation = np.where((training > histories.starts) & (training < second), training, -1)
    test = np.where((second > histories.starts) & (second < histories.stops), second, -1)
    return Split(training, validation, test)


def write_split(folder: Path, split: Split) -> None:
    """Writes training.npy, validation.npy and test.npy beside the histories."""
    for name, array in split._asdict().items():
        save_array(folder / f"{name}.npy", array.astype("<i8"))


def open_split(folder: Path, histories: Histories) -> Split:
    """What `write_split` wrote; where nothing was, the histories are split by leaving one out.

    Raises:
        UserError: a file is missing or broken, or does not fit the histories.
    """
    if not (folder / "test.npy").exists():
        return leave_one_out(histories)
    return Split(*(open_array(folder / f"{name}.npy", np.dtype("<i8")) for name in Split._fields))
