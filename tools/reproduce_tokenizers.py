"""What a tokenizer is worth: the same recommender on the codes of each kind.

    python tools/reproduce_tokenizers.py --config configs/beauty.yaml --out runs/tokenizers

For every kind of tokenizer and every seed, a run of the config with no other difference. On the
validation and the test users: Recall@10 and NDCG@10 by the codes alone, which is what the codes are
for, and as the config recommends. Runs that are done are not repeated; a run that was interrupted
goes on.
"""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import genrec
from genrec.storage.files import write_json
from reproduce.measuring import K, measure, run_command, spread

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
    figures_by_kind: dict[str, list[dict[str, Any]]] = {}
    for seed in arguments.seeds:
        for kind in arguments.kinds:
            settings = [f"tokenizer.kind={kind}", f"seed={seed}", *arguments.set]
            config = genrec.load_config(arguments.config, *settings)
            figures = measure(config, arguments.out / f"{kind}-{seed}")
            figures_by_kind.setdefault(kind, []).append({"seed": seed, **figures})
    show(arguments.config, figures_by_kind)
    if arguments.json:
        write_json(arguments.json, {"config": str(arguments.config), "kinds": figures_by_kind})


def show(config: Path, figures_by_kind: dict[str, list[dict[str, Any]]]) -> None:
    table = Table(title=f"{config}: mean ± standard deviation over the seeds", title_justify="left")
    for name in ("users", "ranked by", "tokenizer"):
        table.add_column(name)
    table.add_column("seeds", justify="right")
    columns = [(p, f"{m}@{K}") for p in ("unfiltered", "filtered") for m in ("recall", "ndcg")]
    for protocol, metric in columns:
        table.add_column(f"{protocol} {metric}", justify="right")
    for split in ("validation", "test"):
        for way in next(iter(figures_by_kind.values()))[0][split]:
            for kind, runs in figures_by_kind.items():
                values = [[run[split][way][p][m] for run in runs] for p, m in columns]
                table.add_row(split, way, kind, str(len(runs)), *map(spread, values))
            table.add_section()
    Console(highlight=False, width=140).print(table)
    for kind, runs in figures_by_kind.items():
        distinct = spread([run["distinct_share"] for run in runs])
        error = spread([run["relative_error"] for run in runs])
        print(f"{kind}: distinct tuples {distinct} of the items, relative error {error}")


if __name__ == "__main__":
    run_command(main)
