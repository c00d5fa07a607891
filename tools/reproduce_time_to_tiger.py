"""How long training takes until the test figures of TIGER's paper are reached on Beauty.

    python tools/reproduce_time_to_tiger.py --json time_to_tiger.json

The training of the config runs once, whole. Whenever a validation finds a better checkpoint, that
is what a user would have had if the training had ended there; so those checkpoints are measured on
all test users afterwards (full catalogue, unfiltered, lists as long as the config's beam). The
answer is the training time of the first of them that has Recall@10 >= .0648 and NDCG@10 >= .0384
(Rajput et al. 2023, table 1, Beauty). Test figures decide nothing but what is printed.

It is answered for each way in which the model recommends, all with validations of their own: beam
search over the codes; the dense head that scores all items; and both together, as configured.

Training time is all that passes between the start of the training and that moment, compiling
included, but for validations, which are counted apart. Data and semantic IDs come before it, and
their time is given too.
"""

import argparse
import dataclasses
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

import genrec
from genrec.config import Config
from genrec.evaluation import summarise, target_ranks
from genrec.pipeline.validation import validation
from genrec.runs.items import catalogue_of, load_items
from genrec.runs.model import decoding_options, make_recommender, model_builder
from genrec.storage.files import write_json
from genrec.training import train
from reproduce.measuring import run_command

RECALL, NDCG = 0.0648, 0.0384
"""TIGER on Beauty: Rajput et al. 2023, Recommender Systems with Generative Retrieval, table 1."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", type=Path, default=Path("configs/beauty.yaml"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    config = genrec.load_config(arguments.config, f"seed={arguments.seed}")
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(config, Path(folder) / "run")
    figures |= {"config": str(arguments.config), "seed": arguments.seed, "device": device()}
    show(figures)
    if arguments.json:
        write_json(arguments.json, figures)


def measure(config: Config, folder: Path) -> dict[str, Any]:
    """Trains in a new folder; what every better checkpoint cost and is worth, for each way."""
    before = sum(
        genrec.run_stage(stage, config, folder).seconds
        for stage in ("prepare", "embed", "tokenize")
    )
    items = load_items(folder)
    dataset, catalogue = items.dataset, catalogue_of(config, items)
    build = model_builder(config.model, catalogue, items.ids.codebook_sizes)
    recommend = make_recommender(config, catalogue, build, None, decoding_options(config))
    ways = {"beam search": 0.0}
    if config.model.item_head:
        ways["dense head"] = 1.0
        share = config.decoding.dense_share or 0.5
        if share < 1:
            ways["both"] = share
    validations = {
        way: validation(config, dataset, catalogue, build, dense_share=share)
        for way, share in ways.items()
    }
    better: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    started, validating = time.perf_counter(), 0.0

    def validate(params: Any) -> dict[str, float]:
        nonlocal validating
        now = time.perf_counter()
        metrics = {way: measured(params) for way, measured in validations.items()}
        for way, entry in metrics.items():
            if not better[way] or entry["ndcg@10"] > better[way][-1]["validation_ndcg@10"]:
                better[way].append(
                    {
                        "training_seconds": now - started - validating,
                        "validation_ndcg@10": entry["ndcg@10"],
                        "params": params,
                    }
                )
        validating += time.perf_counter() - now
        return metrics["beam search"]

    train(
        build,
        catalogue,
        dataset.training(),
        config.training,
        max_history=config.model.max_history,
        seed=config.seed,
        folder=folder,
        identity={},
        validate=validate,
    )
    whole = time.perf_counter() - started - validating
    test, k = dataset.held_out("test"), config.decoding.beam
    for way, share in ways.items():
        recommend.options = dataclasses.replace(recommend.options, dense_share=share)
        for checkpoint in better[way]:
            recommend.params = jax.device_put(checkpoint.pop("params"))
            items, _ = recommend(test.histories, k, exclude_history=False)
            figures = summarise(target_ranks(items, test.targets), (10,), k)
            checkpoint |= {f"test_{name}": value for name, value in figures.items()}
            checkpoint["reached"] = figures["recall@10"] >= RECALL and figures["ndcg@10"] >= NDCG
    return {
        "seconds_until_reached": {
            way: next((c["training_seconds"] for c in checkpoints if c["reached"]), None)
            for way, checkpoints in better.items()
        },
        "training_seconds": whole,
        "validation_seconds": validating,
        "seconds_before_training": before,
        "test_users": len(test.targets),
        "checkpoints": better,
        "training": dataclasses.asdict(config.training),
    }


def show(figures: dict[str, Any]) -> None:
    console = Console(highlight=False)
    for way, checkpoints in figures["checkpoints"].items():
        title = f"{way}: {figures['config']}, seed {figures['seed']}, {figures['device']}"
        table = Table(title=title, title_justify="left")
        for name in ("training", "validation NDCG@10", "test Recall@10", "test NDCG@10", "reached"):
            table.add_column(name, justify="right")
        for checkpoint in checkpoints:
            table.add_row(
                minutes(checkpoint["training_seconds"]),
                f"{checkpoint['validation_ndcg@10']:.4f}",
                f"{checkpoint['test_recall@10']:.4f}",
                f"{checkpoint['test_ndcg@10']:.4f}",
                "yes" if checkpoint["reached"] else "",
            )
        table.add_row("TIGER's paper", "", f"{RECALL:.4f}", f"{NDCG:.4f}", "")
        console.print(table)
        reached = figures["seconds_until_reached"][way]
        answer = "not reached" if reached is None else f"reached after {minutes(reached)}"
        console.print(f"{way}: {answer} (training takes {minutes(figures['training_seconds'])})")
    before = minutes(figures["seconds_before_training"])
    console.print(f"before training (data, semantic IDs): {before}")


def minutes(seconds: float) -> str:
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"


def device() -> str:
    device = jax.devices()[0]
    return f"{os.cpu_count()} cores" if device.platform == "cpu" else device.device_kind


if __name__ == "__main__":
    run_command(main)
