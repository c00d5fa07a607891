"""The speed and memory of `genrec prepare`, beside the same steps written by hand.

    python tools/bench_prepare.py --rows 20_000_000 --json prepare.json

A synthetic log (power-law users and items, random order and times, ids as text) goes through 5-core
and leave-one-out: by genrec, by SQL for DuckDB and by Polars, each written by hand for just this,
with neither checks nor counts nor flat arrays. Every run is a process of its own, and they take
turns, so that what else the machine does falls on all. Peak memory is that of the process.

With several --rows the growth of time and memory is shown; genrec alone is run on those after the
first.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from genrec.storage.files import write_json

K = 5
_AT_ONCE = 2_000_000
_MAXRSS_PER_GIB = 2**30 if sys.platform == "darwin" else 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=list(SIDES))
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measured(arguments.side, arguments.work)))
        return
    figures = [
        compare(rows, arguments.sides if number == 0 else ["genrec"], arguments.rounds)
        for number, rows in enumerate(arguments.rows)
    ]
    show(figures)
    if arguments.json:
        write_json(arguments.json, {"k_core": K, "measured": figures})


def compare(rows: int, sides: list[str], rounds: int) -> dict[str, Any]:
    """Every side in turn, for some rounds, each in a process of its own."""
    answers: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory(prefix="genrec-bench-") as work:
        write_log(Path(work) / "log.parquet", rows)
        for _ in range(rounds):
            for side in sides:
                command = [sys.executable, __file__, "--side", side, "--work", work]
                answer = subprocess.run(command, check=True, capture_output=True, text=True)
                answers[side].append(json.loads(answer.stdout.splitlines()[-1]))
                print(f"{rows:,} rows, {side}: {answers[side][-1]}", flush=True)
    sizes = {json.dumps(run["left"]) for runs in answers.values() for run in runs}
    if len(sizes) != 1:
        raise SystemExit(f"the sides do not agree on what is left: {sizes}")
    return {"rows": rows, "left": json.loads(sizes.pop()), "sides": answers}


def write_log(path: Path, rows: int, seed: int = 0) -> None:
    """A log of `rows` interactions of about a twentieth as many users."""
    rng = np.random.default_rng(seed)
    users, items = max(100, rows // 15), max(50, rows // 80)
    schema = pa.schema({"user_id": pa.string(), "item_id": pa.string(), "timestamp": pa.int64()})
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for first in range(0, rows, _AT_ONCE):
            count = min(_AT_ONCE, rows - first)
            # Powers of a uniform number: the first of them are met most, by a power law.
            user = users * rng.random(count) ** 2.5
            item = items * rng.random(count) ** 3
            names = (
                pa.array(np.char.add(prefix, numbers.astype(np.int64).astype(str)), pa.string())
                for prefix, numbers in (("u", user), ("i", item))
            )
            times = pa.array(1_300_000_000 + rng.integers(0, 300_000_000, count))
            file.write_table(pa.table([*names, times], schema=schema))


def measured(side: str, work: Path) -> dict[str, Any]:
    """One run of a side: seconds, GiB at most, and what was left."""
    with tempfile.TemporaryDirectory(dir=work) as out:
        started = time.perf_counter()
        left = SIDES[side](work / "log.parquet", Path(out))
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MAXRSS_PER_GIB
    return {"seconds": seconds, "peak_gib": peak, "left": left}


def by_genrec(log: Path, out: Path) -> list[int]:
    from genrec.config import Config
    from genrec.data import Source, prepare

    limit = Config().data.memory_gib
    counts = prepare(Source(log), out / "dataset", k_core=K, seed=0, memory_gib=limit)
    return [counts[name] for name in ("interactions", "users", "items")]


def by_duckdb(log: Path, out: Path) -> list[int]:
    import duckdb

    db = duckdb.connect(config={"temp_directory": str(out / "spill")})
    table, before = f"read_parquet('{log}')", -1
    db.execute(
        "CREATE TEMP TABLE core0 AS SELECT user_id, item_id, timestamp AS ts, "
        f"ROW_NUMBER() OVER () AS line FROM {table}"
    )
    number = 0
    while True:
        db.execute(
            f"CREATE OR REPLACE TEMP TABLE core{1 - number} AS SELECT * FROM core{number} WHERE "
            f"user_id IN (SELECT user_id FROM core{number} GROUP BY 1 HAVING COUNT(*) >= {K}) AND "
            f"item_id IN (SELECT item_id FROM core{number} GROUP BY 1 HAVING COUNT(*) >= {K})"
        )
        number = 1 - number
        ((after,),) = db.execute(f"SELECT COUNT(*) FROM core{number}").fetchall()
        if after == before:
            break
        before = after
    db.execute(
        "CREATE TEMP TABLE items AS SELECT item_id, ROW_NUMBER() OVER (ORDER BY item_id) - 1 AS "
        f"item FROM (SELECT DISTINCT item_id FROM core{number})"
    )
    db.execute(f"COPY items TO '{out / 'items.parquet'}' (COMPRESSION zstd)")
    db.execute(
        "COPY (SELECT user_id, LIST(item ORDER BY ts, line) AS items, "
        f"LIST(ts ORDER BY ts, line) AS timestamps FROM core{number} JOIN items USING (item_id) "
        "GROUP BY user_id ORDER BY user_id) "
        f"TO '{out / 'sequences.parquet'}' (COMPRESSION zstd)"
    )
    ((users,),) = db.execute(f"SELECT COUNT(DISTINCT user_id) FROM core{number}").fetchall()
    ((items,),) = db.execute("SELECT COUNT(*) FROM items").fetchall()
    return [before, users, items]


def by_polars(log: Path, out: Path) -> list[int]:
    import polars as pl  # pyright: ignore[reportMissingImports]

    rows = pl.read_parquet(log).with_row_index("line")
    while True:
        before = rows.height
        rows = rows.filter((pl.len().over("user_id") >= K) & (pl.len().over("item_id") >= K))
        if rows.height == before:
            break
    items = rows.select(pl.col("item_id").unique().sort()).with_row_index("item")
    items.write_parquet(out / "items.parquet", compression="zstd")
    sequences = (
        rows.join(items, on="item_id")
        .sort("timestamp", "line")
        .group_by("user_id", maintain_order=True)
        .agg(pl.col("item").alias("items"), pl.col("timestamp").alias("timestamps"))
        .sort("user_id")
    )
    sequences.write_parquet(out / "sequences.parquet", compression="zstd")
    return [rows.height, sequences.height, items.height]


SIDES: dict[str, Callable[[Path, Path], list[int]]] = {
    "genrec": by_genrec,
    "duckdb": by_duckdb,
    "polars": by_polars,
}


def show(figures: list[dict[str, Any]]) -> None:
    table = Table(title="prepare: 5-core and leave-one-out (medians)", title_justify="left")
    for name in ("rows", "left", "by", "seconds", "GiB at most", "times the quicker by hand"):
        table.add_column(name, justify="left" if name == "by" else "right")
    for entry in figures:
        seconds = {
            side: float(np.median([run["seconds"] for run in runs]))
            for side, runs in entry["sides"].items()
        }
        others = [took for side, took in seconds.items() if side != "genrec"]
        for side, runs in entry["sides"].items():
            peak = np.median([run["peak_gib"] for run in runs])
            ratio = f"{seconds[side] / min(others):.2f}" if others else ""
            left = f"{entry['left'][0]:,}"
            cells = (f"{entry['rows']:,}", left, side, f"{seconds[side]:.1f}", f"{peak:.2f}", ratio)
            table.add_row(*cells)
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
