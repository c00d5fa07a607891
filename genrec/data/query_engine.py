"""The interface of what runs the SQL of the preparation: DuckDB or Spark, the same text."""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import pyarrow as pa

from genrec.data.locations import Files
from genrec.errors import UserError, instead_of

BadRows = Literal["error", "drop"]
"""What to do about rows that cannot be used."""

DELIMITERS = {".csv": ",", ".tsv": "\t"}
"""The usual delimiter of files of delimited text, by their endings."""

EMPTY = "{0} IS NULL OR {0} = ''"
"""SQL: whether a column of text has no value."""


@dataclass(frozen=True)
class FileTable:
    """Files of one format, opened for reading as one table.

    Attributes:
        location: where the files are, as the user wrote it.
        sql: what stands after FROM to select from them.
        columns: the names of the columns, in order.
        line: SQL of a row's number, from 0 on, in the order of the files.
        quote: the quotation mark around a column's name in SQL.
        file: the column with the path of the file that a row is from; None for a single file.
        whole: the columns whose type is an integer.
    """

    location: str
    sql: str
    columns: list[str]
    line: str
    quote: str
    file: str | None
    whole: frozenset[str]

    def require(self, name: str, setting: str) -> str:
        """`name` quoted for SQL; UserError when the files have no such column.

        `setting` is where the user said that the column exists, such as "data.columns.user".
        """
        if name not in self.columns:
            columns = instead_of(name, self.columns, "it has")
            raise UserError(f"{self.location} has no column {name!r} ({setting}); {columns}")
        return self.quoted(name)

    def quoted(self, name: str) -> str:
        """A column's name as SQL writes it."""
        return self.quote + name.replace(self.quote, 2 * self.quote) + self.quote


@runtime_checkable  # so that the tests' type checker can check it
class QueryEngine(Protocol):
    """A database session: tables by name, and SQL over them.

    Attributes:
        microseconds: SQL of the microseconds since 1970 of {0}, a date or a time as text; in UTC
            unless the text names another zone.
        unique: SQL of a number that no other row of a query has.
    """

    microseconds: str
    unique: str

    def open_table(
        self, location: str | Path, as_text: Collection[str] = (), delimiter: str | None = None
    ) -> FileTable:
        """Opens files of delimited text, JSON lines or Parquet by their endings, see `find_files`.

        Every column of delimited text is read as text, so that the id 007 stays "007".

        Args:
            as_text: columns of JSON lines that are read as text too.
            delimiter: between the columns of a text; None for a comma in .csv and a tab in .tsv.

        Raises:
            UserError: see `find_files`; a header cannot be read, or files have other columns than
                the first.
        """
        ...

    def run(self, sql: str) -> list[tuple]:
        """Runs one statement and returns all its rows."""
        ...

    def create(self, name: str, sql: str) -> None:
        """Makes a table of a query's rows; replaces an earlier one of that name."""
        ...

    def create_from(self, name: str, rows: pa.Table) -> None:
        """Makes a table of the rows of an Arrow table."""
        ...

    def drop(self, name: str) -> None:
        """Deletes a table."""
        ...

    def fetch(self, sql: str) -> pa.Table:
        """The rows of a query as an Arrow table, in the query's order."""
        ...

    def stream(self, sql: str) -> Iterator[pa.RecordBatch]:
        """The rows of a query, one batch after another, in the query's order.

        No other statement may be run before the last batch has been read.
        """
        ...

    def reading(self, location: str) -> contextlib.AbstractContextManager[None]:
        """Within this context the engine's errors about a file become a UserError of one line."""
        ...


def literal(value: str) -> str:
    """A string as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def header_of(files: Files, delimiter: str) -> list[str]:
    """The columns of files of delimited text.

    Raises:
        UserError: a header cannot be read, has a name twice or another delimiter, or is not that of
            the first file.
    """
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
        other = next((sign for sign in ";\t|," if sign in names[0]), None)
        if other is not None:
            raise UserError(
                f"{files.location}: the header {names[0]!r} is one column, whose parts are "
                f"separated by {other!r}: set data.delimiter"
            )
    return names
