"""Decoding speed: users per second and latency of beam search over the items, taking turns.

    pip install -e '.[bench]'          # torch and transformers beside genrec
    python tools/bench_decoding.py --json decoding.json

Part "recommend", with Beauty's catalogue and histories of 20 items:

- TIGER in PyTorch: Hugging Face's T5ForConditionalGeneration, `generate` with a prefix function,
  with the attention that is faster here, large batches split for the memory they take;
- TIGER in genrec: the same weights by `genrec.decoding.Recommender`, host work included. Before
  anything is timed, both must give the same items with the same scores;
- genrec's recipe: the model of configs/beauty.yaml, likewise.

The weights are random, so the lists mean nothing; the time does not depend on them. Each side has
a process of its own with all cores; they work in turns, for several rounds.

Part "constraint": a model's beam search over the items against its beam search over any codes,
after histories that are encoded already, for Beauty's items and for 10 million random ones.

Part "search": the same without a model, under random logits, beside STATIC (arXiv 2602.22647, see
bench/static_paper.py). Here the ways to search are called in turns within one process.

Printed are medians of the rounds, lowest and highest; ratios are taken within each round, and once
more between the best rounds, which work by other programs disturbs least. Let the machine be idle.
About 12 minutes on 2 cores. It ends with status 1 if the lists of both TIGERs differ.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bench.decoding_report import (
    compare_lists,
    print_check,
    print_recommend,
    print_search,
    recommend_figures,
    search_figures,
)
from bench.decoding_work import DecodingTask, flops_of_user, outline, random_weights, t5_weights
from bench.machine import machine
from bench.turns import Side, add_turn_flags, undisturbed
from genrec.config import Config
from genrec.config.parsing import dump_config, load_config
from genrec.data import load_dataset
from genrec.errors import UserError
from genrec.export.t5 import t5_settings
from genrec.pipeline import run_stage
from genrec.semantic_ids.collisions import disambiguate
from genrec.semantic_ids.parquet import load_semantic_ids
from genrec.sequences.histories import Histories
from genrec.storage.files import write_json

SCRIPTS = {
    "transformers": "torch_decoding",
    "tiger": "genrec_decoding",
    "genrec": "genrec_decoding",
    "search": "search",
    "torch-matmul": "torch_training",
    "jax-matmul": "genrec_training",
}
PARTS = ("recommend", "constraint", "search")
ITEMS, USERS = 12_101, 1_000
SEED = 0


def main() -> None:
    arguments = parse_arguments()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    figures: dict[str, Any] = {"machine": machine("cpu"), "settings": vars_of(arguments)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            task, figures["task"] = read_task(arguments, folder)
            configs = write_configs(arguments, folder)
        except UserError as error:
            console.print(f"error: {error}", style="red", soft_wrap=True)
            sys.exit(2)
        task.save(folder / "task.npz")
        facts = "{items:,} items, codes {codes}; {users:,} users with {history} items: {source}"
        console.print(facts.format(**figures["task"]), soft_wrap=True)
        agree = True
        if "recommend" in arguments.parts:
            part = recommend(arguments, task, configs, folder, console)
            figures |= part
            agree = all(row["agree"] for row in part["check"])
        if agree and {"constraint", "search"} & set(arguments.parts):
            figures |= search(arguments, task, folder, console)
    if arguments.json:
        write_json(arguments.json, figures)
    if not agree:
        sys.exit(1)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("configs/beauty.yaml"))
    parser.add_argument(
        "--tiger", type=Path, default=Path("configs/beauty-tiger.yaml"), help="TIGER's sizes"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--data",
        type=Path,
        default=Path("../shared/data/beauty"),
        help="folder with Beauty; without it, codes and histories are random",
    )
    source.add_argument("--run", type=Path, help="a run, for its histories and semantic IDs")
    add_turn_flags(parser, seconds=2.0, of="of a turn, or one call")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--beams", type=int, nargs="+", default=[10, 20, 50])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 256])
    parser.add_argument(
        "--slow-rounds",
        type=int,
        default=1,
        help="rounds in which Hugging Face has its turn with batches above 64",
    )
    parser.add_argument("--check-users", type=int, default=64)
    parser.add_argument("--search-batch", type=int, default=32, help="of the two other parts")
    parser.add_argument("--search-beam", type=int, default=50)
    parser.add_argument(
        "--items", type=int, nargs="+", default=[1_000_000, 10_000_000], help="random ones"
    )
    return parser.parse_args()


def read_task(arguments: argparse.Namespace, folder: Path) -> tuple[DecodingTask, dict[str, Any]]:
    """Real codes and histories where there are any, and where they come from."""
    history, source = load_config(arguments.tiger).model.max_history, str(arguments.run)
    run = arguments.run
    if run is None and arguments.data.exists():
        run, source = folder / "run", str(arguments.data)
        tokenize(arguments, run)
    if run is None:
        source = "random"
        generator = np.random.default_rng(SEED)
        sizes = load_config(arguments.tiger).tokenizer.codebook_sizes
        ids = disambiguate(generator.integers(0, sizes, (ITEMS, len(sizes))), sizes)
        latest = generator.integers(0, ITEMS, (USERS, history)).astype(np.int32)
    else:
        ids = load_semantic_ids(run / "tokenizer" / "semantic_ids.parquet")
        latest = latest_items(load_dataset(run / "dataset").held_out("test").histories, history)
    facts = {
        "items": len(ids.codes),
        "codes": "x".join(map(str, ids.codebook_sizes)),
        "users": len(latest),
        "history": history,
        "source": source,
    }
    return DecodingTask(ids.codes, np.array(ids.codebook_sizes, np.int64), latest), facts


def tokenize(arguments: argparse.Namespace, folder: Path) -> None:
    """Prepares Beauty's data and makes its semantic IDs, as `genrec run` does."""
    data = arguments.data
    config = load_config(
        arguments.tiger,
        f"data.interactions={data / 'interactions.parquet'}",
        f"data.items={data / 'items.parquet'}",
        f"embedding.path={data / 'embeddings_all-MiniLM-L6-v2.npy'}",
    )
    for stage in ("prepare", "embed", "tokenize"):
        run_stage(stage, config, folder)


