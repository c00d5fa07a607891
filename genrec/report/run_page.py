"""The page of one run."""

import statistics
from pathlib import Path
from typing import Any

from genrec.config import Config
from genrec.config.parsing import dump_config
from genrec.data import load_dataset
from genrec.embedding import load_vectors
from genrec.evaluation.examples import draw_examples
from genrec.evaluation.published import benchmark_of
from genrec.report import codes, curves, experts, results
from genrec.report.item_map import item_map
from genrec.report.page import write_page
from genrec.report.provenance import changed_settings, versions
from genrec.report.tree import tree
from genrec.runs.figures import blaming_figures, read_decoding_cost, read_figures, read_training_log
from genrec.runs.folder import stages_before
from genrec.runs.manifest import read_manifest
from genrec.semantic_ids.parquet import load_semantic_ids


def write_report(folder: Path, config: Config, out: Path) -> int:
    """Writes the page of an evaluated run, and returns its size in bytes.

    Args:
        folder: of the run; nothing in it is changed but `out`, if it lies there.
    """
    return write_page(out, "run.html", sections(folder, config))


def sections(folder: Path, config: Config) -> dict[str, Any]:
    """The variables of the template; None for what this run has not.

    Raises:
        UserError: a file of the run is missing, or not as genrec writes it.
    """
    metrics = read_figures(folder, "metrics.json")
    counts = read_figures(folder, "dataset/counts.json")
    cost = read_decoding_cost(folder)
    manifest, log = read_manifest(folder), read_training_log(folder)
    stages = {name: manifest[name] for name in stages_before("report")}
    speeds = [line["targets_per_second"] for line in log if "targets_per_second" in line]
    dataset, seed = load_dataset(folder / "dataset"), config.seed
    labels = dataset.labels
    vectors = load_vectors(folder / "embeddings.npy", dataset.num_items)
    with blaming_figures(folder, "metrics.json"):
        measured = {
            "headline": results.headline(metrics, cost),
            "results": results.recommenders(metrics, benchmark_of(counts)),
            "all_figures": results.all_figures(metrics),
            "segments": results.segments(metrics),
            "list_quality": results.list_quality(metrics),
        }
    fusion, graph = (read_figures(folder, name) for name in ("fusion.json", "graph/health.json"))
    with blaming_figures(folder, "fusion.json"):
        measured |= {
            "experts": experts.contributions(fusion),
            "reliability": experts.reliability_chart(fusion),
            "graph": experts.graph_rows(graph),
        }
    first_codes, tokenized = None, {"tokenizer_charts": [], "tree": None}
    if config.model.codes:
        health = read_figures(folder, "tokenizer/health.json")
        ids = load_semantic_ids(folder / "tokenizer" / "semantic_ids.parquet").codes
        first_codes = ids[:, 0]
        with blaming_figures(folder, "tokenizer/health.json"):
            sizes = [level["size"] for level in health["levels"]]
            of_tokenizer = ids[:, : len(sizes)]
            tokenized = {
                "tokenizer_charts": curves.tokenizer_charts(health.get("training", [])),
                "health": health,
                "use": codes.codebook_use(of_tokenizer, sizes),
                "collisions": codes.collisions(of_tokenizer, labels),
            }
        tokenized["tree"] = tree(ids, labels, seed=seed)
    return {
        "name": folder.resolve().name,
        "data": config.data.dataset,
        "counts": counts,
        "seed": seed,
        **measured,
        **tokenized,
        "charts": curves.training_charts(log, config),
        "map": item_map(vectors, first_codes, labels, seed=seed),
        "users": draw_examples(folder, seed=seed, count=10, k=10, recent=8),
        "stages": stages,
        "speed": statistics.median(speeds) if speeds else None,
        "cost": cost,
        "changed": changed_settings(Config(), config),
        "yaml": dump_config(config),
        "versions": versions(stages.values()),
    }
