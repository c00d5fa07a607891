"""Opening interactions and items, whatever their format, as something that SQL can select from.

Only this module knows what is particular to DuckDB and to a file format; the SQL texts of the
preparation are portable.
"""

import contextlib
import csv
import difflib
import glob
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from genrec.errors import UserError

EMPTY = "{0} IS NULL OR {0} = ''"
"""SQL: whether a column of text has no value."""

MICROSECONDS = "EPOCH_US(TRY_CAST({0} AS TIMESTAMPTZ))"
"""SQL: microseconds since 1970 of a date or a time in text, of UTC unless it says another zone."""

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")
_ENDINGS = (*_DELIMITERS, *_JSON_LINES, ".parquet")

# A folder called lr=0.1 is no reason for a column lr.
_NO_PARTITIONS = "hive_partitioning=false"

# What a JSON reader guesses from the look of a string. Such a column stays text, so that an id or
# a title is kept as it is written.
_GUESSED_TYPES = ("DATE", "TIME", "UUID", "JSON")


@dataclass(frozen=True)
class Table:
    """A file opened for reading.

    Attributes:
        path: the file.
        sql: what stands after FROM to select from it.
        columns: its column names, in order.
    """

    path: Path
    sql: str
    columns: list[str]

    def require(self, name: str, setting: str) -> str:
        """`name` quoted for SQL; UserError when the file has no such column.

        `setting` is where the user said that the column exists, such as "data.columns.user".
        """
        if name not in self.columns:
            raise UserError(f"{self.path} has no column {name!r} ({setting}); {self.suggest(name)}")
        return quoted(name)

    def suggest(self, name: str) -> str:
        """The columns there are, the nearest to `name` first in the sentence."""
        there = ", ".join(self.columns)
        return f"the nearest is {nearest(name, self.columns)[0]!r}; it has: {there}"


@contextlib.contextmanager
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty in-process database that spills into a temporary folder and fetches no extension."""
    with tempfile.TemporaryDirectory(prefix="genrec-") as spill:
        config: dict[str, str | bool | int | float | list[str]] = {
            "temp_directory": spill,
            "autoinstall_known_extensions": "false",
        }
        with duckdb.connect(config=config) as db:
            db.execute("SET TimeZone = 'UTC'")
            yield db


def run(db: duckdb.DuckDBPyConnection, sql: str) -> list[tuple]:
    """Runs one statement and returns all its rows."""
    return db.execute(sql).fetchall()


def create(db: duckdb.DuckDBPyConnection, name: str, sql: str) -> None:
    """Makes a table of a query's rows, in place of one of that name."""
    run(db, f"CREATE OR REPLACE TEMP TABLE {name} AS {sql}")


def create_from(db: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    """Makes a table of the rows of an Arrow table."""
    db.register("arrow_rows", rows)
    create(db, name, "SELECT * FROM arrow_rows")
    db.unregister("arrow_rows")


def fetch(db: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """The rows of a query as an Arrow table, in the query's order."""
    return db.sql(sql).to_arrow_table()


def stream(db: duckdb.DuckDBPyConnection, sql: str) -> Iterator[pa.RecordBatch]:
    """The rows of a query, a piece at a time, in the query's order.

    Nothing else may be run before the last piece. DuckDB 2.0 makes rows as they are asked for, so
    few are in memory at once; 1.3 makes them all first.
    """
    yield from pa.RecordBatchReader.from_stream(db.sql(sql))


def open_table(db: duckdb.DuckDBPyConnection, path: Path, as_text: Collection[str] = ()) -> Table:
    """Opens a CSV, TSV, JSON lines or Parquet file by its ending.

    Every column of a CSV or TSV file is text, so that the id 007 stays "007"; in JSON lines, those
    named by `as_text` are. Raises UserError for a missing or empty file, an unknown ending, or a
    header that cannot be read.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist" if not path.exists() else f"{path} is not a file")
    ending = path.suffix.lower()
    if ending not in _ENDINGS:
        raise UserError(f"{path}: unknown ending {ending!r}; genrec reads {', '.join(_ENDINGS)}")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty")
    location = literal(glob.escape(str(path)))
    if ending in _DELIMITERS:
        return _open_csv(path, location, _DELIMITERS[ending])
    if ending in _JSON_LINES:
        return _open_json(db, path, location, as_text)
    source = f"read_parquet({location}, {_NO_PARTITIONS})"
    return Table(path, source, [name for name, _ in _describe(db, path, source)])


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns the database's complaint about a file's contents into a UserError of one line."""
    try:
        yield
    except duckdb.Error as error:
        complaint = str(error)
        for end in ("Possible", "\n\nLINE", "  file ="):
            complaint = complaint.split(end)[0]
        complaint = " ".join(complaint.split()).removeprefix("Invalid Input Error: ")
        raise UserError(f"{path} cannot be read: {complaint[:300]}") from error


def quoted(name: str) -> str:
    """A column name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """A string as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def nearest(name: str, among: Iterable[str], count: int = 1, cutoff: float = 0.0) -> list[str]:
    """The up to `count` names most like `name` in whatever case; the most alike first.

    `cutoff` is the least likeness (0…1); one above 0 makes it quick among very many.
    """
    folded: dict[str, str] = {}
    for other in among:
        folded.setdefault(other.casefold(), other)
    matches = difflib.get_close_matches(name.casefold(), folded, n=count, cutoff=cutoff)
    return [folded[match] for match in matches]


def _open_csv(path: Path, location: str, delimiter: str) -> Table:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header = next(csv.reader(stream, delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error, StopIteration) as error:
        raise UserError(f"{path}: the header cannot be read ({error}); save it as UTF-8") from error
    # A table written with its index has a nameless first column.
    names = [name or f"column{number}" for number, name in enumerate(header)]
    twice = [name for n, name in enumerate(names) if name.lower() in map(str.lower, names[:n])]
    if twice:
        raise UserError(f"{path}: the header names the column {twice[0]!r} twice")
    # The dialect is stated, not guessed: a guess may skip lines or split a title at a semicolon.
    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    dialect = f"auto_detect=false, header=true, delim={literal(delimiter)}, quote='\"', escape='\"'"
    source = f"read_csv({location}, {dialect}, columns={{{types}}}, {_NO_PARTITIONS})"
    return Table(path, source, names)


def _open_json(
    db: duckdb.DuckDBPyConnection, path: Path, location: str, as_text: Collection[str]
) -> Table:
    options = f"{location}, format='newline_delimited', {_NO_PARTITIONS}"
    guess = f"read_json({options}, sample_size=-1, map_inference_threshold=-1)"
    types = {
        name: kind.replace(base, "VARCHAR") if base.startswith(_GUESSED_TYPES) else kind
        for name, kind in _describe(db, path, guess)
        for base in [kind.rstrip("[]")]
    }
    types |= {name: "VARCHAR" for name in as_text if name in types}
    columns = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in types.items())
    return Table(path, f"read_json({options}, columns={{{columns}}})", list(types))


def _describe(db: duckdb.DuckDBPyConnection, path: Path, source: str) -> list[tuple[str, str]]:
    with reading(path):
        return [(row[0], row[1]) for row in run(db, f"DESCRIBE SELECT * FROM {source}")]
