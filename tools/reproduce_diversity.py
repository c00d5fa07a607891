"""How diverse lists become with the temperature: the entropy of their categories, as TIGER has it.

    python tools/reproduce_diversity.py runs/beauty --json diversity.json

Each user's list is drawn at one temperature for all levels, by the codes alone; Entropy@K is the
entropy (natural logarithm) of the categories of its first K items, averaged over the test users
(Rajput et al. 2023, section 4.3, "Recommendation Diversity", which has an Entropy@10 of 0.76 at
T = 1 and 1.38 at T = 2 on Beauty, and does not say which level of the categories it takes).
Recall@10 on the test items, filtered, says what the diversity costs.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from genrec.data import Dataset
from genrec.errors import UserError
from genrec.evaluation import summarise, target_ranks
from genrec.runs.folder import config_of, require
from genrec.runs.items import load_items
from genrec.runs.model import load_recommender
from genrec.storage.files import write_json
from reproduce.measuring import run_command

TOP_K = (10, 20, 50)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a trained run")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[1.0, 1.5, 2.0])
    parser.add_argument("--column", default="categories", help="of the items: a path, or several")
    parser.add_argument("--depth", type=int, default=2, help="level of the path, from 1")
    parser.add_argument("--users", type=int, default=5000, help="drawn by the run's seed")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    figures = measure(arguments)
    show(figures)
    if arguments.json:
        write_json(arguments.json, figures)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """For the best items and for each temperature, entropies and recall."""
    folder, config = arguments.run, config_of(arguments.run)
    require(folder, config, "train")
    items = load_items(folder)
    dataset = items.dataset
    category, names = categories(dataset, arguments.column, arguments.depth)
    test = dataset.held_out("test")
    generator = np.random.default_rng(config.seed)
    count = min(arguments.users, len(test.targets))
    users = np.sort(generator.choice(len(test.targets), count, replace=False))
    histories, targets = test.histories.select(users), test.targets[users]
    recommend = load_recommender(config, folder, items, progress_name="draw").ranked_by(0.0)
    usual = dataclasses.replace(recommend.options, beam=max(TOP_K), unseen_share=0.0)
    rows = []
    for temperature in (None, *arguments.temperatures):
        temperatures = None if temperature is None else (temperature,)
        recommend.options = dataclasses.replace(usual, temperature=temperatures)
        items, _ = recommend(histories, max(TOP_K), exclude_history=True)
        recall = summarise(target_ranks(items, targets), (10,), max(TOP_K))["recall@10"]
        entropies = {f"entropy@{k}": entropy(category[items[:, :k]], len(names)) for k in TOP_K}
        rows.append({"temperature": temperature, **entropies, "recall@10": recall})
    return {
        "run": str(folder),
        "users": count,
        "column": arguments.column,
        "depth": arguments.depth,
        "categories": len(names),
        "rows": rows,
    }


def categories(dataset: Dataset, column: str, depth: int) -> tuple[np.ndarray, list[str]]:
    """int (N,): the category of each item at a depth of its first path; and their names."""
    if column not in dataset.items.column_names:
        there = ", ".join(dataset.items.column_names)
        raise UserError(f"the items have no column {column}; they have {there}")
    names_of_items = []
    for paths in dataset.items[column].to_pylist():
        path = paths if isinstance(paths, str) else next(iter(paths or []), "")
        names_of_items.append(" > ".join(path.split(" > ")[:depth]))
    names, category = np.unique(names_of_items, return_inverse=True)
    return category.reshape(-1), names.tolist()


def entropy(category: np.ndarray, count: int) -> float:
    """The mean over users of the entropy of the categories int (U, K) in their lists."""
    users, size = category.shape
    flat = np.arange(users)[:, None] * count + category
    share = np.bincount(flat.reshape(-1), minlength=users * count).reshape(users, count) / size
    terms = np.where(share > 0, share * np.log(np.where(share > 0, share, 1.0)), 0.0)
    return float(-terms.sum(axis=1).mean())


def show(figures: dict[str, Any]) -> None:
    table = Table(
        title=f"{figures['run']}: {figures['users']:,} test users, {figures['categories']} "
        f"categories ({figures['column']}, level {figures['depth']})",
        title_justify="left",
    )
    table.add_column("temperature")
    for k in TOP_K:
        table.add_column(f"Entropy@{k}", justify="right")
    table.add_column("Recall@10, filtered", justify="right")
    for row in figures["rows"]:
        name = "none: the best" if row["temperature"] is None else f"{row['temperature']:g}"
        cells = [f"{row[f'entropy@{k}']:.2f}" for k in TOP_K]
        table.add_row(name, *cells, f"{row['recall@10']:.4f}")
    Console(highlight=False).print(table)


if __name__ == "__main__":
    run_command(main)