def latest_items(histories: Histories, count: int) -> np.ndarray:
    """int32 (U, count), the latest items of all who have that many."""
    stops = histories.stops[histories.lengths >= count]
    return histories.items[stops[:, None] + np.arange(-count, 0)].astype(np.int32)


def write_configs(arguments: argparse.Namespace, folder: Path) -> dict[str, Config]:
    """The models' settings, for all processes; TIGER goes without a user token."""
    tiger, config = load_config(arguments.tiger), load_config(arguments.config)
    tiger = dataclasses.replace(tiger, model=dataclasses.replace(tiger.model, user_tokens=0))
    configs = {"tiger": tiger, "genrec": config}
    for name, each in configs.items():
        (folder / f"{name}.yaml").write_text(dump_config(each), encoding="utf-8")
    return configs


def recommend(
    arguments: argparse.Namespace,
    task: DecodingTask,
    configs: dict[str, Config],
    folder: Path,
    console: Console,
) -> dict[str, Any]:
    """Checks the lists, then has all sides take turns; stops after the check if lists differ."""
    names, settings = sides(arguments, task, configs, folder, console)
    peaks = ["jax-matmul"] + (["torch-matmul"] if "transformers" in names else [])
    flops = {
        (name, beam): flops_of_user(
            configs["genrec" if name == "genrec" else "tiger"].model,
            task.histories.shape[1],
            beam,
            task.sizes,
        )
        for name in names
        for beam in arguments.beams
    }
    with contextlib.ExitStack() as stack:
        opened, ready = {}, {}
        for name in names:
            # One after the other, so that none disturbs another's choice or compiling.
            opened[name] = stack.enter_context(open_process(name, settings[name]))
            ready[name] = opened[name].prepared()
        check = check_lists(arguments, opened) if "transformers" in names else []
        print_check(check, console)
        if not all(row["agree"] for row in check):
            return {"check": check}
        for name in peaks:
            how = {"work": "matmul", "device": "cpu", "threads": machine("cpu")["cores"]}
            opened[name] = stack.enter_context(open_process(name, how))
            opened[name].prepared()
        rounds = []
        for number in range(arguments.rounds):
            rounds.append(one_round(number, arguments, names, peaks, opened, flops))
            console.print(f"round {number + 1} of {arguments.rounds}")
    rows = recommend_figures(names, arguments.beams, arguments.batches, rounds)
    print_recommend(rows, console)
    return {"prepared": ready, "check": check, "rounds": rounds, "recommend": rows}


