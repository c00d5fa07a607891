"""From raw interactions and items to the dataset folder: clean, order, number, describe, split."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genrec.config import Columns
from genrec.data.catalogue import item_table, number_items, read_items
from genrec.data.duck import in_process
from genrec.data.events import Events, Step, read_events
from genrec.data.flat import open_histories, read_run, write_histories
from genrec.data.query_engine import BadRows, QueryEngine
from genrec.data.spark import on_spark
from genrec.data.splits import leave_one_out, temporal, write_split
from genrec.errors import UserError
from genrec.sequences.histories import Histories, runs
from genrec.storage.files import replacing, write_json

SEQUENCES = {
    "user_id": pa.string(),
    "items": pa.list_(pa.int32()),
    "timestamps": pa.list_(pa.int64()),
}
"""The columns of sequences.parquet."""

_INTERACTIONS_AT_ONCE = 1 << 22
_FEWEST = {"leave-one-out": 3, "cold-start": 3, "temporal": 2}
"""Interactions that a split needs of a user: for training, for validation, for the test."""

_USERS = """
SELECT user_ids.user_id, counts.u, counts.length
FROM (SELECT u, COUNT(*) AS length FROM {events} GROUP BY u) AS counts
JOIN user_ids ON user_ids.number = counts.u
"""
_SEQUENCES = """
SELECT catalogue.item, CAST((ts - MOD(ts, 1000000)) / 1000000 AS BIGINT) AS second
FROM {events} AS events
JOIN catalogue ON catalogue.i = events.i
JOIN users ON users.u = events.u
ORDER BY users.number, {order}
"""
_PAIRS = "SELECT COUNT(*) FROM (SELECT DISTINCT u, i FROM {events}) AS pairs"
_SPAN = "SELECT MIN(ts), MAX(ts) FROM {events}"


@dataclass(frozen=True)
class Published:
    """The size of a known data set before any step of the preparation, and who published it."""

    users: int
    items: int
    interactions: int
    source: str


@dataclass(frozen=True)
class Source:
    """Where interactions and items come from.

    Attributes:
        interactions: location of files with one row per user, item and time, see `find_files`.
        items: location of files with one row per item; None if only the items' ids are known.
        columns: the names of the columns in both.
        text: template of an item's text, with columns of the items file in braces; "{title}" and
            "{item_id}" always work.
        timestamp_unit: unit of times that are numbers.
        delimiter: between the columns of a text; None for a comma in .csv and a tab in .tsv.
        published: the published size, to be shown beside that of what was read.
    """

    interactions: str | Path
    items: str | Path | None = None
    columns: Columns = field(default_factory=Columns)
    text: str = "{title}"
    timestamp_unit: Literal["seconds", "milliseconds"] = "seconds"
    delimiter: str | None = None
    published: Published | None = None


def prepare(
    source: Source,
    out: Path,
    *,
    k_core: int,
    seed: int,
    min_rating: float | None = None,
    duplicates: Literal["all", "first", "last"] = "all",
    max_interactions: int | None = None,
    split: Literal["leave-one-out", "temporal", "cold-start"] = "leave-one-out",
    held_out: float = 0.1,
    on_bad_rows: BadRows = "error",
    engine: Literal["duckdb", "spark"] = "duckdb",
    spark_master: str | None = None,
    memory_gib: float | None = None,
) -> dict[str, Any]:
    """Writes the dataset folder `out`, replacing an existing one, and returns its counts.

    The steps, in this order:
    1. rows that cannot be used are refused or dropped;
    2. ratings below `min_rating` are dropped;
    3. of several interactions of a user with an item all, the first or the last are kept;
    4. users and items with fewer than `k_core` interactions are dropped, until there are none;
    5. of each user the latest `max_interactions` are kept;
    6. users with fewer interactions than the split needs (three; "temporal": two) are dropped.

    A user's interactions are ordered by timestamp, then by `columns.position` if given, then by
    line in the file. The items are numbered in an order shuffled by `seed`, so that the numbers do
    not carry the order of the ids.

    Args:
        k_core: at least 1, which keeps everything.
        split: "leave-one-out" holds out the last two interactions of each user. "temporal" cuts all
            users at two moments, so that about the share `held_out` of the interactions come after
            the second, and as many between the two. "cold-start" is leave-one-out where some items
            are made new: of the items that are the last of some user the share `held_out` is drawn,
            and their interactions are dropped except where they are a user's last (Rajput et al.
            2023, section 4.3).
        on_bad_rows: "error" refuses an interaction without a user, an item or a time, one of an
            item that the items file lacks, and an item's second row; "drop" leaves them out.
        engine: what runs the SQL; both engines write the same files.
        spark_master: see `on_spark`.
        memory_gib: the memory that DuckDB may take, in GiB; what needs more uses the disk of `out`.

    The folder holds
        items.parquet: item int32 0…N-1, item_id string, text string, row int64 (the item's row in
            the items file, from 0; null without one), title string (the id where it is missing),
            and the other columns of the items file, as `source_…` where a name is taken;
        sequences.parquet: user_id string, items list<int32>, timestamps list<int64> (seconds),
            users in the order of their ids, items in time order;
        histories/: the same as flat arrays that training reads from the disk: items.npy int32 and
            timestamps.npy int64, user after user; indptr.npy int64, the position where each user
            begins; users.npy uint32, a hash of each user's id; and with a temporal split
            training.npy, validation.npy and test.npy (see `genrec.data.splits`);
        counts.json: how much was read, kept and left out.

    Raises:
        UserError: the input cannot be used (the message names file and column), or nothing is left.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    running = on_spark(spark_master) if engine == "spark" else in_process(out.parent, memory_gib)
    with running as db, replacing(out) as folder:
        # Ratings that no setting needs may be wrong, and would have to be carried along.
        columns = source.columns
        if min_rating is None:
            columns = dataclasses.replace(columns, rating=None)
        table = db.open_table(source.interactions, vars(columns).values(), source.delimiter)
        milliseconds = source.timestamp_unit == "milliseconds"
        events, bad_rows = read_events(
            db, table, columns, milliseconds=milliseconds, on_bad_rows=on_bad_rows
        )
        names, item_rows, dropped = read_items(
            db, source.items, columns, source.text, source.delimiter, on_bad_rows
        )
        if source.items is not None and on_bad_rows == "drop":
            events.described()
        if min_rating is not None:
            events.rated(min_rating)
        if duplicates != "all":
            events.once(duplicates)
        rounds = events.core(k_core)
        if max_interactions is not None:
            events.recent(max_interactions)
        before = events.steps[-1].users
        events.long_enough(_FEWEST[split])
        new_items = 0
        if split == "cold-start" and events.steps[-1].interactions:
            new_items = events.without(held_out, seed)
            events.long_enough(_FEWEST[split])
        left = events.steps[-1]
        if not left.interactions:
            raise UserError(_nothing_left(source.interactions, events.steps))
        number_items(db, events.name, seed)
        catalogue = item_table(db, source.items, names, source.text)
        folder.mkdir()
        pq.write_table(catalogue, folder / "items.parquet", compression="zstd")
        _write_sequences(db, folder, events)
        histories = open_histories(folder / "histories")
        parts = leave_one_out(histories)
        if split == "temporal":
            parts = temporal(histories, *events.moments(held_out))
            write_split(folder / "histories", parts)
            if not (parts.test >= 0).any():
                raise UserError(
                    f"{source.interactions}: no user has interactions on both sides of the test's "
                    "moment; raise data.held_out, or choose another data.split"
                )
        ((pairs,),) = db.run(_PAIRS.format(events=events.name))
        ((earliest, latest),) = db.run(_SPAN.format(events=events.name))
        counts = {
            "published": source.published and dataclasses.asdict(source.published),
            "interactions_read": events.steps[0].interactions + sum(bad_rows.values()),
            "bad_rows": bad_rows,
            "users_read": events.steps[0].users,
            "items_read": events.steps[0].items,
            "item_rows_read": item_rows,
            "item_rows_dropped": dropped,
            "items_left_out": max(0, item_rows - dropped - left.items),
            "steps": [dataclasses.asdict(step) for step in events.steps],
            "k_core": k_core,
            "k_core_rounds": rounds,
            "users_too_short": before - left.users,
            "tied_ends": 0 if columns.position else _tied_ends(histories),
            "users": left.users,
            "items": left.items,
            "interactions": left.interactions,
            "repeated_pairs": left.interactions - pairs,
            "density": left.interactions / (left.users * left.items),
            "first_timestamp": earliest // 1_000_000,
            "last_timestamp": latest // 1_000_000,
            "items_without_text": catalogue["text"].to_pylist().count(""),
            "history_length": _quantiles(histories.lengths),
            "split": {
                "kind": split,
                "new_items": new_items,
                "training_interactions": int((parts.training - histories.starts).sum()),
                "validation_users": int((parts.validation >= 0).sum()),
                "test_users": int((parts.test >= 0).sum()),
            },
        }
        write_json(folder / "counts.json", counts)
    return counts


