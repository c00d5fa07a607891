"""Readers of plain files: tables, settings, requests, locks, vectors, and a data set by itself."""

import fcntl
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from fuzz.finished_run import finished_run
from fuzz.mutations import blindly, mutated
from fuzz.workers import Reader
from genrec.config import Columns
from genrec.config.parsing import read_settings
from genrec.data import Source, load_dataset, prepare, read_new_items
from genrec.embedding import embed_file
from genrec.recommend.request_files import count_requests, read_names, read_requests
from genrec.semantic_ids.parquet import load_semantic_ids
from genrec.storage.lock import holder

_COLUMNS = Columns(rating="rating", position="position", category="genre")
_ITEMS = {
    "item_id": [f"i{n}" for n in range(6)],
    "title": [f"Film {n}, the {n}th" for n in range(6)],
    "genre": ["drama", "comedy"] * 3,
    "year": [1990 + n for n in range(6)],
}
_LOG = {
    "user_id": [f"u{n // 5}" for n in range(20)],
    "item_id": [f"i{n % 6}" for n in range(20)],
    "timestamp": [1_000_000 + 1000 * n for n in range(20)],
    "rating": [1.0 + n % 5 for n in range(20)],
    "position": list(range(20)),
}


def _write_table(path: Path, columns: dict[str, list]) -> None:
    """Rows in the format that the name's ending says."""
    table = pa.table(columns)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif ".csv" in path.name:
        with pa.output_stream(path, compression="detect") as stream:
            pa_csv.write_csv(table, stream)
    else:
        with pa.output_stream(path, compression="detect") as stream:
            stream.write("".join(f"{json.dumps(row)}\n" for row in table.to_pylist()).encode())


def _packed(rng: random.Random, name: str, contents: bytes) -> bytes:
    """A damaged compressed file: most often what is inside is damaged; now and then it is huge."""
    plain, ending = os.path.splitext(name)  # noqa: PTH122
    codec = pa.Codec("gzip" if ending == ".gz" else "zstd")
    way = rng.random()
    if way < 0.3:
        return blindly(rng, contents)
    with pa.CompressedInputStream(pa.BufferReader(contents), codec.name) as stream:
        inside = stream.read()
    if way < 0.32:  # a gibibyte in one line
        bomb = _compressed(b"x" * (1 << 20), codec.name) * 1024
        return bomb + contents if rng.random() < 0.5 else contents + bomb
    return _compressed(mutated(rng, plain, inside), codec.name)


def _compressed(contents: bytes, codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(contents)
    return sink.getvalue().to_pybytes()


def _tables(ending: str, **more: Any) -> Reader:
    names = (f"log{ending}", f"items{ending}")

    def make(folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for name, columns in zip(names, (_LOG, _ITEMS), strict=True):
            _write_table(folder / name, columns)

    def read(folder: Path) -> None:
        log, items = (folder / name for name in names)
        source = Source(log, items, _COLUMNS, "{title}, {genre}")
        try:
            prepare(source, folder / "out", k_core=1, seed=0, min_rating=1.0, on_bad_rows="drop")
        finally:
            shutil.rmtree(folder / "out", ignore_errors=True)

    return Reader(f"tables {ending}", make, read, names, **more)


def _new_items(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    _write_table(folder / "new.csv", _ITEMS)


def _copied(*names: str) -> Callable[[Path], None]:
    """What makes a folder of some files of the run."""

    def make(folder: Path) -> None:
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(finished_run() / name, path)

    return make


_FLAT = ("indptr", "items", "timestamps", "users")
_DATASET = (
    "dataset/items.parquet",
    "dataset/sequences.parquet",
    *(f"dataset/histories/{name}.npy" for name in _FLAT),
)


def _dataset(folder: Path) -> object:
    dataset = load_dataset(folder / "dataset")
    test, training = dataset.held_out("test"), dataset.training()
    counts = training.counts(dataset.num_items)
    return dataset.user_ids, dataset.labels, dataset.categories(), list(test.histories), counts


def _vectors(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    np.save(folder / "vectors.npy", np.random.default_rng(0).random((6, 4), np.float32))


def _requests(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    rows = {
        "user_id": ["a", "b", "c"],
        "items": [["i1", "i2"], ["i3"], []],
        "timestamps": [[1, 2], [3], []],
        "exclude": [["i4"], [], []],
        "allow": [["i1", "i2", "i3"], None, None],
    }
    _write_table(folder / "histories.parquet", rows)
    _write_table(folder / "histories.jsonl", rows)
    _write_table(folder / "names.parquet", {"item_id": ["i1", "i2"]})
    (folder / "names.txt").write_text("i1\nFilm 2\n")


def _read_requests(*names: str) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        histories, allowed = (folder / name for name in names)
        requests = list(read_requests(histories, 8192))  # as the command does
        return count_requests(histories), requests, read_names(allowed)

    return read


def _lock(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    holder = {"command": "genrec train", "pid": 7, "host": "h", "since": "2026-01-01 12:00"}
    (folder / ".lock").write_text(json.dumps(holder))


def _read_lock(folder: Path) -> object:
    """What is said of a lock that somebody has, here by another opening of the file."""
    number = os.open(folder / ".lock", os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        return holder(folder / ".lock")
    finally:
        os.close(number)


READERS = [
    _tables(".csv"),
    _tables(".jsonl"),
    _tables(".parquet"),
    _tables(".csv.gz", mutate=_packed),
    _tables(".jsonl.zst", mutate=_packed),
    Reader(
        "new items",
        _new_items,
        lambda folder: read_new_items(folder / "new.csv", _COLUMNS, "{title}, {genre}"),
        ("new.csv",),
    ),
    Reader(
        "settings",
        _copied("config.yaml"),
        lambda folder: read_settings(folder / "config.yaml"),
        ("config.yaml",),
    ),
    Reader("dataset", _copied(*_DATASET), _dataset, _DATASET),
    Reader(
        "semantic_ids.parquet",
        _copied("tokenizer/semantic_ids.parquet"),
        lambda folder: load_semantic_ids(folder / "tokenizer/semantic_ids.parquet"),
        ("tokenizer/semantic_ids.parquet",),
    ),
    Reader(
        "own vectors",
        _vectors,
        lambda folder: embed_file(folder / "vectors.npy", np.array([3, 0, 5]), 6),
        ("vectors.npy",),
    ),
    Reader(
        "histories .jsonl",
        _requests,
        _read_requests("histories.jsonl", "names.txt"),
        ("histories.jsonl", "names.txt"),
    ),
    Reader(
        "histories .parquet",
        _requests,
        _read_requests("histories.parquet", "names.parquet"),
        ("histories.parquet", "names.parquet"),
    ),
    Reader("lock", _lock, _read_lock, (".lock",)),
]
