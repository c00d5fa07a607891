"""The page of one run."""

from pathlib import Path
from typing import Any

import numpy as np

from genrec.config import Config
from genrec.data import load_dataset
from genrec.evaluation.examples import draw_examples
from genrec.evaluation.published import benchmark_of
from genrec.files import read_json, replacing
from genrec.manifest import read_manifest
from genrec.report import codes, curves, figures, provenance
from genrec.report.item_map import item_map
from genrec.report.page import render
from genrec.report.tree import tree
from genrec.tokenizer import load_semantic_ids

_USERS = 10
_LIST = 10
_RECENT = 8


def write_report(folder: Path, config: Config, out: Path) -> int:
    """Writes the page of an evaluated run.

    Args:
        folder: of the run; nothing in it is changed but `out`, if it lies there.

    Returns:
        Its size in bytes.
    """
    text = render("run.html", **sections(folder, config)).encode()
    with replacing(out) as temporary:
        temporary.write_bytes(text)
    return len(text)


def sections(folder: Path, config: Config) -> dict[str, Any]:
    """What the template shows, by name; None for what this run has not."""
    metrics = read_json(folder / "metrics.json")
    counts = read_json(folder / "dataset" / "counts.json")
    decoding = folder / "decoding_cost.json"
    search = read_json(decoding) if decoding.exists() else None
    manifest, lines = read_manifest(folder), curves.read_lines(folder)
    dataset, name = load_dataset(folder / "dataset"), folder.resolve().name
    labels, seed = dataset.labels, config.seed
    ids = load_semantic_ids(folder / "tokenizer" / "semantic_ids.parquet").codes
    health = read_json(folder / "tokenizer" / "health.json") if config.model.codes else None
    vectors = np.load(folder / "embeddings.npy", mmap_mode="r")
    first = ids[:, 0] if config.model.codes else None
    return {
        "name": name,
        "data": config.data.dataset,
        "counts": counts,
        "seed": seed,
        "headline": figures.headline(metrics, search),
        "results": figures.recommenders(metrics, benchmark_of(counts), "genrec"),
        "all_figures": figures.all_figures(metrics),
        "segments": figures.segments(metrics),
        "beyond": figures.beyond(metrics),
        "charts": curves.training_charts(lines, config),
        "tokenizer_charts": curves.tokenizer_charts(health.get("training", []) if health else []),
        "tree": None if health is None else tree(ids, labels, seed=seed),
        "use": None if health is None else codes.codebook_use(health, ids),
        "collisions": None if health is None else codes.collisions(health, ids, labels),
        "map": item_map(vectors, first, labels, seed=seed),
        "users": draw_examples(folder, seed=seed, count=_USERS, k=_LIST, recent=_RECENT),
        "cost": provenance.cost(manifest, lines, search),
        "provenance": provenance.provenance(config, manifest),
    }
