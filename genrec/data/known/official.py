"""A data set as its publisher offers it: its official files, and how to read their rows."""

import ast
import functools
import gzip
import json
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import pyarrow as pa

from genrec.data import Published
from genrec.data.known.download import MB
from genrec.errors import UserError, reason
from genrec.progress import progress

InteractionRow = tuple[str | None, str | None, float | None, int | None]
"""User id, item id, rating and time of an interaction; None for a value that is missing."""

ItemRow = dict[str, Any]
"""An item's values by column: item_id, title, and the `columns` of its `OfficialDataset`."""

_Row = TypeVar("_Row")
_LONGEST = {"json": 1 << 24, "python": 1 << 20}
"""Bytes that a line may have. A literal takes hundreds of times as much memory when parsed."""
_LONGEST_ID = 1000


@dataclass(frozen=True)
class OfficialFile:
    """A file that the publisher offers.

    One that may change has no sha256: only the checksum of the compression is verified.
    """

    url: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class OfficialDataset:
    """A data set as its publisher offers it.

    Attributes:
        interactions: reads the interactions from the paths of `files`; the order is that of
            interactions with equal times.
        items: reads the items from the paths of `files`; it is also given the ids of the items that
            have interactions, and may leave out the others.
        columns: an item's columns besides item_id and title.
        text: the template of an item's text.
    """

    files: tuple[OfficialFile, ...]
    interactions: Callable[[Sequence[Path]], Iterator[InteractionRow]]
    items: Callable[[Sequence[Path], Set[str]], Iterator[ItemRow]]
    columns: dict[str, pa.DataType]
    text: str
    rated: bool = True
    timestamp_unit: Literal["seconds", "milliseconds"] = "seconds"
    published: Published | None = None


def read_lines(path: Path, longest: int = _LONGEST["json"]) -> Iterator[tuple[int, str]]:
    """The lines of a file, numbered from 1; decompressed if its name ends in .gz. Shows progress.

    Args:
        longest: bytes that a line may have; a small file may unpack to an endless line.

    Raises:
        UserError: the file is cut off, damaged or not UTF-8, or a line is longer.
    """
    with path.open("rb") as raw, progress("convert", path.stat().st_size // MB, "MB") as bar:
        stream = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        number = 0
        try:
            lines = iter(functools.partial(stream.readline, longest + 1), b"")
            for number, line in enumerate(lines, 1):
                if len(line) > longest:
                    raise UserError(f"{path}: row {number:,} has more than {longest:,} bytes")
                if number % 4096 == 0:
                    bar.advance(raw.tell() // MB - bar.done)
                yield number, line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: row {number} is not UTF-8 ({error.reason})") from error
        except (EOFError, OSError, zlib.error) as error:
            raise UserError(
                f"{path} is cut off or damaged after row {number:,} ({reason(error)}); "
                "bring it again"
            ) from error


def read_objects(
    path: Path,
    syntax: Literal["json", "python"],
    convert: Callable[[dict[str, Any]], _Row],
    wanted: Callable[[str], bool] = lambda line: True,
) -> Iterator[_Row]:
    """Reads a file with one object on each line, and converts every object.

    Args:
        syntax: "json", or "python" where each line is the literal of a dict, which is parsed as
            data and never run.
        convert: makes a row of an object; raises ValueError or the like for an object that is not
            as it should be.
        wanted: whether a line is to be parsed at all.

    Raises:
        UserError: see `read_lines`; or a line holds no object, or one that cannot be converted.
    """
    parse = json.loads if syntax == "json" else _literal
    for number, line in read_lines(path, _LONGEST[syntax]):
        if not line.strip() or not wanted(line):
            continue
        try:
            row = parse(line)
            if not isinstance(row, dict):
                raise ValueError
        # A literal that is nested too deeply ends in one of the last two.
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            raise UserError(
                f"{path}: row {number:,} is no {syntax} object: it begins with {line[:40]!r}"
            ) from error
        try:
            converted = convert(row)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise UserError(
                f"{path}: row {number:,} is not as it should be: {reason(error)}"
            ) from error
        yield converted


def _literal(line: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a backslash that escapes nothing
        return ast.literal_eval(line)


def identifier(value: Any) -> str | None:
    """An id as it is, None included; ValueError for anything but a text of sensible length."""
    if value is not None:
        if not isinstance(value, str) or len(value) > _LONGEST_ID:
            raise ValueError(f"{str(value)[:40]!r} is no id")
        value.encode()  # ValueError for half a character, which JSON can write
    return value


def timestamp(value: Any) -> int | None:
    """A time as an int, None as None; ValueError for anything but a whole number of 64 bits."""
    if value is None:
        return None
    if type(value) not in (int, float) or value != value // 1 or not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"{str(value)[:40]!r} is no time")
    return int(value)


def rating(value: Any) -> float | None:
    """A rating as a float, None as None; ValueError for anything but a number."""
    if value is not None and type(value) not in (int, float):
        raise ValueError(f"{str(value)[:40]!r} is no rating")
    return None if value is None else float(value)


def text_list(value: Any) -> list[str]:
    """The texts in a value that may be a text, a list or lists of lists; each once, in order."""
    if isinstance(value, list | tuple):
        return list(dict.fromkeys(text for part in value for text in text_list(part)))
    text = one_line(value)
    return [text] if text else []


def one_line(value: Any) -> str:
    """A value as text on one line; "" for None."""
    text = "" if value is None else " ".join(str(value).split())
    # JSON can write half a character, which no file may hold.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