def sides(
    arguments: argparse.Namespace,
    task: DecodingTask,
    configs: dict[str, Config],
    folder: Path,
    console: Console,
) -> tuple[list[str], dict[str, Any]]:
    """The sides that there are, and what each process is told."""
    names = ["tiger", "genrec"]
    missing = [name for name in ("torch", "transformers") if not importlib.util.find_spec(name)]
    if missing:
        reason = f"{' and '.join(missing)} not installed (pip install -e '.[bench]')"
        console.print(f"Hugging Face is not measured: {reason}", markup=False, soft_wrap=True)
    else:
        names = ["transformers", *names]
    shared = {
        "task": str(folder / "task.npz"),
        "beams": arguments.beams,
        "batches": arguments.batches,
    }
    settings = {}
    weights = {name: random_weights(outline(each, task), SEED) for name, each in configs.items()}
    for name in configs:
        np.savez(folder / f"{name}.npz", **weights[name])
        settings[name] = shared | {
            "weights": str(folder / f"{name}.npz"),
            "config": str(folder / f"{name}.yaml"),
            # Hugging Face can only normalise over the allowed tokens or over all levels' tokens.
            "normalise": "allowed" if name == "tiger" else "codes",
        }
    tiger = configs["tiger"].model
    np.savez(folder / "t5.npz", **t5_weights(weights["tiger"], tiger))
    settings["transformers"] = shared | {
        "weights": str(folder / "t5.npz"),
        "t5": t5_settings(tiger),
        "threads": machine("cpu")["cores"],
    }
    return names, settings


def open_process(name: str, settings: dict[str, Any]) -> Side:
    return Side(name, SCRIPTS[name], settings, {"JAX_PLATFORMS": "cpu"})


def check_lists(arguments: argparse.Namespace, opened: dict[str, Side]) -> list[dict[str, Any]]:
    """Whether both TIGERs give the same users the same lists, at every beam."""
    batch, rows = min(arguments.batches, key=lambda batch: abs(batch - 32)), []
    for beam in arguments.beams:
        request = {"beam": beam, "batch": batch, "users": arguments.check_users}
        mine, theirs = (opened[name].measure(request) for name in ("tiger", "transformers"))
        rows.append({"beam": beam} | compare_lists(mine, theirs))
    return rows


def one_round(
    number: int,
    arguments: argparse.Namespace,
    names: list[str],
    peaks: list[str],
    opened: dict[str, Side],
    flops: dict[tuple[str, int], int],
) -> dict[str, dict[str, Any]]:
    """Every side's turn at every beam and batch, by "side/beam/batch"; and matrix products."""
    order = names[number % len(names) :] + names[: number % len(names)]
    answers = {name: undisturbed(opened[name], 1.0, arguments.patience) for name in peaks}
    for beam in arguments.beams:
        for batch in arguments.batches:
            request = {"beam": beam, "batch": batch, "seconds": arguments.seconds}
            for name in order:
                if name == "transformers" and batch > 64 and number >= arguments.slow_rounds:
                    continue
                answer = undisturbed(opened[name], request, arguments.patience)
                answer["flops"] = answer["targets"] * flops[name, beam]
                answers[f"{name}/{beam}/{batch}"] = answer
    return answers


def search(
    arguments: argparse.Namespace, task: DecodingTask, folder: Path, console: Console
) -> dict[str, Any]:
    """The two parts that compare searches within one process."""
    own, large = len(task.codes), max(arguments.items)
    settings = {
        "task": str(folder / "task.npz"),
        "configs": {name: str(folder / f"{name}.yaml") for name in ("tiger", "genrec")},
        "batch": arguments.search_batch,
        "beam": arguments.search_beam,
        "constraint": [own, large] if "constraint" in arguments.parts else [],
        "search": [own, *arguments.items] if "search" in arguments.parts else [],
    }
    with open_process("search", settings) as side:
        ready = side.prepared()
        rounds = []
        for _ in range(arguments.rounds):
            requests = {
                name: {"case": name, "seconds": arguments.seconds} for name in ready["cases"]
            }
            rounds.append(
                {
                    name: undisturbed(side, request, arguments.patience)
                    for name, request in requests.items()
                }
            )
    rows = search_figures(ready["cases"], rounds)
    print_search(rows, ready["tries"], settings, console)
    return {"search_prepared": ready, "search_rounds": rounds, "search": rows}


def vars_of(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(arguments).items()
    }


if __name__ == "__main__":
    main()
