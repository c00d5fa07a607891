"""Histories on disk: a folder of flat arrays that are memory-mapped, never read whole."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from genrec.errors import UserError, reason
from genrec.sequences.histories import Histories, hash_user_ids
from genrec.storage.npy import open_npy

_TYPES = {
    "indptr": np.dtype("<i8"),
    "items": np.dtype("<i4"),
    "timestamps": np.dtype("<i8"),
    "users": np.dtype("<u4"),
}
_USERS_AT_ONCE = 1 << 16


def write_histories(
    folder: Path,
    user_ids: pa.ChunkedArray,
    lengths: np.ndarray,
    events: Iterable[tuple[np.ndarray, np.ndarray]],
) -> None:
    """Writes indptr.npy, items.npy, timestamps.npy and users.npy into a new folder.

    Args:
        folder: made here.
        user_ids: U strings.
        lengths: int64 (U,), the number of items of each user.
        events: items int32 and timestamps int64 of one user after another, in pieces that may end
            anywhere; no more than one piece is in memory at once.
    """
    folder.mkdir()
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    save_array(folder / "indptr.npy", indptr)
    total = int(indptr[-1])
    with _array(folder, "items", total) as items, _array(folder, "timestamps", total) as times:
        for some_items, some_times in events:
            items.write(np.ascontiguousarray(some_items, _TYPES["items"]).data)
            times.write(np.ascontiguousarray(some_times, _TYPES["timestamps"]).data)
    with _array(folder, "users", len(user_ids)) as users:
        for first in range(0, len(user_ids), _USERS_AT_ONCE):
            some = hash_user_ids(user_ids.slice(first, _USERS_AT_ONCE).to_pylist())
            users.write(some.astype(_TYPES["users"]).data)


def open_histories(folder: Path) -> Histories:
    """The histories of a folder, memory-mapped; nothing is checked but the types of the files.

    Raises:
        UserError: a file is missing or broken, or holds something else.
    """
    indptr, items, timestamps, users = (
        open_array(folder / f"{name}.npy", kind) for name, kind in _TYPES.items()
    )
    try:
        return Histories(indptr[:-1], indptr[1:], items, timestamps, users)
    except ValueError as error:
        raise UserError(
            f"{folder} contradicts itself: {error}; run genrec prepare again"
        ) from error


def read_run(path: Path, start: int | np.integer, stop: int | np.integer) -> np.ndarray:
    """Entries start…stop-1 of a file of `write_histories`, read from the disk into memory.

    What is read through a memory map stays in memory until something else needs the room.
    """
    mapped = open_npy(path)
    if not isinstance(mapped, np.memmap):
        return mapped
    offset = mapped.offset + start * mapped.itemsize
    return np.fromfile(path, mapped.dtype, stop - start, offset=offset)


@contextlib.contextmanager
def _array(folder: Path, name: str, length: int) -> Iterator[BinaryIO]:
    """A .npy file of a known length, to which the entries are written one piece after another.

    A memory map would do as well, but a full disk kills the process that writes through one.
    """
    with (folder / f"{name}.npy").open("wb") as stream:
        header = {"descr": _TYPES[name].str, "fortran_order": False, "shape": (length,)}
        np.lib.format.write_array_header_1_0(stream, header)
        yield stream


def save_array(path: Path, array: np.ndarray) -> None:
    """Writes a .npy file as np.save does, which on a full disk does not say that it is full."""
    array = np.ascontiguousarray(array)
    with path.open("wb") as stream:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(stream, header)
        stream.write(array.data)


def open_array(path: Path, kind: np.dtype) -> np.ndarray:
    """A flat array of a type, memory-mapped; UserError where there is none."""
    if not path.is_file():
        raise UserError(f"{path} does not exist; run genrec prepare again")
    try:
        mapped = open_npy(path)
    except (ValueError, OSError) as error:
        raise UserError(
            f"{path} cannot be read ({reason(error)}); run genrec prepare again"
        ) from error
    if mapped.dtype != kind or mapped.ndim != 1:
        raise UserError(f"{path} is not a flat array of {kind}; run genrec prepare again")
    # The same memory as a plain array, which is ten times as quick to slice.
    return np.asarray(mapped)
