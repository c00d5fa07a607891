"""From raw interactions and items to the dataset folder: check, k-core, order, number, describe.

The SQL texts are portable; DuckDB runs them in process. Columns are called user_id, item_id and ts
because `user` and `time` are reserved words in other dialects.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genrec.config import Columns
from genrec.data.catalogue import item_table, number_items, read_items
from genrec.data.flat import read_run, write_histories
from genrec.data.histories import runs
from genrec.data.reading import (
    EMPTY,
    create,
    create_from,
    database,
    fetch,
    open_table,
    reading,
    run,
    stream,
)
from genrec.data.splits import MIN_HISTORY
from genrec.errors import UserError
from genrec.files import replacing, write_json

SEQUENCES = {
    "user_id": pa.string(),
    "items": pa.list_(pa.int32()),
    "timestamps": pa.list_(pa.int64()),
}
"""The columns of sequences.parquet."""

_INTERACTIONS_AT_ONCE = 1 << 22

# The file as it is written. Left to the engine: that the rows of a scan are numbered in the order
# of the file.
_RAW_EVENTS = """
CREATE VIEW raw_events AS
SELECT ROW_NUMBER() OVER () - 1 AS line, CAST({user} AS VARCHAR) AS user_id,
  CAST({item} AS VARCHAR) AS item_id, CAST({timestamp} AS VARCHAR) AS ts,
  CAST({position} AS VARCHAR) AS position
FROM {table}
"""
# Decimals keep fractions of a second apart and hold every int64 exactly.
_EVENTS = """
SELECT line, user_id, item_id,
  TRY_CAST(ts AS DECIMAL(28, 9)) AS ts, TRY_CAST(position AS DECIMAL(28, 9)) AS position
FROM raw_events
"""
_K_CORE = """
SELECT line, user_id, item_id, ts, position FROM {events}
WHERE user_id IN (SELECT user_id FROM {events} GROUP BY user_id HAVING COUNT(*) >= {k})
  AND item_id IN (SELECT item_id FROM {events} GROUP BY item_id HAVING COUNT(*) >= {k})
