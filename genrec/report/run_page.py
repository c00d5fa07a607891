"""The page of one run."""

from pathlib import Path
from typing import Any

from genrec.config import Config
from genrec.data import load_dataset
from genrec.embedding import load_vectors
from genrec.evaluation.examples import draw_examples
from genrec.evaluation.published import benchmark_of
from genrec.report import codes, curves, figures, provenance
from genrec.report.item_map import item_map
from genrec.report.page import render
from genrec.report.stored_figures import of_run, read_figures, read_lines
from genrec.report.tree import tree
from genrec.runs.manifest import read_manifest
from genrec.semantic_ids.parquet import load_semantic_ids
from genrec.storage.files import replacing

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
    metrics = read_figures(folder, "metrics.json")
    counts = read_figures(folder, "dataset/counts.json")
    there = (folder / "decoding_cost.json").exists()
    search = read_figures(folder, "decoding_cost.json") if there else None
    manifest, lines = read_manifest(folder), read_lines(folder)
    dataset, name = load_dataset(folder / "dataset"), folder.resolve().name
    labels, seed = dataset.labels, config.seed
    ids = load_semantic_ids(folder / "tokenizer" / "semantic_ids.parquet").codes
    health = read_figures(folder, "tokenizer/health.json") if config.model.codes else None
    vectors = load_vectors(folder / "embeddings.npy", dataset.num_items)
    first = ids[:, 0] if config.model.codes else None
    with of_run(folder, "metrics.json"):
        measured = {
            "headline": figures.headline(metrics, search),
            "results": figures.recommenders(metrics, benchmark_of(counts), "genrec"),
            "all_figures": figures.all_figures(metrics),
            "segments": figures.segments(metrics),
            "beyond": figures.beyond(metrics),
        }
    with of_run(folder, "tokenizer/health.json"):
        tokenized = {
            "tokenizer_charts": curves.tokenizer_charts(health.get("training", []))
            if health
            else [],
            "use": None if health is None else codes.codebook_use(health, ids),
            "collisions": None if health is None else codes.collisions(health, ids, labels),
        }
    return {
        "name": name,
        "data": config.data.dataset,
        "counts": counts,
        "seed": seed,
        **measured,
        **tokenized,
        "charts": curves.training_charts(lines, config),
        "tree": None if health is None else tree(ids, labels, seed=seed),
        "map": item_map(vectors, first, labels, seed=seed),
        "users": draw_examples(folder, seed=seed, count=_USERS, k=_LIST, recent=_RECENT),
        "cost": provenance.cost(manifest, lines, search),
        "provenance": provenance.provenance(config, manifest),
    }
