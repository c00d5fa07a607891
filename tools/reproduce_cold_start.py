"""How often new items are recommended: the cold-start experiment of TIGER's paper.

    python tools/reproduce_cold_start.py --json cold_start.json

Some of the items that are somebody's test item (5 % of them, by seed) lose every interaction but
those test ones, so that the model meets them for the first time when it is asked for them (Rajput
et al. 2023, section 4.3, "Cold-Start Recommendation"). Then the config's whole run is done on what
is left, and the test users are measured apart by whether their test item is new.

Ways to recommend, filtered lists over the full catalogue: by the codes alone; with a tenth of each
list open to new items, found by the codes that describe them (TIGER's epsilon); by all experts,
among them the item graph, in which new items borrow from what is like them, and with the tenth too;
by the dense head alone; by codes and head as configured, or in equal parts; and with the tenth.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

import genrec
from genrec.config import Config
from genrec.data import Dataset, load_dataset
from genrec.data.known import data_source
from genrec.evaluation import summarise, target_ranks
from genrec.runs.items import load_items
from genrec.runs.model import load_recommender
from genrec.storage.files import replacing, write_json
from reproduce.measuring import run_command

K = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", type=Path, default=Path("configs/beauty.yaml"))
    parser.add_argument("--out", type=Path, default=Path("runs/cold-start"), help="kept; resumes")
    parser.add_argument("--share", type=float, default=0.05, help="of the test items made new")
    parser.add_argument("--unseen", type=float, default=0.1, help="of a list, for new items")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    config = genrec.load_config(arguments.config, f"seed={arguments.seed}")
    whole = arguments.out / "whole"
    genrec.run_stage("prepare", config, whole)
    new = choose(load_dataset(whole / "dataset"), arguments.share, arguments.seed)
    config = without(config, load_dataset(whole / "dataset"), new, arguments.out / "cold.parquet")
    for stage in ("prepare", "embed", "tokenize", "train", "graph", "fuse"):
        outcome = genrec.run_stage(stage, config, arguments.out / "run")
        print(f"{stage}: {outcome.summary}", flush=True)
    figures = measure(config, arguments.out / "run", arguments.unseen)
    figures |= {"config": str(arguments.config), "seed": arguments.seed, "new_items": len(new)}
    show(figures)
    if arguments.json:
        write_json(arguments.json, figures)


def choose(dataset: Dataset, share: float, seed: int) -> set[int]:
    """The items to be new."""
    targets = np.unique(dataset.held_out("test").targets)
    generator = np.random.default_rng(seed)
    count = max(1, round(share * len(targets)))
    return set(generator.choice(targets, count, replace=False).tolist())


def without(config: Config, dataset: Dataset, new: set[int], file: Path) -> Config:
    """Writes the log without the new items' interactions but test ones, and says how to read it."""
    source = data_source(config.data)
    columns = dataclasses.replace(source.columns, position="position")
    histories, item_ids = dataset.histories, np.array(dataset.item_ids)
    indptr, items = histories.csr()
    last = np.zeros(len(items), bool)
    last[indptr[1:] - 1] = True
    kept = last | ~np.isin(items, list(new))
    owner = np.repeat(np.arange(len(histories)), np.diff(indptr))
    assert histories.timestamps is not None
    table = {
        columns.user: dataset.user_ids[owner][kept],
        columns.item: item_ids[items][kept],
        columns.timestamp: np.asarray(histories.timestamps)[kept],
        "position": np.arange(len(items))[kept],
    }
    with replacing(file) as temporary:
        pq.write_table(pa.table(table), temporary)
    data = dataclasses.replace(
        config.data,
        dataset=None,
        interactions=str(file),
        items=None if source.items is None else str(source.items),
        columns=columns,
        text=source.text,
        k_core=1,
    )
    return dataclasses.replace(config, data=data)


def measure(config: Config, folder: Path, unseen: float) -> dict[str, Any]:
    """Recall and NDCG of every way to recommend, by whether the test item is new."""
    catalogue = load_items(folder)
    dataset = catalogue.dataset
    test = dataset.held_out("test")
    counts = dataset.training().counts(dataset.num_items)
    is_new = counts[test.targets] == 0
    ways: dict[str, tuple[float | None, float]] = {
        "codes": (0.0, 0.0),
        "codes, part for new items": (0.0, unseen),
        "experts": (None, 0.0),
        "experts, part for new items": (None, unseen),
    }
    if config.model.item_head:
        share = config.decoding.dense_share or 0.5
        ways |= {
            "dense head": (1.0, 0.0),
            f"codes and head ({share:g})": (share, 0.0),
            f"codes and head ({share:g}), part for new items": (share, unseen),
        }
    figures = {}
    for way, (dense_share, unseen_share) in ways.items():
        decoding = dataclasses.replace(
            config.decoding, dense_share=dense_share, unseen_share=unseen_share
        )
        settings = dataclasses.replace(config, decoding=decoding)
        recommend = load_recommender(settings, folder, catalogue, progress_name=way[:10])
        items, _ = recommend(test.histories, K, exclude_history=True)
        ranks = target_ranks(items, test.targets)
        figures[way] = {
            group: summarise(ranks[rows], (K,), K)
            for group, rows in {"new": is_new, "other": ~is_new, "all": is_new | True}.items()
        }
        figures[way]["share_of_lists"] = float((counts[items[items >= 0]] == 0).mean())
    return {"users": {"new": int(is_new.sum()), "other": int((~is_new).sum())}, "ways": figures}


def show(figures: dict[str, Any]) -> None:
    users = figures["users"]
    table = Table(
        title=f"{figures['config']}, seed {figures['seed']}: {figures['new_items']:,} new items, "
        f"the test items of {users['new']:,} users; {users['other']:,} others",
        title_justify="left",
    )
    table.add_column(f"filtered, @{K}")
    for group in ("new", "other", "all"):
        table.add_column(f"Recall, {group}", justify="right")
        table.add_column(f"NDCG, {group}", justify="right")
    table.add_column("new in lists", justify="right")
    for way, entry in figures["ways"].items():
        cells = [
            f"{entry[group][f'{metric}@{K}']:.4f}"
            for group in ("new", "other", "all")
            for metric in ("recall", "ndcg")
        ]
        table.add_row(way, *cells, f"{entry['share_of_lists']:.1%}")
    Console(highlight=False).print(table)


if __name__ == "__main__":
    run_command(main)
