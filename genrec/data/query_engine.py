"""What runs the SQL of the preparation: one text, several engines."""

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import pyarrow as pa

from genrec.data.locations import Files
from genrec.errors import UserError, instead_of

Bad = Literal["error", "drop"]
"""What to do about rows that cannot be used."""

DELIMITERS = {".csv": ",", ".tsv": "\t"}
"""Of files of delimited text, by their endings."""

EMPTY = "{0} IS NULL OR {0} = ''"
"""SQL: whether a column of text has no value."""


@dataclass(frozen=True)
class Table:
    """Files opened for reading, as one table.

    Attributes:
        location: where they are.
        sql: what stands after FROM to select from them.
        columns: the names of the columns, in order.
        line: SQL of a row's number, from 0 on, in the order of the files.
        quote: what stands around a column's name in SQL.
        file: the column that says which of several files a row is of; None for one file.
        whole: the columns that hold whole numbers by their type, not text.
    """

    location: str
    sql: str
    columns: list[str]
    line: str
    quote: str = '"'
    file: str | None = None
    whole: frozenset[str] = frozenset()

    def require(self, name: str, setting: str) -> str:
        """`name` quoted for SQL; UserError when the files have no such column.

        `setting` is where the user said that the column exists, such as "data.columns.user".
        """
        if name not in self.columns:
            there = self.suggest(name)
            raise UserError(f"{self.location} has no column {name!r} ({setting}); {there}")
        return self.quoted(name)

    def quoted(self, name: str) -> str:
        """A column's name as SQL writes it."""
        return self.quote + name.replace(self.quote, 2 * self.quote) + self.quote

    def suggest(self, name: str) -> str:
        """The columns there are, the nearest to `name` first in the sentence."""
        return instead_of(name, self.columns, "it has")


@runtime_checkable
class Engine(Protocol):
    """Tables by name, and SQL over them.

    Attributes:
        microseconds: SQL of the microseconds since 1970 of {0}, a date or a time in text, of UTC
            unless it says another zone.
        unique: SQL of a number that no other row of a query has.
    """

    microseconds: str
    unique: str

    def open_table(
        self, location: str | Path, as_text: Collection[str] = (), delimiter: str | None = None
    ) -> Table:
        """Opens files of delimited text, JSON lines or Parquet by their endings, see `find_files`.

        Every column of delimited text is text, so that the id 007 stays "007"; in JSON lines,
        those named by `as_text` are.

        Args:
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
        """Makes a table of a query's rows, in place of one of that name."""
        ...

    def create_from(self, name: str, rows: pa.Table) -> None:
        """Makes a table of the rows of an Arrow table."""
        ...

    def view(self, name: str, sql: str) -> None:
        """Gives a query a name."""
        ...

    def drop(self, name: str) -> None:
        """Forgets a table."""
        ...

    def fetch(self, sql: str) -> pa.Table:
        """The rows of a query as an Arrow table, in the query's order."""
        ...

    def stream(self, sql: str) -> Iterator[pa.RecordBatch]:
        """The rows of a query, a piece at a time, in the query's order.

        Nothing else may be run before the last piece.
        """
        ...

    def reading(self, location: str) -> contextlib.AbstractContextManager[None]:
        """Turns the complaint about a file's contents into a UserError of one line."""
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
        found = next((sign for sign in ";\t|," if sign in names[0]), None)
        if found is not None:
            raise UserError(
                f"{files.location}: the header {names[0]!r} is one column, whose parts are "
                f"separated by {found!r}: set data.delimiter"
            )
    return names
