"""The benchmark tables: genrec's recipe, SASRec in the same harness, and what was published.

    python tools/reproduce_benchmarks.py beauty --markdown beauty.md

For each of the data set's configs (configs/beauty.yaml, configs/beauty-sasrec.yaml, ...) and every
seed, a run: Recall@10 and NDCG@10 of the test users over the full catalogue, unfiltered and
filtered. A model that has both is measured by its codes alone, by its dense head alone, and by
both. Runs that are done are not repeated; one that was interrupted goes on. For other data sets
name the configs: --configs a.yaml b.yaml.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

import genrec
from genrec.config import Config
from genrec.errors import UserError
from genrec.evaluation import evaluate
from genrec.evaluation.compare import difference, load_recommenders, verdict
from genrec.runs.items import load_items
from genrec.runs.model import load_recommender
from reproduce.measuring import K, measure_seeds, run_command
from reproduce.tables import baselines, table, write

RIVALS = ("", "-sasrec", "-sasrec-sampled")
BEAMS = (10, 20, 50, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", nargs="?", default="beauty", help="the configs' first name")
    parser.add_argument("--configs", type=Path, nargs="+", help="in place of the data set's")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other settings")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--markdown", type=Path, help="file for the table")
    parser.add_argument("--plots", type=Path, help="folder for plots (pip install matplotlib)")
    arguments = parser.parse_args()
    configs = arguments.configs or [
        path
        for rival in RIVALS
        if (path := Path("configs") / f"{arguments.data}{rival}.yaml").exists()
    ]
    if not configs:
        raise UserError(f"configs/{arguments.data}.yaml does not exist: name --configs")
    runs = {
        config.stem: measure_seeds(config, arguments.seeds, arguments.out, arguments.set)
        for config in configs
    }
    figures: dict[str, Any] = {"seeds": arguments.seeds, "runs": runs}
    text = table(arguments.data, runs, baselines(arguments.out, runs, arguments.seeds))
    folders = [arguments.out / f"{name}-{seed}" for name in runs for seed in arguments.seeds]
    figures["verdicts"] = verdicts(folders)
    text += "\n" + "\n".join(f"- {line}" for line in figures["verdicts"]) + "\n"
    print(text)
    if arguments.plots:
        first = genrec.load_config(configs[0], f"seed={arguments.seeds[0]}", *arguments.set)
        folder = arguments.out / f"{configs[0].stem}-{arguments.seeds[0]}"
        figures["beams"] = by_beam(first, folder)
        plot(arguments.plots, runs, arguments.out, arguments.seeds[0], figures["beams"])
    write(figures, text, arguments.json, arguments.markdown)


def verdicts(folders: list[Path]) -> list[str]:
    """The first recommender against every other, by a paired bootstrap over the users."""
    lines = []
    for protocol in ("unfiltered", "filtered"):
        first, *others = load_recommenders(folders, protocol)
        for other in others:
            for metric in (f"recall@{K}", f"ndcg@{K}"):
                gap = difference(other, first, metric)
                lines.append(f"{protocol}: {verdict(other, first, metric, gap)}")
    return lines


def by_beam(config: Config, folder: Path) -> list[dict[str, Any]]:
    """What the codes alone reach on the validation users, for beams of several widths."""
    items = load_items(folder)
    held_out = items.dataset.held_out("validation")
    users = np.arange(0, len(held_out.targets), max(1, len(held_out.targets) // 5000))
    rows = []
    for beam in BEAMS:
        decoding = dataclasses.replace(config.decoding, beam=beam)
        wider = dataclasses.replace(config, decoding=decoding)
        recommend = load_recommender(wider, folder, items, progress_name=f"beam {beam}")
        measured = evaluate(
            recommend.ranked_by(0.0),
            held_out.histories.select(users),
            held_out.targets[users],
            k=beam,
            top_k=(K,),
            num_items=items.dataset.num_items,
        )
        rows.append({"beam": beam, **measured.to_json()})
    return rows


def plot(
    folder: Path, runs: dict[str, Any], out: Path, seed: int, beams: list[dict[str, Any]]
) -> None:
    """Writes quality_by_time.png and quality_by_beam.png, of validation users both."""
    try:
        import matplotlib
    except ImportError as error:
        raise UserError("plots need matplotlib: pip install 'genrec[plots]'") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name, seeds in runs.items():
        lines = (out / f"{name}-{seed}" / "metrics.jsonl").read_text().splitlines()
        records = [record for line in lines if "validation" in (record := json.loads(line))]
        minutes = seeds[0]["seconds"] / 60 / records[-1]["step"]
        axes.plot(
            [record["step"] * minutes for record in records],
            [record["validation"][f"ndcg@{K}"] for record in records],
            marker="o",
            label=name,
        )
    axes.set(xlabel="minutes of training (by its share of the steps)", ylabel=f"NDCG@{K}, filtered")
    axes.set_title("validation users, as training measures them", fontsize=10)
    axes.legend()
    figure.savefig(folder / "quality_by_time.png", dpi=150)
    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for protocol in ("filtered", "unfiltered"):
        axes.plot(
            [entry["beam"] for entry in beams],
            [entry[protocol][f"ndcg@{K}"] for entry in beams],
            marker="o",
            label=protocol,
        )
    # From zero, or chance would look like an effect.
    axes.set(xlabel="beam width", ylabel=f"NDCG@{K}", xscale="log", ylim=(0, None))
    axes.set_xticks(BEAMS, [str(beam) for beam in BEAMS])
    axes.set_title("validation users, by the codes alone", fontsize=10)
    axes.legend()
    figure.savefig(folder / "quality_by_beam.png", dpi=150)


if __name__ == "__main__":
    run_command(main)
