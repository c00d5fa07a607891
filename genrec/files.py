"""Writing files so that a reader never sees half of one, and fingerprinting them."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path that takes `path`'s place on success, and else is removed.

    Works for a file or a folder, whichever the body creates at the temporary path. A file is
    replaced in one atomic step; a folder is swapped by two renames, so a crash between them leaves
    no folder rather than a torn one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    _remove(temporary)
    try:
        yield temporary
        if temporary.is_dir():
            for file in sorted(temporary.rglob("*")):
                if file.is_file():
                    _flush(file)
            _remove(path)
        else:
            _flush(temporary)
        temporary.replace(path)
    finally:
        _remove(temporary)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically; NaN is refused because JSON has none."""
    with replacing(path) as temporary:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def sha256(path: Path) -> str:
    """The SHA-256 of a file, or of a folder's files: their relative names and contents in order."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n".encode())
    else:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _flush(file: Path) -> None:
    """Forces a file to disk, so that a rename never points at contents that were not written."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
