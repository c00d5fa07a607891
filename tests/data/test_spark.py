"""Spark and DuckDB write the same files: same text, same data, ties and nulls included."""

import filecmp
import gzip
import json
import os
import shutil
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genrec.config import Columns
from genrec.data import Source, prepare
from genrec.errors import UserError

pytest.importorskip("pyspark", reason="Spark is not installed")
if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
    pytest.skip("Spark needs Java", allow_module_level=True)

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module", autouse=True)
def small_parts():
    """A Spark that reads files in small parts, as it does with large files."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"os\.fork", RuntimeWarning)
        session = builder.config("spark.sql.files.maxPartitionBytes", "100000").getOrCreate()
    yield
    session.stop()


NAMES = ("who", "what", "when", "stars", "nth")
COLUMNS = Columns(user="who", item="what", timestamp="when", rating="stars", position="nth")


def log(seed, count=400):
    """Rows with many ties, ids of the awkward kind, and now and then something wrong."""
    rng = np.random.default_rng(seed)
    users = ["007", "7", "ünï 🦊", 'a,"b"', " x", "O'Neil", "back\\slash", *map(str, range(20))]
    items = ["001", "1", "null", "NaN", "1e3", "é", *(f"i{n}" for n in range(12))]
    times = ["5", "5.25", "2014-03-01", "2014-03-01T12:00:00Z", "2014-03-01 14:00:00+01:00"]
    rows = [
        [
            users[rng.integers(len(users))],
            items[rng.integers(len(items))],
            times[rng.integers(len(times))] if rng.random() < 0.3 else str(rng.integers(9)),
            str(rng.integers(1, 6)),
            str(rng.integers(3)),
        ]
        for _ in range(count)
    ]
    for place in rng.choice(count, 12, replace=False):
        rows[place][rng.integers(3)] = ["", "", "soon"][rng.integers(3)]
    return rows


def written(folder, rows, ending):
    """The rows as three files."""
    folder.mkdir()
    plain = ending.removesuffix(".zst").removesuffix(".gz")
    for part in range(3):
        some = rows[part::3]
        path = folder / f"part-{part}{plain}"
        if plain == ".parquet":
            columns = [[value or None for value in column] for column in zip(*some, strict=True)]
            pq.write_table(pa.table(dict(zip(NAMES, columns, strict=True))), path)
        elif plain == ".jsonl":
            lines = (json.dumps(dict(zip(NAMES, row, strict=True))) for row in some)
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        else:
            cells = ([f'"{v}"'.replace('a,"b"', 'a,""b""') for v in row] for row in some)
            path.write_text(
                "".join(",".join(row) + "\n" for row in [NAMES, *cells]), encoding="utf-8"
            )
        if plain != ending:
            with pa.output_stream(str(folder / f"part-{part}{ending}"), "detect") as file:
                file.write(path.read_bytes())
            path.unlink()
    return folder


def item_file(path, rows):
    """A JSON file of items with lists and gaps, and a repeated row."""
    ids = sorted({row[1] for row in rows if row[1]})
    with path.open("w", encoding="utf-8") as stream:
        for number, item in enumerate([*ids, ids[0]]):
            kinds = ["a", "b"][: number % 3] or None
            row = {"what": item, "title": f"Titel {item}" if number % 4 else None, "kinds": kinds}
            stream.write(json.dumps({**row, "price": number / 2 if number % 2 else None}) + "\n")
    return path


def same_folders(one, other):
    for name in ("items.parquet", "sequences.parquet"):
        assert pq.read_table(one / name).equals(pq.read_table(other / name)), name
    for path in sorted((one / "histories").iterdir()):
        assert filecmp.cmp(path, other / "histories" / path.name, shallow=False), path.name
    assert (one / "counts.json").read_text() == (other / "counts.json").read_text()


@pytest.mark.parametrize(
    ("ending", "how"),
    [
        (".csv", {"k_core": 2}),
        (".jsonl", {"k_core": 1, "min_rating": 2.0, "duplicates": "first"}),
        (".parquet", {"k_core": 2, "duplicates": "last", "split": "temporal"}),
        (".csv", {"k_core": 1, "max_interactions": 6, "split": "cold-start", "held_out": 0.3}),
        (".csv.zst", {"k_core": 2}),
        (".jsonl.gz", {"k_core": 2}),
    ],
)
def test_both_engines_write_the_same(tmp_path, ending, how):
    rows = log(len(ending))
    source = Source(
        written(tmp_path / "log", rows, ending),
        item_file(tmp_path / "items.jsonl", rows),
        COLUMNS,
        "{title}. {kinds}",
    )
    how = {"seed": 1, "on_bad_rows": "drop", **how}
    counts = prepare(source, tmp_path / "duckdb", **how)
    assert sum(counts["bad_rows"].values()) > 5
    prepare(source, tmp_path / "spark", **how, engine="spark", spark_master="local[2]")
    same_folders(tmp_path / "duckdb", tmp_path / "spark")


def test_a_large_file_keeps_its_order(tmp_path):
    """Read in several parts: all times are the same, so only the order of the rows is left."""
    count = 300_000
    rng = np.random.default_rng(0)
    table = {
        "who": rng.integers(0, 200, count).astype(str),
        "what": rng.integers(0, 50, count).astype(str),
        "when": np.zeros(count, np.int64),
    }
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table(table), path, row_group_size=10_000)
    assert path.stat().st_size > 300_000
    source = Source(path, columns=Columns(user="who", item="what", timestamp="when"))
    prepare(source, tmp_path / "duckdb", k_core=1, seed=0)
    prepare(source, tmp_path / "spark", k_core=1, seed=0, engine="spark", spark_master="local[2]")
    same_folders(tmp_path / "duckdb", tmp_path / "spark")


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_faults_are_told_alike(tmp_path, ending):
    rows = [["u", "a", "1", "3", "0"], ["u", "b", "soon", "3", "0"], ["", "c", "1", "3", "0"]]
    source = Source(written(tmp_path / "log", rows, ending), columns=COLUMNS)
    told = []
    for engine in ("duckdb", "spark"):
        with pytest.raises(UserError) as caught:
            prepare(
                source, tmp_path / "x", k_core=1, seed=0, engine=engine, spark_master="local[2]"
            )
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert "first in row 1 of" in told[0]


def broken(contents, ending):
    if ending.endswith(".gz"):
        return gzip.compress(contents)[:-20]
    return contents


@pytest.mark.parametrize(
    ("ending", "contents", "complaint"),
    [
        (".parquet", b"this is no parquet file", r"log.parquet cannot be read"),
        (".csv", b"user_id,item_id,timestamp\na,b,1\na\xff,b,2\n", r"log.csv is not UTF-8; save"),
        (".csv.gz", b"user_id,item_id,timestamp\n" + bytes(range(65, 91)) * 400, r"log.csv.gz"),
        (".jsonl", b'{"user_id": "a", "item_id": "b", "timestamp"', r"log.jsonl cannot be read"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path, ending, contents, complaint):
    path = tmp_path / f"log{ending}"
    path.write_bytes(broken(contents, ending))
    with pytest.raises(UserError, match=complaint) as caught:
        prepare(
            Source(path), tmp_path / "x", k_core=1, seed=0, engine="spark", spark_master="local[2]"
        )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "x").exists()