"""
_LONG_ENOUGH = """
SELECT line, user_id, item_id, ts, position FROM {events}
WHERE user_id IN (SELECT user_id FROM {events} GROUP BY user_id HAVING COUNT(*) >= {least})
"""
_SIZE = "SELECT COUNT(*), COUNT(DISTINCT user_id), COUNT(DISTINCT item_id) FROM {events}"
_PAIRS = "SELECT COUNT(*) FROM (SELECT 1 FROM {events} GROUP BY user_id, item_id) AS pairs"
_USERS = "SELECT user_id, COUNT(*) AS length FROM {events} GROUP BY user_id"
_SEQUENCES = """
SELECT catalogue.item, CAST(FLOOR(events.ts) AS BIGINT) AS ts
FROM {events} AS events
JOIN catalogue ON catalogue.item_id = events.item_id
JOIN users ON users.user_id = events.user_id
ORDER BY users.number, events.ts, events.position, events.line
"""


@dataclass(frozen=True)
class Source:
    """Where interactions and items come from.

    Attributes:
        interactions: file with one row per user, item and time.
        items: file with one row per item, or None where nothing but ids is known.
        columns: how the columns of both are called.
        text: template of an item's text over the columns of the items file; "{title}" and
            "{item_id}" always work.
    """

    interactions: Path
    items: Path | None = None
    columns: Columns = field(default_factory=Columns)
    text: str = "{title}"


def prepare(source: Source, out: Path, *, k_core: int, seed: int) -> dict[str, Any]:
    """Writes the dataset folder `out`, replacing one that is there, and returns its counts.

    Users and items with fewer than `k_core` interactions are dropped, again and again until every
    one left has as many; then users with fewer than three interactions. A user's interactions are
    ordered by timestamp, then by `columns.position` where given, then by their place in the file.
    Repeated (user, item) pairs are kept. The integers of the items are shuffled by `seed`, so that
    they carry no order of the ids.

    The folder holds
        items.parquet: item int32 0…N-1, item_id string, text string, row int64 (the item's row in
            the items file, from 0; null without one), title string (the id where it is missing),
            and the other columns of the items file, as `source_…` where a name is taken;
        sequences.parquet: user_id string, items list<int32>, timestamps list<int64> (seconds),
            users in the order of their ids, items in time order;
        histories/: the same as flat arrays that training reads from the disk: items.npy int32 and
            timestamps.npy int64, user after user; indptr.npy int64, where each user's begin;
            users.npy uint32, a hash of each user's id;
        counts.json: what was read, kept and left out.

    Raises UserError, naming file and column, for input that cannot be used.
    """
    if k_core < 1:
        raise UserError(f"data.k_core is {k_core}; it must be at least 1, which keeps everything")
    with database() as db, replacing(out) as folder:
        _read_events(db, source)
        names = read_items(db, source.items, source.columns, source.text, "events")
        (rows_in, users_in, items_in), *_ = run(db, _SIZE.format(events="events"))
        core, rounds = _k_core(db, k_core)
        (_, core_users, _), *_ = run(db, _SIZE.format(events=core))
        create(db, "kept", _LONG_ENOUGH.format(events=core, least=MIN_HISTORY))
        (interactions, users, items), *_ = run(db, _SIZE.format(events="kept"))
        if not interactions:
            raise UserError(
                f"{source.interactions}: of {rows_in:,} interactions none is left after keeping "
                f"users and items with at least {k_core} (data.k_core) and users with at least "
                f"{MIN_HISTORY}; lower data.k_core or bring more data"
            )
        number_items(db, "kept", seed)
        catalogue = item_table(db, source.items, names, source.text)
        folder.mkdir()
        pq.write_table(catalogue, folder / "items.parquet", compression="zstd")
        lengths = _write_sequences(db, folder)
        (pairs,), *_ = run(db, _PAIRS.format(events="kept"))
        (item_rows,), *_ = run(db, "SELECT COUNT(*) FROM described")
        counts = {
            "interactions_read": rows_in,
            "users_read": users_in,
            "items_read": items_in,
            "item_rows_read": item_rows,
            "k_core": k_core,
            "k_core_rounds": rounds,
            "users_too_short": core_users - users,
            "users": users,
            "items": items,
            "interactions": interactions,
            "repeated_pairs": interactions - pairs,
            "items_without_text": catalogue["text"].to_pylist().count(""),
            "density": interactions / (users * items),
            "history_length": _quantiles(lengths),
        }
        write_json(folder / "counts.json", counts)
    return counts


def _read_events(db: duckdb.DuckDBPyConnection, source: Source) -> None:
    """Makes the table `events` (line, user_id, item_id, ts, position) and checks it."""
    path, columns = source.interactions, source.columns
    named = {"user": columns.user, "item": columns.item, "timestamp": columns.timestamp}
    if columns.position is not None:
        named["position"] = columns.position
    table = open_table(db, path, as_text=tuple(named.values()))
    there = {role: table.require(name, f"data.columns.{role}") for role, name in named.items()}
    run(
        db,
        _RAW_EVENTS.format(
            user=there["user"],
            item=there["item"],
            timestamp=there["timestamp"],
            position=there.get("position", "0"),
            table=table.sql,
        ),
    )
    with reading(path):
        create(db, "events", _EVENTS)
    _refuse(db, path, "user_id", columns.user, EMPTY.format("user_id"), "is empty")
    _refuse(db, path, "item_id", columns.item, EMPTY.format("item_id"), "is empty")
    complaint = "is not a number of seconds since 1970"
    _refuse(db, path, "ts", columns.timestamp, "ts IS NULL", complaint)
    outside = "ts < 0 OR ts > 9223372036854775807"
    _refuse(db, path, "ts", columns.timestamp, outside, "is negative or too large")
    _refuse(db, path, "position", columns.position, "position IS NULL", "is not a number")


def _refuse(
    db: duckdb.DuckDBPyConnection,
    path: Path,
    column: str,
    name: str | None,
    condition: str,
    complaint: str,
) -> None:
    """UserError when any row of `events` meets the condition; shows the first as it was written."""
    (count, line), *_ = run(db, f"SELECT COUNT(*), MIN(line) FROM events WHERE {condition}")
    if count:
        (value,), *_ = run(db, f"SELECT {column} FROM raw_events WHERE line = {line}")
        shown = f" ({value!r})" if value else ""
        raise UserError(
            f"{path}: column {name!r} {complaint} in {_rows(count)}, first in row {line + 1}{shown}"
        )


def _k_core(db: duckdb.DuckDBPyConnection, k: int) -> tuple[str, int]:
    """The table of interactions that the k-core leaves, and the rounds it took."""
    events, rounds = "events", 0
    (before,), *_ = run(db, f"SELECT COUNT(*) FROM {events}")
    while True:
        name = f"core{rounds % 2}"
        create(db, name, _K_CORE.format(events=events, k=k))
        (after,), *_ = run(db, f"SELECT COUNT(*) FROM {name}")
        events, rounds = name, rounds + 1
        if after == before:
            return events, rounds
        before = after


def _write_sequences(db: duckdb.DuckDBPyConnection, folder: Path) -> np.ndarray:
    """Writes histories/ and sequences.parquet; the length of each sequence, int64 (U,)."""
    users = fetch(db, _USERS.format(events="kept")).sort_by("user_id")
    create_from(db, "users", users.append_column("number", [np.arange(len(users))]))
    user_ids = users["user_id"].cast(pa.string())
    lengths = users["length"].to_numpy()
    batches = stream(db, _SEQUENCES.format(events="kept"))
    events = ((batch["item"].to_numpy(), batch["ts"].to_numpy()) for batch in batches)
    write_histories(folder / "histories", user_ids, lengths, events)
    _write_parquet(folder, user_ids)
    return lengths


def _write_parquet(folder: Path, user_ids: pa.ChunkedArray) -> None:
    """Writes sequences.parquet from histories/, one part of the users after another."""
    indptr = np.load(folder / "histories" / "indptr.npy")
    path = folder / "sequences.parquet"
    with pq.ParquetWriter(path, pa.schema(SEQUENCES), compression="zstd") as file:
        for first, last in runs(indptr, _INTERACTIONS_AT_ONCE):
            begin, end = indptr[first], indptr[last]
            offsets = pa.array(indptr[first : last + 1] - begin, pa.int32())
            lists = (
                pa.ListArray.from_arrays(
                    offsets, pa.array(read_run(folder / "histories" / f"{name}.npy", begin, end))
                )
                for name in ("items", "timestamps")
            )
            columns = [user_ids.slice(first, last - first), *lists]
            file.write_table(pa.table(columns, schema=file.schema))


def _quantiles(lengths: np.ndarray) -> dict[str, float]:
    """How long histories are: mean, and the lengths that the given shares do not exceed."""
    shares = {"min": 0, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1}
    values = np.quantile(lengths, list(shares.values()), method="inverted_cdf")
    return {"mean": float(lengths.mean())} | dict(zip(shares, values.tolist(), strict=True))


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
