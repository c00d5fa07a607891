"""Writing files atomically, reading JSON strictly, and checksums of files."""

import contextlib
import ctypes
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from genrec.errors import UserError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path that replaces `path` on success, and is removed on an error.

    The body creates a file or a folder at the temporary path; it replaces the old one in one atomic
    step. If the system cannot do so with a folder, the folders are swapped by two renames; a crash
    between these leaves no folder, but `sweep` brings the old one back.
    """
    path = path.resolve() if path.is_symlink() else path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    _remove(temporary)
    try:
        yield temporary
        if temporary.is_dir():
            for file in sorted(temporary.rglob("*")):
                if file.is_file():
                    _flush(file)
            if path.is_file() or not path.exists() or not _exchange(temporary, path):
                old = path.with_name(f".{path.name}.old.tmp")
                _remove(old)
                if path.exists():
                    path.rename(old)
                temporary.rename(path)
                _remove(old)
        else:
            _flush(temporary)
            temporary.replace(path)
        with contextlib.suppress(OSError):  # not every disk can flush a folder
            _flush(path.parent)
    finally:
        _remove(temporary)


def discard(folder: Path) -> None:
    """Deletes a folder; a crash leaves it complete, or under a name that `sweep` removes."""
    temporary = folder.with_name(f".{folder.name.lstrip('.')}.{os.getpid()}.tmp")
    _remove(temporary)
    folder.rename(temporary)
    _remove(temporary)


def sweep(folder: Path, name: str) -> None:
    """Removes the temporary files that killed processes left in a folder.

    Only for a caller with exclusive access: files that another process is writing are removed too.

    Args:
        name: regular expression for the names of the files and folders that were being written.
    """
    for old in folder.glob(".*.old.tmp"):
        path = folder / old.name.removeprefix(".").removesuffix(".old.tmp")
        if re.fullmatch(name, path.name) and not path.exists():
            old.rename(path)
    for path in folder.glob(".*.tmp"):
        if re.fullmatch(rf"\.({name})\.([0-9]+|old)\.tmp", path.name):
            _remove(path)


def refuse_others(out: Path, *, ours: bool) -> None:
    """Raises UserError if there is something at `out` that must not be replaced.

    An empty folder may be, and what is `ours`: something of the kind that is to be written.
    """
    if out.exists() and not ours and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} holds something else: choose a new folder with --out")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically; NaN is refused because JSON has none."""
    with replacing(path) as temporary:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The value in a JSON file; ValueError if it is not JSON, see `parse_json`."""
    return parse_json(path.read_bytes())


def parse_json(text: str | bytes) -> Any:
    """Like json.loads, but strict: ValueError for any text that is not JSON.

    NaN, infinity and numbers too large for a float are refused too.
    """
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is no number")
    return number


def leads_outside(name: str) -> bool:
    """Whether a relative file name, read from an untrusted file, leads out of its folder."""
    path = PurePosixPath(name)
    inside = path.parts and not path.is_absolute() and ".." not in path.parts
    return not inside or "\\" in name or not name.isprintable()


def sha256(path: Path) -> str:
    """The SHA-256 of a file, or of a folder's files: their relative names and contents in order."""
    if not path.is_dir():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n".encode())
    return digest.hexdigest()


def _exchange(one: Path, other: Path) -> bool:
    """Swaps two folders in one step; False where the system or the disk cannot."""
    libc = ctypes.CDLL(None)
    one_name, other_name = os.fsencode(one), os.fsencode(other)
    if hasattr(libc, "renameat2"):  # Linux; -100 is AT_FDCWD, 2 is RENAME_EXCHANGE
        return libc.renameat2(-100, one_name, -100, other_name, ctypes.c_uint(2)) == 0
    if hasattr(libc, "renamex_np"):  # macOS; 2 is RENAME_SWAP
        return libc.renamex_np(one_name, other_name, ctypes.c_uint(2)) == 0
    return False


def _flush(path: Path) -> None:
    """Forces a file's contents to disk before it is renamed; or a folder's renames."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
