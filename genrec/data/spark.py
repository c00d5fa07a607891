"""The engine for data that outgrows this machine: Apache Spark, the one that is there already.

The SQL text is the same. What differs is how files are read, and that rows have no order of their
own: each is numbered by its file, its place in it, and the order in which a part of it was read.
"""

import contextlib
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from genrec.data.locations import Files, find_files
from genrec.data.query_engine import DELIMITERS, Table, header_of
from genrec.errors import UserError

_WHOLE = ("bigint", "int", "smallint", "tinyint")
_LINE, _FILE = "_genrec_line", "_genrec_file"
# A part of one file alone in every task, so that the order of a task's rows is that of the file.
_ONE_FILE_A_TASK = {"spark.sql.files.openCostInBytes": str(1 << 40)}
_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parser.escapedStringLiterals": "true",
    "spark.sql.ansi.enabled": "false",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    **_ONE_FILE_A_TASK,
}


@contextlib.contextmanager
def on_spark(master: str | None) -> Iterator["Spark"]:
    """A session of its own in Spark.

    Args:
        master: such as "local[*]" or "spark://host:7077"; None for what Spark itself is set to.

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
    except Exception as error:  # whatever Java says of it
        reason = str(error).strip().splitlines()[0][:300]
        raise UserError(f"Spark cannot be started ({reason}); it needs Java 17 or newer") from error
    for name, value in _SETTINGS.items():
        session.conf.set(name, value)
    engine = Spark(session)
    try:
        yield engine
    finally:
        engine.forget()


class Spark:
    """An `Engine`."""

    microseconds = "UNIX_MICROS(TRY_CAST({0} AS TIMESTAMP))"
    unique = "MONOTONICALLY_INCREASING_ID()"

    def __init__(self, session: Any):
        self._session = session
        self._kept: dict[str, Any] = {}
        self._opened = 0

    def run(self, sql: str) -> list[tuple]:
        return [tuple(row) for row in self._session.sql(sql).collect()]

    def create(self, name: str, sql: str) -> None:
        # Computed once and cut off from where it came: a loop's plan would grow without end.
        self._keep(name, self._session.sql(sql).localCheckpoint(eager=True))

    def create_from(self, name: str, rows: pa.Table) -> None:
        self._keep(name, self._session.createDataFrame(rows))

    def view(self, name: str, sql: str) -> None:
        self._session.sql(sql).createOrReplaceTempView(name)

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
        """Frees what was kept."""
        for name in list(self._kept):
            self.drop(name)

    def open_table(
        self, location: str | Path, as_text: Collection[str] = (), delimiter: str | None = None
    ) -> Table:
        files = find_files(location)
        paths = [path if "://" in path else Path(path).absolute().as_uri() for path in files.paths]
        with self.reading(files.location):
            frame = self._read(files, paths, as_text, delimiter)
            view = f"genrec_files_{self._opened}"
            self._opened += 1
            self._numbered(frame, paths).createOrReplaceTempView(view)
        whole = frozenset(name for name, kind in frame.dtypes if kind in _WHOLE)
        file = _FILE if len(paths) > 1 else None
        return Table(files.location, view, list(frame.columns), _LINE, "`", file, whole)

    def _read(
        self, files: Files, paths: list[str], as_text: Collection[str], delimiter: str | None
    ) -> Any:
        """The files' rows, as they are."""
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
        """The rows with their number among all, and their file."""
        from pyspark.sql import functions as f

        place = frame.select(
            "*",
            f.col("_metadata.file_path").alias("_path"),
            f.col("_metadata.file_block_start").alias("_start"),
            f.monotonically_increasing_id().alias("_id"),
        )
        parts = place.groupBy("_path", "_start").agg(
            f.count("*").alias("n"), f.min("_id").alias("m")
        )
        order = {_plain(path): number for number, path in enumerate(paths)}
        found = sorted(
            (order[_plain(path)], start, count, first, path)
            for path, start, count, first in parts.collect()
        )
        rows, before = [], 0
        for _, start, count, first, path in found:
            rows.append((path, start, before - first, _plain(path)))
            before += count
        kinds = f"_path STRING, _start BIGINT, _shift BIGINT, {_FILE} STRING"
        shifts = self._session.createDataFrame(rows, kinds)
        numbered = place.join(f.broadcast(shifts), ["_path", "_start"])
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
    """A path as Spark and Python both would write it."""
    return path.replace("file:///", "/").replace("file:/", "/")


def _reason(error: Exception) -> str:
    """The innermost cause that Java tells of."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (causes[-1] if causes else lines[0])[:300]
