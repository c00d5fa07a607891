"""Opening interactions and items, whatever their format, as something that SQL can select from.

Only this module knows what is particular to DuckDB and to a file format; the SQL texts of the
preparation are portable.
"""

import contextlib
import difflib
import glob
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from genrec.data.locations import Files, check_whole, find_files
from genrec.errors import UserError

EMPTY = "{0} IS NULL OR {0} = ''"
"""SQL: whether a column of text has no value."""

MICROSECONDS = "EPOCH_US(TRY_CAST({0} AS TIMESTAMPTZ))"
"""SQL: microseconds since 1970 of a date or a time in text, of UTC unless it says another zone."""

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_FILE = "filename"

# A folder called lr=0.1 is no reason for a column lr.
_NO_PARTITIONS = "hive_partitioning=false"

# What a JSON reader guesses from the look of a string. Such a column stays text, so that an id or
# a title is kept as it is written.
_GUESSED_TYPES = ("DATE", "TIME", "UUID", "JSON")


@dataclass(frozen=True)
class Table:
    """Files opened for reading, as one table.

    Attributes:
        location: where they are.
        sql: what stands after FROM to select from them.
        columns: the names of the columns, in order.
        file: the column that says which of several files a row is of; None for one file.
    """

    location: str
    sql: str
    columns: list[str]
    file: str | None = None

    def require(self, name: str, setting: str) -> str:
        """`name` quoted for SQL; UserError when the file has no such column.

        `setting` is where the user said that the column exists, such as "data.columns.user".
        """
        if name not in self.columns:
            raise UserError(
                f"{self.location} has no column {name!r} ({setting}); {self.suggest(name)}"
            )
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


def open_table(
    db: duckdb.DuckDBPyConnection,
    location: str | Path,
    as_text: Collection[str] = (),
    delimiter: str | None = None,
) -> Table:
    """Opens files of delimited text, JSON lines or Parquet by their endings, see `find_files`.

    Every column of delimited text is text, so that the id 007 stays "007"; in JSON lines, those
    named by `as_text` are.

    Args:
        delimiter: between the columns of a text; None for a comma in .csv and a tab in .tsv.

    Raises:
        UserError: see `find_files`; a header cannot be read, or files have other columns than the
            first.
    """
    files = find_files(location)
    if files.remote is not None:
        db.register_filesystem(files.remote)
    if files.compression == "zstd":
        check_whole(files)  # DuckDB 2.0 takes a frame that is cut off for the whole
    paths = ", ".join(literal(glob.escape(path)) for path in files.paths)
    several = len(files.paths) > 1
    options = f"[{paths}], {_NO_PARTITIONS}, filename={str(several).lower()}"
    if files.compression:
        options += f", compression='{files.compression}'"
    if files.ending in _DELIMITERS:
        sql, names = _open_text(files, options, delimiter or _DELIMITERS[files.ending])
    elif files.ending == ".parquet":
        sql = f"read_parquet({options})"
        names = [name for name, _ in _describe(db, files.location, sql)]
    else:
        sql, names = _open_json(db, files.location, options, as_text)
    if several:
        names = [name for name in names if name != _FILE]
    return Table(files.location, sql, names, _FILE if several else None)


@contextlib.contextmanager
def reading(location: str) -> Iterator[None]:
    """Turns the database's complaint about a file's contents into a UserError of one line."""
    try:
        yield
    except duckdb.Error as error:
        complaint = str(error)
        for end in ("Possible", "\n\nLINE", "  file ="):
            complaint = complaint.split(end)[0]
        complaint = " ".join(complaint.split()).removeprefix("Invalid Input Error: ")
        raise UserError(f"{location} cannot be read: {complaint[:300]}") from error


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


def _open_text(files: Files, options: str, delimiter: str) -> tuple[str, list[str]]:
    header = files.header(files.paths[0], delimiter)
    for path in files.paths[1:]:
        other = files.header(path, delimiter)
        if other != header:
            raise UserError(
                f"{path} has the columns {', '.join(other)}, but {files.paths[0]} has "
                f"{', '.join(header)}: files that are read together must have the same"
            )
    # A table written with its index has a nameless first column.
    names = [name or f"column{number}" for number, name in enumerate(header)]
    twice = [name for n, name in enumerate(names) if name.lower() in map(str.lower, names[:n])]
    if twice:
        raise UserError(f"{files.location}: the header names the column {twice[0]!r} twice")
    if len(names) == 1:
        found = next((sign for sign in ";\t|," if sign in names[0]), None)
        if found is not None:
            raise UserError(
                f"{files.location}: the header {names[0]!r} is one column, whose parts are "
                f"separated by {found!r}: set data.delimiter"
            )
    # The dialect is stated, not guessed: a guess may skip lines or split a title at a semicolon.
    types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    dialect = f"auto_detect=false, header=true, delim={literal(delimiter)}, quote='\"', escape='\"'"
    return f"read_csv({options}, {dialect}, columns={{{types}}})", names


def _open_json(
    db: duckdb.DuckDBPyConnection, location: str, options: str, as_text: Collection[str]
) -> tuple[str, list[str]]:
    options = f"{options}, format='newline_delimited'"
    guess = f"read_json({options}, sample_size=-1, map_inference_threshold=-1)"
    types = {
        name: kind.replace(base, "VARCHAR") if base.startswith(_GUESSED_TYPES) else kind
        for name, kind in _describe(db, location, guess)
        for base in [kind.rstrip("[]")]
        if name != _FILE
    }
    types |= {name: "VARCHAR" for name in as_text if name in types}
    columns = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in types.items())
    return f"read_json({options}, columns={{{columns}}})", list(types)


def _describe(db: duckdb.DuckDBPyConnection, location: str, source: str) -> list[tuple[str, str]]:
    with reading(location):
        return [(row[0], row[1]) for row in run(db, f"DESCRIBE SELECT * FROM {source}")]
