"""DuckDB, the query engine that runs in this process, with its readers of files."""

import contextlib
import glob
import os
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from genrec.data.locations import Files, check_whole, find_files
from genrec.data.query_engine import DELIMITERS, FileTable, header_of, literal
from genrec.errors import UserError

_FILE = "_genrec_file"

# Types that the JSON reader guesses from the look of a string. Such a column stays text, so that an
# id or a title is kept as it is written.
_GUESSED_TYPES = ("DATE", "TIME", "UUID", "JSON")

_WHOLE = ("BIGINT", "INTEGER", "SMALLINT", "TINYINT", "UINTEGER", "USMALLINT", "UTINYINT")


@contextlib.contextmanager
def in_process(
    spill: Path | None = None, memory_gib: float | None = None
) -> Iterator["DuckDBEngine"]:
    """An empty database that fetches no extension.

    Args:
        spill: an existing folder for what has no room in memory; None for the system's own.
        memory_gib: the most memory that it may take, in GiB; None for most of the machine's.
    """
    suffix = f".{os.getpid()}.tmp"  # as `replacing` names what a kill may leave
    with tempfile.TemporaryDirectory(suffix, ".spill.", spill) as folder:
        config: Any = {"temp_directory": folder, "autoinstall_known_extensions": "false"}
        if memory_gib is not None:
            config["memory_limit"] = f"{memory_gib * 1024:.0f}MiB"
        with duckdb.connect(config=config) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            yield DuckDBEngine(connection)


class DuckDBEngine:
    """A `QueryEngine` in this process."""

    microseconds = "EPOCH_US(TRY_CAST({0} AS TIMESTAMPTZ))"
    unique = "ROW_NUMBER() OVER ()"

    def __init__(self, connection: duckdb.DuckDBPyConnection):
        self._db = connection

    def run(self, sql: str) -> list[tuple]:
        return self._db.execute(sql).fetchall()

    def create(self, name: str, sql: str) -> None:
        self.run(f"CREATE OR REPLACE TEMP TABLE {name} AS {sql}")

    def create_from(self, name: str, rows: pa.Table) -> None:
        self._db.register("arrow_rows", rows)
        self.create(name, "SELECT * FROM arrow_rows")
        self._db.unregister("arrow_rows")

    def drop(self, name: str) -> None:
        self.run(f"DROP TABLE {name}")

    def fetch(self, sql: str) -> pa.Table:
        return self._db.sql(sql).to_arrow_table()

    def stream(self, sql: str) -> Iterator[pa.RecordBatch]:
        # DuckDB 2.0 makes rows as they are asked for, so few are in memory at once; 1.3 makes them
        # all first.
        yield from pa.RecordBatchReader.from_stream(self._db.sql(sql))

    def open_table(
        self, location: str | Path, as_text: Collection[str] = (), delimiter: str | None = None
    ) -> FileTable:
        files = find_files(location)
        if files.remote is not None:
            self._db.register_filesystem(files.remote)
        if files.compression == "zstd":
            check_whole(files)  # DuckDB 2.0 takes a frame that is cut off for the whole
        paths = ", ".join(literal(glob.escape(path)) for path in files.paths)
        several = len(files.paths) > 1
        # A folder called lr=0.1 is no reason for a column lr.
        options = f"[{paths}], hive_partitioning=false"
        if several:
            options += f", filename={literal(_FILE)}"
        if files.compression:
            options += f", compression='{files.compression}'"
        if files.ending in DELIMITERS:
            sign = delimiter or DELIMITERS[files.ending]
            types = dict.fromkeys(header_of(files, sign), "VARCHAR")
            # The dialect is stated, not guessed: a guess may skip lines or split a title at a
            # semicolon.
            options += f", auto_detect=false, header=true, delim={literal(sign)}"
            sql = f"read_csv({options}, quote='\"', escape='\"', columns={_struct(types)})"
        elif files.ending == ".parquet":
            sql = f"read_parquet({options})"
            types = self._described(files, sql)
        else:
            sql, types = self._of_json(files, options, as_text)
        whole = frozenset(name for name, kind in types.items() if kind in _WHOLE)
        # Left to the engine: that the rows of a scan are numbered in the order of the files.
        line = "ROW_NUMBER() OVER () - 1"
        names = [name for name in types if name != _FILE]
        return FileTable(files.location, sql, names, line, '"', _FILE if several else None, whole)

    def _of_json(
        self, files: Files, options: str, as_text: Collection[str]
    ) -> tuple[str, dict[str, str]]:
        options = f"{options}, format='newline_delimited'"
        guess = f"read_json({options}, sample_size=-1, map_inference_threshold=-1)"
        types = {
            name: kind.replace(base, "VARCHAR") if base.startswith(_GUESSED_TYPES) else kind
            for name, kind in self._described(files, guess).items()
            for base in [kind.rstrip("[]")]
            if name != _FILE
        }
        types |= {name: "VARCHAR" for name in as_text if name in types}
        return f"read_json({options}, columns={_struct(types)})", types

    def _described(self, files: Files, source: str) -> dict[str, str]:
        with self.reading(files.location):
            return {row[0]: row[1] for row in self.run(f"DESCRIBE SELECT * FROM {source}")}

    @contextlib.contextmanager
    def reading(self, location: str) -> Iterator[None]:
        try:
            yield
        except duckdb.OutOfMemoryException:
            raise  # says nothing about the file
        except duckdb.Error as error:
            complaint = str(error)
            for end in ("Possible", "\n\nLINE", "  file ="):
                complaint = complaint.split(end)[0]
            complaint = " ".join(complaint.split()).removeprefix("Invalid Input Error: ")
            if "state machine" in complaint:  # does not say what is wrong
                complaint = (
                    "some lines end with \\n and some with \\r\\n, or it is otherwise not CSV as "
                    "in RFC 4180; save it again with one kind of line end"
                )
            raise UserError(f"{location} cannot be read: {complaint[:300]}") from error


def _struct(types: dict[str, str]) -> str:
    """The types of columns as SQL writes them."""
    columns = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in types.items())
    return f"{{{columns}}}"
