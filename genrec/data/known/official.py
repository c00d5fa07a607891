"""What is known of a data set's official files: where they are, and how they are read."""

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

Interaction = tuple[str | None, str | None, float | None, int | None]
"""User, item, rating and time; None for what a row does not say."""

Item = dict[str, Any]
"""One row of the items file, by column: item_id and title, and what else is known."""


_Row = TypeVar("_Row")
_LONGEST = {"json": 1 << 24, "python": 1 << 20}
"""Bytes of a line. What Python makes of a literal takes hundreds of times as much."""
_LONGEST_ID = 1000


@dataclass(frozen=True)
class File:
    """A file as its publisher offers it.

    Attributes:
        url: where it is.
        sha256: of its bytes, where the file is known for good. Without it a file counts as whole
            when its compression's own checksum says so.
    """

    url: str
    sha256: str | None = None

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Official:
    """A data set as its publisher offers it.

    Attributes:
        files: that it is made from.
        interactions: reads them, from the paths of `files`, in the order in which equal times are
            to be kept.
        items: reads the items, given the ids that interactions name; others may be left out.
        columns: what an item has besides item_id and title.
        text: the template of an item's text.
        rated: whether interactions have ratings.
        timestamp_unit: of the times.
        published: how large the publisher, or a paper, says that the interactions are.
    """

    files: tuple[File, ...]
    interactions: Callable[[Sequence[Path]], Iterator[Interaction]]
    items: Callable[[Sequence[Path], Set[str]], Iterator[Item]]
    columns: dict[str, pa.DataType]
    text: str
    rated: bool = True
    timestamp_unit: Literal["seconds", "milliseconds"] = "seconds"
    published: Published | None = None


def read_lines(path: Path, longest: int = _LONGEST["json"]) -> Iterator[tuple[int, str]]:
    """The lines of a file, numbered from 1; decompressed if its name ends in .gz. Shows progress.

    Args:
        longest: bytes that a line may have, for a small file may unpack to a line without end.

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
    """What is made of the objects of a file that has one on each line.

    Args:
        syntax: "json", or "python" where each line is the literal of a dict, which is read as data
            and never run.
        convert: makes something of an object; ValueError and the like where it is not as it should
            be.
        wanted: tells of a line whether to read it.

    Raises:
        UserError: see `read_lines`; a line is something else.
    """
    read = json.loads if syntax == "json" else _literal
    for number, line in read_lines(path, _LONGEST[syntax]):
        if not line.strip() or not wanted(line):
            continue
        try:
            found = read(line)
        # A literal that is nested too deeply ends in one of the last two.
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            raise UserError(
                f"{path}: row {number:,} is no {syntax} object: it begins with {line[:40]!r}"
            ) from error
        if not isinstance(found, dict):
            raise UserError(f"{path}: row {number:,} is no {syntax} object: {line[:40]!r}")
        try:
            made = convert(found)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise UserError(
                f"{path}: row {number:,} is not as it should be: {reason(error)}"
            ) from error
        yield made


def _literal(line: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a backslash that escapes nothing
        return ast.literal_eval(line)


def identifier(value: Any) -> str | None:
    """An id; None where there is none. ValueError for anything but a text of sensible length."""
    if value is not None and (not isinstance(value, str) or len(value) > _LONGEST_ID):
        raise ValueError(f"{str(value)[:40]!r} is no id")
    if value is not None:
        value.encode()  # half a character, which JSON can write, is no text
    return value


def whole(value: Any) -> int | None:
    """A time; None where there is none. ValueError for anything but a whole number of 64 bits."""
    if value is None:
        return None
    if type(value) not in (int, float) or value != value // 1 or not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"{str(value)[:40]!r} is no time")
    return int(value)


def number(value: Any) -> float | None:
    """A rating; None where there is none. ValueError for anything but a number."""
    if value is not None and type(value) not in (int, float):
        raise ValueError(f"{str(value)[:40]!r} is no rating")
    return None if value is None else float(value)


def listed(value: Any) -> list[str]:
    """The texts in a value that may be a text, a list or lists of lists; each once, in order."""
    if isinstance(value, list | tuple):
        return list(dict.fromkeys(text for each in value for text in listed(each)))
    text = plain(value)
    return [text] if text else []


def plain(value: Any) -> str:
    """A value as text on one line; "" for None."""
    text = "" if value is None else " ".join(str(value).split())
    # JSON can write half a character, which no file may hold.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
