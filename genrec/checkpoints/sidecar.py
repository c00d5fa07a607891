"""about.json, the file beside a checkpoint's arrays with its settings, position and checksums.

Neither Orbax's files nor the arrays in them have checksums of their own.
"""

import hashlib
import json
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from genrec.storage.files import leads_outside, read_json, sha256, write_json

NAME = "about.json"
_SHOWN = 5


class Damaged(Exception):
    """A file of a checkpoint is missing or has changed; the message says which."""


def plain(value: Any) -> Any:
    """`value` after a round trip through JSON: lists for tuples, text for the keys of a mapping.

    Raises:
        TypeError: JSON has no such type.
        ValueError: a number is NaN or infinite.
    """
    return json.loads(json.dumps(value, allow_nan=False))


def write_about(folder: Path, about: dict[str, Any]) -> None:
    """Writes about.json: `about` (JSON values) and the checksums of the folder's other files."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): sha256(path) for path in paths}
    about = {**about, "files": files}
    write_json(folder / NAME, {**about, "sha256": _digest(about)})


def read_about(folder: Path) -> dict[str, Any]:
    """The `about` of `write_about`, and "files": the SHA-256 of each file by its relative name.

    Raises:
        Damaged: about.json is missing or has changed.
        OSError: the system refuses to read it.
    """
    try:
        about = read_json(folder / NAME)
        digest = about.pop("sha256")
    except FileNotFoundError as error:
        raise Damaged(f"{NAME} is missing") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{NAME} is garbled") from error
    if digest != _digest(about):
        raise Damaged(f"{NAME} is not what was written")
    return about


def check_about(about: Mapping[str, Any]) -> None:
    """Checks that all entries are there and have the right types.

    Raises:
        Damaged: an entry is missing or of another type, or a file name leads outside the folder.
    """
    names = ("identity", "position", "arrays", "files")
    if not all(isinstance(about.get(name), dict) for name in names) or "metrics" not in about:
        raise Damaged(f"{NAME} lacks something")
    arrays, files = about["arrays"].values(), about["files"]
    if not all(isinstance(text, str) and len(text.split()) == 2 for text in arrays):
        raise Damaged(f"{NAME} has no checksum of an array")
    for name, digest in files.items():
        if leads_outside(name) or not isinstance(digest, str):
            raise Damaged(f"{NAME} names a file outside of the folder: {name!r:.100}")
    if about["metrics"] is not None:
        score = about["metrics"].get("ndcg@10") if isinstance(about["metrics"], dict) else None
        if not isinstance(score, float | int) or not 0 <= score <= 1:
            raise Damaged(f"{NAME} has no metrics of a validation")


def check_files(folder: Path, files: Mapping[str, str], parts: Collection[str]) -> None:
    """Verifies the checksums of a checkpoint's files.

    Args:
        files: the SHA-256 of each file by its relative name.
        parts: the subfolders to verify; files in others are skipped.

    Raises:
        Damaged: a file is missing or has changed.
        OSError: the system refuses to read a file.
    """
    for name, digest in files.items():
        if "/" in name and name.split("/")[0] not in parts:
            continue
        path = folder / name
        try:
            # Only regular files: a pipe would be read without end.
            actual = sha256(path) if stat.S_ISREG(path.stat().st_mode) else None
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Damaged(f"{name} is missing") from error
        if actual != digest:
            raise Damaged(f"{name} is not what was written")


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The differences between two mappings of JSON values, in one line; "" if there are none."""
    old, new = ({name: _text(value) for name, value in values.items()} for values in (then, now))
    lines = [
        f"{_short(name)} was {_short(old.get(name, 'absent'))}, "
        f"now {_short(new.get(name, 'absent'))}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "; ".join(lines[:_SHOWN] + more)


def _digest(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _short(text: str) -> str:
    if len(text) >= 32 and set(text) <= set("0123456789abcdef"):
        return text[:8] + "…"
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:29]}…{text[-30:]}"
