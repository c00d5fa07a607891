"""Apache Spark, the query engine for data that outgrows this machine.

The SQL text is the same as for DuckDB. The readers of files differ, and so do line numbers, because
Spark's rows have no order: a row is numbered by its file, its block of the file, and its position
in that block.
"""

import contextlib
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from genrec.data.locations import Files, find_files
from genrec.data.query_engine import DELIMITERS, FileTable, header_of
from genrec.errors import UserError

_WHOLE = ("bigint", "int", "smallint", "tinyint")
_LINE, _FILE = "_genrec_line", "_genrec_file"
_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parser.escapedStringLiterals": "true",
    "spark.sql.ansi.enabled": "false",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # A task reads a part of one file alone, so that the order of its rows is that of the file.
    "spark.sql.files.openCostInBytes": str(1 << 40),
}


@contextlib.contextmanager
def on_spark(master: str | None) -> Iterator["SparkEngine"]:
    """A new session of Spark, in a context that frees its tables.

    Args:
        master: such as "local[*]" or "spark://host:7077"; None for Spark's own setting.

    Raises:
        UserError: Spark is not installed, or cannot be reached.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise UserError("data.engine spark needs Spark: pip install 'genrec[spark]'") from error
    builder: Any = SparkSession.builder
    builder = builder.appName("genrec prepare").config("spark.ui.showConsoleProgress", "false")
    if master is not None:
        builder = builder.master(master)
    try:
        with warnings.catch_warnings():
            # Java is started by a fork, of which JAX warns; but nothing else runs in the child.
            warnings.filterwarnings("ignore", r"os\.fork", RuntimeWarning)
            session = builder.getOrCreate().newSession()
    except Exception as error:  # any exception of Java
        reason = str(error).strip().splitlines()[0][:300]
        raise UserError(f"Spark cannot be started ({reason}); it needs Java 17 or newer") from error
    for name, value in _SETTINGS.items():
        session.conf.set(name, value)
    engine = SparkEngine(session)
    try:
        yield engine
    finally:
        engine.forget()


class SparkEngine:
    """A `QueryEngine` on a session of Spark."""

    microseconds = "UNIX_MICROS(TRY_CAST({0} AS TIMESTAMP))"
    unique = "MONOTONICALLY_INCREASING_ID()"

    def __init__(self, session: Any):
        self._session = session
        self._kept: dict[str, Any] = {}
        self._opened = 0

    def run(self, sql: str) -> list[tuple]:
        return [tuple(row) for row in self._session.sql(sql).collect()]

    def create(self, name: str, sql: str) -> None:
        # Computed once, without its history: in a loop the plan would grow without end.
        self._keep(name, self._session.sql(sql).localCheckpoint(eager=True))

    def create_from(self, name: str, rows: pa.Table) -> None:
        self._keep(name, self._session.createDataFrame(rows))

    def drop(self, name: str) -> None:
        self._session.catalog.dropTempView(name)
        self._kept.pop(name).unpersist()

    def fetch(self, sql: str) -> pa.Table:
        return self._session.sql(sql).toArrow()

    def stream(self, sql: str) -> Iterator[pa.RecordBatch]:
        from pyspark.sql import functions

        rows = self._session.sql(sql).localCheckpoint(eager=True)
        for part in range(rows.rdd.getNumPartitions()):
            piece = rows.where(functions.spark_partition_id() == part)
            yield from piece.toArrow().to_batches()
        rows.unpersist()

    def forget(self) -> None:
        """Drops all tables, and frees their memory."""
        for name in list(self._kept):
            self.drop(name)

    def open_table(
        self, location: str | Path, as_text: Collection[str] = (), delimiter: str | None = None
    ) -> FileTable:
        files = find_files(location)
        paths = [path if "://" in path else Path(path).absolute().as_uri() for path in files.paths]
        with self.reading(files.location):
            frame = self._read(files, paths, as_text, delimiter)
            view = f"genrec_files_{self._opened}"
            self._opened += 1
            self._numbered(frame, paths).createOrReplaceTempView(view)
        whole = frozenset(name for name, kind in frame.dtypes if kind in _WHOLE)
        file = _FILE if len(paths) > 1 else None
        return FileTable(files.location, view, list(frame.columns), _LINE, "`", file, whole)

    def _read(
        self, files: Files, paths: list[str], as_text: Collection[str], delimiter: str | None
    ) -> Any:
        from pyspark.sql.types import StringType, StructField, StructType

        reader = self._session.read.option("mode", "FAILFAST")
        if files.ending == ".parquet":
            return reader.parquet(*paths)
        if files.ending in DELIMITERS:
            sign = delimiter or DELIMITERS[files.ending]
            names = header_of(files, sign)
            self._refuse_other_encodings(paths)
            schema = StructType([StructField(name, StringType()) for name in names])
            text = {"header": True, "sep": sign, "quote": '"', "escape": '"', "multiLine": True}
            return reader.options(**text).schema(schema).csv(paths)
        fields = [
            StructField(field.name, StringType()) if field.name in as_text else field
            for field in reader.json(paths).schema.fields
        ]
        return reader.schema(StructType(fields)).json(paths)

    def _refuse_other_encodings(self, paths: list[str]) -> None:
        """UserError for text that is not UTF-8, which Spark's reader would silently replace."""
        from pyspark.sql import functions as f

        lines = self._session.read.text(paths)
        other = lines.where(~f.is_valid_utf8("value")).select("_metadata.file_path").first()
        if other is not None:
            raise UserError(f"{_plain(other.file_path)} is not UTF-8; save it as UTF-8")

    def _numbered(self, frame: Any, paths: list[str]) -> Any:
        """The rows with two columns more: the number of the row among all, and its file."""
        from pyspark.sql import functions as f

        rows = frame.select(
            "*",
            f.col("_metadata.file_path").alias("_path"),
            f.col("_metadata.file_block_start").alias("_start"),
            f.monotonically_increasing_id().alias("_id"),
        )
        blocks = rows.groupBy("_path", "_start").agg(
            f.count("*").alias("n"), f.min("_id").alias("m")
        )
        order = {_plain(path): number for number, path in enumerate(paths)}
        in_order = sorted(
            (order[_plain(path)], start, count, first, path)
            for path, start, count, first in blocks.collect()
        )
        shifts, before = [], 0
        for _, start, count, first, path in in_order:
            shifts.append((path, start, before - first, _plain(path)))
            before += count
        kinds = f"_path STRING, _start BIGINT, _shift BIGINT, {_FILE} STRING"
        shift_of_block = self._session.createDataFrame(shifts, kinds)
        numbered = rows.join(f.broadcast(shift_of_block), ["_path", "_start"])
        columns = [f.col(f"`{name}`") for name in frame.columns]
        line = (f.col("_id") + f.col("_shift")).alias(_LINE)
        return numbered.select(*columns, line, _FILE)

    def _keep(self, name: str, frame: Any) -> None:
        frame.createOrReplaceTempView(name)
        before = self._kept.pop(name, None)
        self._kept[name] = frame
        if before is not None:
            before.unpersist()

    @contextlib.contextmanager
    def reading(self, location: str) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            if not type(error).__module__.startswith(("pyspark", "py4j")):
                raise
            raise UserError(f"{location} cannot be read: {_reason(error)}") from error


def _plain(path: str) -> str:
    """The path without a scheme, which Spark and Python write differently."""
    return path.replace("file:///", "/").replace("file:/", "/")


def _reason(error: Exception) -> str:
    """The innermost cause in the message of a Java exception, one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (causes[-1] if causes else lines[0])[:300]
