"""Histories on disk: a folder of flat arrays that are memory-mapped, never read whole."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from genrec.errors import blaming
from genrec.sequences.histories import Histories, hash_user_ids
from genrec.storage.npy import open_npy, save_array

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
        events: items int32 and timestamps int64 of one user after another, in pieces of any length;
            only one piece is in memory at once.
    """
    folder.mkdir()
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    save_array(folder / "indptr.npy", indptr)
    total = int(indptr[-1])
    with _array(folder, "items", total) as items, _array(folder, "timestamps", total) as times:
        for item_piece, time_piece in events:
            items.write(np.ascontiguousarray(item_piece, _TYPES["items"]).data)
            times.write(np.ascontiguousarray(time_piece, _TYPES["timestamps"]).data)
    with _array(folder, "users", len(user_ids)) as users:
        for first in range(0, len(user_ids), _USERS_AT_ONCE):
            hashes = hash_user_ids(user_ids.slice(first, _USERS_AT_ONCE).to_pylist())
            users.write(hashes.astype(_TYPES["users"]).data)


def open_histories(folder: Path) -> Histories:
    """The histories of a folder, memory-mapped. Only types and lengths are checked, no values.

    Raises:
        UserError: a file is missing, damaged or of another type, or the lengths do not agree.
    """
    indptr, items, timestamps, users = (
        open_array(folder / f"{name}.npy", kind) for name, kind in _TYPES.items()
    )
    with blaming(folder, "; run genrec prepare again"):
        return Histories(indptr[:-1], indptr[1:], items, timestamps, users)


def read_run(path: Path, start: int | np.integer, stop: int | np.integer) -> np.ndarray:
    """Entries start…stop-1 of a file of `write_histories`, read into memory.

    Unlike pages read through a memory map, they are freed as soon as they are no longer used.
    """
    mapped = open_npy(path)
    offset = mapped.offset + start * mapped.itemsize
    return np.fromfile(path, mapped.dtype, stop - start, offset=offset)


@contextlib.contextmanager
def _array(folder: Path, name: str, length: int) -> Iterator[BinaryIO]:
    """Opens a new .npy file of a known length, to write its entries piece by piece.

    Not a memory map: a full disk kills the process that writes through one.
    """
    with (folder / f"{name}.npy").open("wb") as stream:
        header = {"descr": _TYPES[name].str, "fortran_order": False, "shape": (length,)}
        np.lib.format.write_array_header_1_0(stream, header)
        yield stream


def open_array(path: Path, kind: np.dtype) -> np.ndarray:
    """A one-dimensional array of the given type, memory-mapped; UserError for anything else."""
    with blaming(path, "; run genrec prepare again"):
        mapped = open_npy(path)
        if mapped.dtype != kind or mapped.ndim != 1:
            raise ValueError(f"it is not a flat array of {kind}")
    # The same memory as a plain array, which is ten times as quick to slice.
    return np.asarray(mapped)
