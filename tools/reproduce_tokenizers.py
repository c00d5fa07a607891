"""What a tokenizer is worth: the same recommender on the codes of each kind.

    python tools/reproduce_tokenizers.py --config configs/beauty.yaml --out runs/tokenizers

For every kind of tokenizer and every seed, a run of the config with no other difference. On the
validation and the test users: Recall@10 and NDCG@10 by the codes alone, which is what the codes are
for, and as the config recommends. Runs that are done are not repeated; a run that was interrupted
goes on.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.table import Table

import genrec
from genrec import assembly
from genrec.config import Config
from genrec.errors import UserError
from genrec.evaluation import evaluate
from genrec.files import read_json, write_json

K = 10
KINDS = ("rqvae", "rqkmeans", "rvq", "opq")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", type=Path, default=Path("configs/beauty.yaml"))
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other settings")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/tokenizers"))
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in arguments.seeds:
        for kind in arguments.kinds:
            settings = [f"tokenizer.kind={kind}", f"seed={seed}", *arguments.set]
            config = genrec.load_config(arguments.config, *settings)
            figures = measure(config, arguments.out / f"{kind}-{seed}")
            found.setdefault(kind, []).append({"seed": seed, **figures})
    show(arguments.config, found)
    if arguments.json:
        write_json(arguments.json, {"config": str(arguments.config), "kinds": found})


def measure(config: Config, folder: Path) -> dict[str, Any]:
    """Trains a run and measures it, unless that was done already."""
    done = [genrec.run_stage(s, config, folder) for s in ("prepare", "embed", "tokenize", "train")]
    path = folder.with_suffix(".json")
    if path.exists() and all(outcome.skipped for outcome in done):
        return read_json(path)
    items = assembly.items_of(folder)
    health = read_json(folder / "tokenizer" / "health.json")
    figures: dict[str, Any] = {
        "distinct_share": health["distinct_share"],
        "relative_error": health["relative_error"],
    }
    for way, share in {"codes": 0.0, "config": config.decoding.dense_share}.items():
        decoding = dataclasses.replace(config.decoding, dense_share=share)
        settings = dataclasses.replace(config, decoding=decoding)
        recommend = assembly.best_recommender(settings, folder, items, progress_name=way)
        splits: tuple[Literal["validation", "test"], ...] = ("validation", "test")
        for split in splits:
            held_out = items.dataset.held_out(split)
            measured = evaluate(
                recommend,
                held_out.histories,
                held_out.targets,
                k=config.decoding.beam,
                top_k=(K,),
                num_items=items.dataset.num_items,
            )
            figures.setdefault(split, {})[way] = measured.to_json()
    write_json(path, figures)
    return figures


def show(config: Path, found: dict[str, list[dict[str, Any]]]) -> None:
    table = Table(title=f"{config}: mean ± standard deviation over the seeds", title_justify="left")
    for name in ("users", "ranked by", "tokenizer"):
        table.add_column(name)
    table.add_column("seeds", justify="right")
    columns = [(p, f"{m}@{K}") for p in ("unfiltered", "filtered") for m in ("recall", "ndcg")]
    for protocol, metric in columns:
        table.add_column(f"{protocol} {metric}", justify="right")
    for split in ("validation", "test"):
        for way in ("codes", "config"):
            for kind, runs in found.items():
                values = [[run[split][way][p][m] for run in runs] for p, m in columns]
                table.add_row(split, way, kind, str(len(runs)), *map(_spread, values))
            table.add_section()
    Console(highlight=False).print(table)
    for kind, runs in found.items():
        distinct = _spread([run["distinct_share"] for run in runs])
        error = _spread([run["relative_error"] for run in runs])
        print(f"{kind}: distinct tuples {distinct} of the items, relative error {error}")


def _spread(values: list[float]) -> str:
    mean = f"{np.mean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.4f}"


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"reproduce_tokenizers: {error}") from error
