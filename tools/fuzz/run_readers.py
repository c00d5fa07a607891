"""Readers of a finished run: its manifest, and what report, compare and recommend read of it.

Where the manifest has the SHA-256 of a file, it is corrected for most inputs, so that more than the
checksum is tested.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.finished_run import finished_run
from fuzz.workers import Reader
from genrec.cli.run import results
from genrec.decoding.experts import LOOKED_UP
from genrec.evaluation.compare import load_recommenders, to_json
from genrec.report import comparison, run_page
from genrec.report.page import render
from genrec.runs.catalog_updates import BUILT_ON, current_items, remove_items
from genrec.runs.experts import experts_of
from genrec.runs.folder import STAGES, config_of, require, stages_before
from genrec.runs.items import catalogue_of, load_items
from genrec.runs.manifest import outdated, read_manifest
from genrec.storage.files import sha256


def _run(folder: Path) -> None:
    """A copy of the run, without what takes room and is not read here."""
    unread = shutil.ignore_patterns("tensorboard", "report.html")
    shutil.copytree(finished_run(), folder, ignore=unread, dirs_exist_ok=True)
    # The checkpoints, of which only the checksum matters here, are many files: one will do.
    shutil.rmtree(folder / "checkpoints")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "about.json").write_text("{}")
    del (manifest := json.loads((folder / "manifest.json").read_text()))["stages"]["report"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    mend(folder)


def _changed_run(folder: Path) -> None:
    """A run from which items were removed, and whose catalogue.parquet says so."""
    _run(folder)
    remove_items(config_of(folder), folder, ["i003", "i004"])


def mend(folder: Path) -> None:
    """Puts the SHA-256 of the files that are there into the manifest, as far as that is one."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text())
        stages = manifest["stages"]
        digests = {name: sha256(folder / name) for each in STAGES.values() for name in each.outputs
                   if (folder / name).exists()}  # fmt: skip
        for entry in stages.values():
            for files in (entry["outputs"], entry["inputs"]):
                files.update({name: digests[name] for name in files.keys() & digests.keys()})
        path.write_text(json.dumps(manifest))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return


def _state(folder: Path) -> object:
    """What a command finds out of a run before it does anything."""
    config, entries = config_of(folder), read_manifest(folder)
    for name, stage in STAGES.items():
        entry: Any = entries.get(name)
        outdated(folder, entry, config, stage.sections, {} if entry is None else entry["inputs"])
    return require(folder, config, "evaluate")


def _page(folder: Path) -> str:
    config = config_of(folder)
    require(folder, config, *stages_before("report"))
    return render("run.html", **run_page.sections(folder, config))


def _shown(folder: Path) -> object:
    """What the stages print when they are done."""
    require(folder, config_of(folder), "evaluate")
    return [results(stage, folder) for stage in ("prepare", "tokenize", "evaluate")]


def _experts(folder: Path) -> object:
    config = config_of(folder)
    require(folder, config, "fuse")
    items = load_items(folder)
    names = ("codes", *(["dense_head"] * config.model.item_head), *LOOKED_UP)
    return experts_of(config, folder, items, names, len(items.ids.codebook_sizes))


def _compared(folder: Path) -> object:
    return to_json(load_recommenders([finished_run(), folder], "filtered"), "filtered")


def _comparison(folder: Path) -> str:
    return render("comparison.html", **comparison.sections([finished_run(), folder]))


def _items(folder: Path) -> object:
    config = config_of(folder)
    items, gone = current_items(folder, require(folder, config, *BUILT_ON))
    return catalogue_of(config, items), np.asarray(gone)


READERS = [
    Reader("manifest.json of a run", _run, _state, ("manifest.json", "config.yaml")),
    Reader(
        "page of a run",
        _run,
        _page,
        (
            "metrics.json",
            "metrics.json",
            "decoding_cost.json",
            "metrics.jsonl",
            "manifest.json",
            "dataset/counts.json",
            "tokenizer/health.json",
            "graph/health.json",
            "fusion.json",
            "recommendations_filtered.parquet",
            "embeddings.npy",
        ),
        mend,
    ),
    Reader(
        "results of stages",
        _run,
        _shown,
        ("metrics.json", "dataset/counts.json", "tokenizer/health.json"),
        mend,
    ),
    Reader(
        "comparison of runs",
        _run,
        _comparison,
        (
            "metrics.json",
            "decoding_cost.json",
            "metrics.jsonl",
            "manifest.json",
            "recommendations.parquet",
            "recommendations_filtered.parquet",
        ),
        mend,
    ),
    Reader(
        "experts of a run",
        _run,
        _experts,
        ("fusion.json", "graph/begins.npy", "graph/items.npy", "graph/weights.npy"),
        mend,
    ),
    Reader("lists of a run", _run, _compared, ("recommendations_filtered.parquet",), mend),
    Reader(
        "items of a run",
        _changed_run,
        _items,
        ("embeddings.npy", "catalogue.parquet", "tokenizer/semantic_ids.parquet"),
        mend,
    ),
]
