"""Reading requests for recommendations, and lists of items, from files."""

import contextlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from genrec.errors import UserError
from genrec.recommend.requests import Requests

_COLUMNS = {
    "user_id": pa.string(),
    "items": pa.list_(pa.string()),
    "timestamps": pa.list_(pa.int64()),
    "exclude": pa.list_(pa.string()),
    "allow": pa.list_(pa.string()),
}

_NEEDED = ("user_id", "items")
_WANTED = "should be JSON lines or Parquet with user_id and items, a list"


def read_requests(path: Path, at_once: int) -> Iterator[Requests]:
    """Reads JSON lines or Parquet, `at_once` requests at a time.

    The columns are user_id and items (a list), and, where known, timestamps, exclude and allow.

    Raises:
        UserError: the file can't be read, or a row is not what it should be.
    """
    with _naming_the_file(path, _WANTED):
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                columns = [name for name in _COLUMNS if name in file.schema_arrow.names]
                for batch in file.iter_batches(at_once, columns=columns):
                    yield _requests(batch.to_pylist(), columns)
        else:
            with path.open(encoding="utf-8") as file:
                lines = ((n, line) for n, line in enumerate(file, 1) if line.strip())
                while rows := [_object(*line) for line in itertools.islice(lines, at_once)]:
                    columns = [name for name in _COLUMNS if any(name in row for row in rows)]
                    yield _requests(rows, columns)


def count_requests(path: Path) -> int:
    """How many requests a file holds, before it is read."""
    with _naming_the_file(path, _WANTED):
        if path.suffix == ".parquet":
            return pq.read_metadata(path).num_rows
        with path.open("rb") as file:
            return sum(bool(line.strip()) for line in file)


def read_names(path: Path) -> list[str]:
    """Item ids or titles: one to a line, or the column item_id of a Parquet file.

    Raises:
        UserError: the file can't be read.
    """
    with _naming_the_file(path, "should name an item on each line, or be Parquet with item_id"):
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                column = file.read(columns=["item_id"])["item_id"]
            if column.null_count:
                raise ValueError("item_id has gaps")
            return column.cast(pa.string()).to_pylist()
        lines = path.read_text(encoding="utf-8").splitlines()
        return [line.strip() for line in lines if line.strip()]


def _object(number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line, parse_int=str)  # ids that are numbers may stand among titles
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {number} is no JSON") from error
    if not isinstance(row, dict):
        raise ValueError(f"line {number} is no object")
    for name in _NEEDED:
        if name not in row:
            raise ValueError(f"line {number} has no {name}")
    return row


def _requests(rows: list[dict[str, Any]], columns: list[str]) -> Requests:
    for name in _NEEDED:
        if name not in columns:
            raise ValueError(f"there is no {name}")
    # Arrow checks the types, and turns numbers into text and back.
    values_of: dict[str, Any] = {}
    for name in columns:
        values = pa.array([row.get(name) for row in rows])
        inner = getattr(values.type, "value_type", None)
        if inner is not None and pa.types.is_timestamp(inner):
            values = values.cast(pa.list_(pa.timestamp("s", inner.tz)), safe=False)
        values = values.cast(_COLUMNS[name])
        inner = values if name == "user_id" else values.flatten()
        if inner.null_count:
            raise ValueError(f"{name} has gaps")
        values_of[name] = values.to_pylist()
    for name in ("items", "timestamps", "exclude"):
        if name in values_of:
            values_of[name] = [values or [] for values in values_of[name]]
    return Requests(values_of.pop("user_id"), values_of.pop("items"), **values_of)


@contextlib.contextmanager
def _naming_the_file(path: Path, wanted: str) -> Iterator[None]:
    """Raises UserError, with the path and what it should be, for a file that cannot be read."""
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    try:
        yield
    except (KeyError, OSError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path} {wanted}: {reason}") from error
