"""Readers of plain files: tables, settings, and what a run holds."""

import shutil
from pathlib import Path

from _fuzz_run import finished_run
from _fuzzing import Reader

from genrec.data import load_dataset
from genrec.settings import load_config
from genrec.tokenizer import load_semantic_ids


def _copy(*names: str):
    """Makes a folder of some files of the run."""

    def make(folder: Path) -> None:
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(finished_run() / name, path)

    return make


_FLAT = ("indptr", "items", "timestamps", "users")
_HISTORIES = tuple(f"dataset/histories/{name}.npy" for name in _FLAT)
_DATASET = ("dataset/items.parquet", "dataset/sequences.parquet", *_HISTORIES)


def _dataset(folder: Path) -> object:
    dataset = load_dataset(folder / "dataset")
    test, training = dataset.held_out("test"), dataset.training()
    counts = training.counts(dataset.num_items)
    return dataset.user_ids, dataset.labels, dataset.categories(), list(test.histories), counts


READERS = [
    Reader(
        "settings",
        _copy("config.yaml"),
        lambda folder: load_config(folder / "config.yaml"),
        ("config.yaml",),
    ),
    Reader("dataset", _copy(*_DATASET), _dataset, _DATASET),
    Reader(
        "semantic_ids.parquet",
        _copy("tokenizer/semantic_ids.parquet"),
        lambda folder: load_semantic_ids(folder / "tokenizer/semantic_ids.parquet"),
        ("tokenizer/semantic_ids.parquet",),
    ),
]
