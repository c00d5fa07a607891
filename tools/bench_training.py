"""Training speed against PyTorch: next items trained per second, on the same data, taking turns.

    pip install -e '.[bench]'          # torch and transformers beside genrec
    python tools/bench_training.py --json training.json

Five sides train next-item prediction on the training sequences of configs/beauty.yaml:

- TIGER in PyTorch, padded: Hugging Face's T5ForConditionalGeneration of the paper's size on windows
  (every prefix of a history is a row of 81 tokens), as the open re-implementations train it, with
  the batch and the attention that are fastest here;
- TIGER in PyTorch, grouped: the same with windows grouped by length and padded to their batch's
  longest;
- TIGER in genrec, padded: the same model, dropout and windows by genrec's code;
- TIGER in genrec, real lengths: windows in genrec's own length buckets;
- genrec's recipe: the config's model, which trains every prefix of a history in one pass.

Each side has a process of its own with all cores; they work in turns, for several rounds. Printed
for each: targets per second (median of the rounds, lowest, highest), FLOP/s of the matrix products
(counted from shapes, padding included) and their share of the fastest large float32 product that
either framework did in the same round, token slots that held a token, peak memory of the process,
and compile time. Ratios are taken within each round, and once more between the best rounds, which
work by other programs disturbs least: PyTorch suffers most from it, so let the machine be idle.

The semantic IDs are random, unless --run names a run with a tokenizer, and users are hashed at
random: the speed depends on neither. Without torch, genrec's sides are measured alone. About
20 minutes on 2 cores, and 12 GB of memory: all processes stay until the end.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bench.machine import machine
from bench.training_report import print_report, ratios, speed, summary
from bench.training_work import TrainingLog
from bench.turns import Side, add_turn_flags, undisturbed
from genrec.config import Config
from genrec.config.parsing import dump_config, load_config
from genrec.data import load_dataset
from genrec.errors import UserError
from genrec.export.t5 import t5_sizes
from genrec.pipeline import run_stage
from genrec.semantic_ids.parquet import load_semantic_ids
from genrec.storage.files import write_json

TORCH, GENREC = "torch_training", "genrec_training"
LEVELS, CODEBOOK_SIZE = 4, 256
SIDES = {
    "torch-padded": "TIGER, PyTorch, padded",
    "torch-grouped": "TIGER, PyTorch, grouped",
    "tiger-padded": "TIGER, genrec, padded",
    "tiger-lengths": "TIGER, genrec, real lengths",
    "genrec": "genrec's recipe",
}
AIMS = (
    ("genrec", "torch-padded", 100.0),
    ("tiger-padded", "torch-padded", 2.0),
    ("tiger-lengths", "torch-padded", 4.0),
    ("tiger-lengths", "torch-grouped", None),
    ("genrec", "tiger-lengths", None),
)
"""A side, the one it is compared with, and how many times faster it should be."""


def main() -> None:
    arguments = parse_arguments()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    names = list(arguments.sides)
    missing = [name for name in ("torch", "transformers") if not importlib.util.find_spec(name)]
    if missing and any(name.startswith("torch") for name in names):
        reason = f"{' and '.join(missing)} not installed (pip install -e '.[bench]')"
        console.print(f"PyTorch is not measured: {reason}", markup=False, soft_wrap=True)
        names = [name for name in names if not name.startswith("torch")]
    if not names:
        sys.exit(1)
    with tempfile.TemporaryDirectory() as folder:
        try:
            config = load_config(
                arguments.run / "config.yaml" if arguments.run else arguments.config
            )
            tiger = load_config(arguments.tiger)
            log = read_log(config, arguments.run, Path(folder))
        except UserError as error:
            console.print(f"error: {error}", style="red", soft_wrap=True)
            sys.exit(2)
        log.save(Path(folder) / "log.npz")
        settings = settings_of_sides(config, tiger, arguments, Path(folder))
        speeds = []
        if any(name.startswith("torch") for name in names):
            speeds = tune(settings["torch-tune"], arguments, console)
            fastest = max(speeds, key=lambda row: row["targets_per_second"])
            chosen = {key: fastest[key] for key in ("attention", "batch")}
            for name in ("torch-padded", "torch-grouped"):
                settings[name] |= chosen
        ready, rounds = take_turns(names, settings, arguments, not missing, console)
    figures = {
        "machine": machine(arguments.device),
        "data": {"users": len(log.lengths), "items": len(log.codes), "targets": targets(log)},
        "settings": {name: settings[name] for name in names} | {"recipe": vars_of(config)},
        "pytorch_choices": speeds,
        "prepared": ready,
        "rounds": rounds,
        "sides": {name: summary(name, ready[name], rounds) for name in names},
        "ratios": ratios(AIMS, rounds),
    }
    print_report(figures, SIDES, console)
    if arguments.json:
        write_json(arguments.json, figures)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--config", type=Path, default=Path("configs/beauty.yaml"))
    source.add_argument(
        "--run", type=Path, help="a run, for its dataset, semantic IDs and settings"
    )
    parser.add_argument(
        "--tiger", type=Path, default=Path("configs/beauty-tiger.yaml"), help="TIGER's sizes"
    )
    add_turn_flags(parser, seconds=20.0, of="of a side's turn")
    parser.add_argument("--dropout", type=float, default=0.1, help="of TIGER's sides")
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[64, 128, 256], help="for PyTorch"
    )
    parser.add_argument("--torch-compile", action="store_true", help="use torch.compile")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    return parser.parse_args()


def read_log(config: Config, run: Path | None, folder: Path) -> TrainingLog:
    """The training sequences of a run, or of a config's data; random codes where there are none."""
    if run is None:
        run_stage("prepare", config, folder / "run")
    dataset = load_dataset((run or folder / "run") / "dataset")
    histories = dataset.training()
    histories = histories.select(np.flatnonzero(histories.lengths >= 2))
    generator = np.random.default_rng(0)
    number = generator.choice(CODEBOOK_SIZE**LEVELS, dataset.num_items, replace=False)
    sizes = (CODEBOOK_SIZE,) * LEVELS
    codes = np.stack(np.unravel_index(number, sizes), axis=1).astype(np.int32)
    if run is not None:
        ids = load_semantic_ids(run / "tokenizer" / "semantic_ids.parquet")
        codes, sizes = ids.codes, ids.codebook_sizes
    runs = list(zip(histories.starts, histories.stops, strict=True))
    times = histories.timestamps
    assert times is not None
    return TrainingLog(
        items=np.concatenate([histories.items[start:stop] for start, stop in runs]),
        timestamps=np.concatenate([times[start:stop] for start, stop in runs]),
        lengths=histories.lengths,
        users=generator.integers(0, 2**32, len(histories), dtype=np.uint32),
        codes=codes,
        codebook_sizes=np.array(sizes, np.int64),
    )


