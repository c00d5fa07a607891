"""What is known of a data set's official files: where they are, and how they are read."""

import ast
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from genrec.data import Published
from genrec.datasets.download import MB
from genrec.errors import UserError
from genrec.progress import progress

Interaction = tuple[str | None, str | None, float | None, int | None]
"""User, item, rating and time; None for what a row does not say."""

Item = dict[str, Any]
"""One row of the items file, by column: item_id and title, and what else is known."""


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


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file, numbered from 1; decompressed if its name ends in .gz. Shows progress.

    Raises:
        UserError: the file is cut off, damaged or not UTF-8.
    """
    with path.open("rb") as raw, progress("convert", path.stat().st_size // MB, "MB") as bar:
        stream = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        number = 0
        try:
            for number, line in enumerate(stream, 1):
                if number % 4096 == 0:
                    bar.advance(raw.tell() // MB - bar.done)
                yield number, line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: row {number} is not UTF-8 ({error.reason})") from error
        except (EOFError, OSError, zlib.error) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"{path} is cut off or damaged after row {number:,} ({reason}); bring it again"
            ) from error


def read_objects(
    path: Path,
    syntax: Literal["json", "python"],
    wanted: Callable[[str], bool] = lambda line: True,
) -> Iterator[dict[str, Any]]:
    """The objects of a file that has one on each line.

    Args:
        syntax: "json", or "python" where each line is the literal of a dict, which is read as data
            and never run.
        wanted: tells of a line whether to read it.

    Raises:
        UserError: see `read_lines`; a line is something else.
    """
    read = json.loads if syntax == "json" else ast.literal_eval
    for number, line in read_lines(path):
        if not line.strip() or not wanted(line):
            continue
        try:
            found = read(line)
        # A literal that is nested too deeply ends in one of the last two.
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            raise UserError(
                f"{path}: row {number:,} is no {syntax} object: it begins with {line[:40]!r}"
            ) from error
        if not isinstance(found, dict):
            raise UserError(f"{path}: row {number:,} is no {syntax} object: {line[:40]!r}")
        yield found


def listed(value: Any) -> list[str]:
    """The texts in a value that may be a text, a list or lists of lists; each once, in order."""
    if isinstance(value, list | tuple):
        return list(dict.fromkeys(text for each in value for text in listed(each)))
    text = plain(value)
    return [text] if text else []


def plain(value: Any) -> str:
    """A value as text on one line; "" for None."""
    return "" if value is None else " ".join(str(value).split())