def _tied_ends(histories: Histories) -> int:
    """How many users' last two interactions have the same time, so their order is the file's."""
    times, long = histories.timestamps, histories.lengths >= 2
    assert times is not None, "a dataset has them"
    last = histories.stops[long] - 1
    return int((times[last] == times[last - 1]).sum())


def _nothing_left(path: str | Path, steps: list[Step]) -> str:
    emptied = next(number for number, step in enumerate(steps) if not step.interactions)
    if emptied == 0:
        return f"{path} has no interaction that can be used"
    before, step = steps[emptied - 1], steps[emptied]
    return (
        f"{path}: nothing is left by the step {step.name!r}, before which there were "
        f"interactions {before.interactions:,}, users {before.users:,}, items {before.items:,}; "
        "ask for less or bring more data"
    )


def _write_sequences(db: QueryEngine, folder: Path, events: Events) -> None:
    """Writes histories/, and from it sequences.parquet, one part of the users after another."""
    users = db.fetch(_USERS.format(events=events.name)).sort_by("user_id")
    db.create_from("users", users.select(["u"]).append_column("number", [np.arange(len(users))]))
    user_ids = users["user_id"].cast(pa.string())
    lengths = users["length"].to_numpy()
    batches = db.stream(_SEQUENCES.format(events=events.name, order=events.order))
    pieces = ((batch["item"].to_numpy(), batch["second"].to_numpy()) for batch in batches)
    arrays = folder / "histories"
    write_histories(arrays, user_ids, lengths, pieces)
    indptr = np.load(arrays / "indptr.npy")
    path = folder / "sequences.parquet"
    with pq.ParquetWriter(path, pa.schema(SEQUENCES), compression="zstd") as file:
        for first, last in runs(indptr, _INTERACTIONS_AT_ONCE):
            begin, end = indptr[first], indptr[last]
            offsets = pa.array(indptr[first : last + 1] - begin, pa.int32())
            columns = [user_ids.slice(first, last - first)]
            for name in ("items", "timestamps"):
                values = pa.array(read_run(arrays / f"{name}.npy", begin, end))
                columns.append(pa.ListArray.from_arrays(offsets, values))
            file.write_table(pa.table(columns, schema=file.schema))


def _quantiles(lengths: np.ndarray) -> dict[str, float]:
    shares = {"min": 0, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1}
    values = np.quantile(lengths, list(shares.values()), method="inverted_cdf")
    return {"mean": float(lengths.mean())} | dict(zip(shares, values.tolist(), strict=True))