def settings_of_sides(
    config: Config, tiger: Config, arguments: argparse.Namespace, folder: Path
) -> dict[str, dict[str, Any]]:
    """What each process is told."""
    dropout = {"dropout": arguments.dropout, "attention_dropout": arguments.dropout}
    tiger = dataclasses.replace(tiger, model=dataclasses.replace(tiger.model, **dropout))
    for name, each in {"tiger": tiger, "genrec": config}.items():
        (folder / f"{name}.yaml").write_text(dump_config(each), encoding="utf-8")
    shared = {"device": arguments.device, "log": str(folder / "log.npz")}
    torch = shared | {
        "threads": os.cpu_count(),
        "size": t5_sizes(tiger.model),
        "user_tokens": tiger.model.user_tokens,
        "max_history": tiger.model.max_history,
        "learning_rate": tiger.training.learning_rate,
        "weight_decay": tiger.training.weight_decay,
        "dropout": arguments.dropout,
        "compile": arguments.torch_compile,
    }
    here = shared | {"work": "train", "config": str(folder / "tiger.yaml")}
    choices = {"attentions": ["eager", "sdpa"], "batches": arguments.batches}
    return {
        "torch-tune": torch | {"work": "tune"} | choices,
        "torch-padded": torch | {"work": "train", "padded": True},
        "torch-grouped": torch | {"work": "train", "padded": False},
        "tiger-padded": here | {"padded": True},
        "tiger-lengths": here | {"padded": False},
        "genrec": here | {"padded": False, "config": str(folder / "genrec.yaml")},
        "torch-matmul": torch | {"work": "matmul"},
        "jax-matmul": shared | {"work": "matmul"},
    }


def open_side(name: str, settings: dict[str, Any]) -> Side:
    script = TORCH if name.startswith("torch") else GENREC
    platforms = {"JAX_PLATFORMS": "cpu"} if settings["device"] == "cpu" else {}
    return Side(SIDES.get(name, name), script, settings, platforms)


def tune(
    settings: dict[str, Any], arguments: argparse.Namespace, console: Console
) -> list[dict[str, Any]]:
    """Targets per second of PyTorch with every batch and attention; the best of three turns."""
    with open_side("torch-tune", settings) as side:
        side.prepared()
        turns = (undisturbed(side, arguments.seconds / 4, arguments.patience) for _ in range(3))
        speeds_of_turns = [turn["speeds"] for turn in turns]
    best = [
        max(turns, key=lambda row: row["targets_per_second"])
        for turns in zip(*speeds_of_turns, strict=True)
    ]
    for row in best:
        console.print(
            "PyTorch, {attention}, batch {batch}: {targets_per_second:.1f}/s".format(**row)
        )
    return best


def take_turns(
    names: list[str],
    settings: dict[str, dict[str, Any]],
    arguments: argparse.Namespace,
    with_torch: bool,
    console: Console,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What each side says of its preparation; and its measurements, round by round."""
    peaks = ["jax-matmul"] + (["torch-matmul"] if with_torch else [])
    with contextlib.ExitStack() as stack:
        sides, ready = {}, {}
        for name in names + peaks:
            # One after the other, so that none disturbs another's timing of its compiling.
            sides[name] = stack.enter_context(open_side(name, settings[name]))
            ready[name] = sides[name].prepared()
        rounds = []
        for number in range(arguments.rounds):
            order = names[number % len(names) :] + names[: number % len(names)]
            answers = {name: undisturbed(sides[name], 2.0, arguments.patience) for name in peaks}
            for name in order:
                answers[name] = undisturbed(sides[name], arguments.seconds, arguments.patience)
            rounds.append(answers)
            speeds = (f"{name} {speed(answers[name]):,.0f}/s" for name in names)
            console.print(f"round {number + 1}: {', '.join(speeds)}", soft_wrap=True)
    return ready, rounds


def targets(log: TrainingLog) -> int:
    return int((log.lengths - 1).sum())


def vars_of(config: Config) -> dict[str, Any]:
    return {
        "model": dataclasses.asdict(config.model),
        "training": dataclasses.asdict(config.training),
    }


if __name__ == "__main__":
    main()
