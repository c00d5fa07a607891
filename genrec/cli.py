"""The commands: parse, call, print; no logic."""

import difflib
import importlib.metadata
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from genrec.config import Config
from genrec.errors import UserError
from genrec.files import read_json
from genrec.settings import file_arguments, parse

if TYPE_CHECKING:
    from genrec.recommend import Example

_DESCRIPTION = """A generative sequential recommender: raw log in, item ids with scores out.

Start with `genrec run configs/quickstart.yaml`. Every stage is also a command of its own; each
takes a config, or the folder of a run that was made from one.
"""


@dataclass(frozen=True)
class OfRun:
    """What every command that makes a part of a run is told."""

    target: tyro.conf.Positional[Path]
    """A config (YAML), or the folder of a run that was made from one."""
    out: Path | None = None
    """Folder of the run; without it, runs/ and the config's name."""
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


class Run(OfRun):
    """All stages in order, then what came of it; stages that are done are skipped."""


class Prepare(OfRun):
    """Stage 1: read interactions and items; clean, order and number them."""


class Embed(OfRun):
    """Stage 2: turn each item's text into a vector."""


class Tokenize(OfRun):
    """Stage 3: turn each item's vector into a semantic ID, by an RQ-VAE."""


@dataclass(frozen=True)
class Train(OfRun):
    """Stage 4: train the encoder-decoder; goes on where it was interrupted."""

    distributed: bool = False
    """This is one of several processes that train together, each with devices of its own: found by
    SLURM, GKE, TPU pods and Open MPI, or by the environment variables JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID. All of them must see the run's folder."""


class Evaluate(OfRun):
    """Stage 5: measure it on the held-out items, beside two baselines."""


@dataclass(frozen=True)
class Recommend:
    """Recommend items to go on with, after given histories or for a few users of the log."""

    run: tyro.conf.Positional[Path]
    """Folder of a trained run."""
    history: tuple[str, ...] = ()
    """Item ids or titles, oldest first."""
    histories: Path | None = None
    """File of histories, JSON lines or Parquet: user_id; items, a list of ids or titles; and, if
    known, timestamps, a list of seconds since 1970."""
    k: int = 10
    """Number of items to recommend."""
    include_history: bool = False
    """Recommend items of the history again."""
    unconstrained: bool = False
    """Search all codes, also those that no item has; the nearest item stands in for them."""
    out: Path | None = None
    """Parquet file for the result: user_id, item_id (list), score (list)."""


_COMMANDS = {
    "run": Run,
    "prepare": Prepare,
    "embed": Embed,
    "tokenize": Tokenize,
    "train": Train,
    "evaluate": Evaluate,
    "recommend": Recommend,
}


def main() -> None:
    """The `genrec` command. Exit status: 0 done, 2 a mistake that the user can mend, 130 Ctrl-C."""
    try:
        _dispatch(sys.argv[1:])
    except UserError as error:
        print(f"genrec: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as interruption:
        where = f", and {interruption}" if str(interruption) else ""
        print(f"genrec: interrupted{where}; the same command goes on from there", file=sys.stderr)
        sys.exit(130)


def _dispatch(arguments: list[str]) -> None:
    # Orbax warns of how it merges files, and logs pages about a failure that it also raises.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if name in ("--help", "-h"):
        tyro.extras.subcommand_cli_from_dict(
            _COMMANDS, args=["--help"], prog="genrec", description=_DESCRIPTION
        )
    elif name == "--version":
        print(importlib.metadata.version("genrec"))
    elif name == "recommend":
        _recommend(parse(Recommend, rest, name))
    elif name in _COMMANDS:
        _run(name, rest)
    else:
        near = difflib.get_close_matches(name, _COMMANDS, n=1, cutoff=0.0)[0]
        raise UserError(f"unknown command {name}; the nearest is {near}; see genrec --help")


def _run(name: str, arguments: list[str]) -> None:
    """`run`, or one stage of it."""
    given = parse(_COMMANDS[name], arguments, name)
    file, folder = _places(given.target, given.out)
    # The target goes first, lest the last list of the file swallows it; flags go last and win.
    flags = arguments.copy()
    flags.remove(str(given.target))
    whole = [str(given.target), *file_arguments(file), *flags]
    config = parse(_COMMANDS[name], whole, name).config

    # These take seconds, which help and a mistyped setting should not.
    from genrec import pipeline
    from genrec.evaluation import results_table
    from genrec.recommend import examples
    from genrec.tokenizer import health_table

    leads = True
    if isinstance(given, Train) and given.distributed:
        from genrec.training.cluster import join_cluster

        leads = join_cluster()
    console = Console(highlight=False, quiet=not leads)
    if leads:
        pipeline.open_run(config, folder)
    for stage in pipeline.STAGES if name == "run" else [name]:
        outcome = pipeline.run_stage(stage, config, folder, leads=leads)
        took = "done before" if outcome.skipped else f"{outcome.seconds:.1f} s"
        console.print(f"[bold]{stage:<9}[/] {outcome.summary} [dim]({took})[/]", soft_wrap=True)
    if name == "tokenize":
        console.print(health_table(read_json(folder / "tokenizer" / "health.json")))
    if name in ("run", "evaluate"):
        console.print(results_table(read_json(folder / "metrics.json"), "test"))
    if name == "run":
        _print_examples(console, examples(folder))
        console.print(f"Everything is in {folder}: {', '.join(pipeline.files(folder))}")


def _places(target: Path, out: Path | None) -> tuple[Path, Path]:
    """The YAML file to read and the folder of the run."""
    if not target.is_dir():
        return target, out or Path("runs") / target.stem
    if out is not None and out != target:
        raise UserError(f"{target} is a run already: leave out --out, or name its config")
    return target / "config.yaml", target


def _recommend(command: Recommend) -> None:
    if command.history and command.histories:
        raise UserError("give either --history or --histories, not both")

    from genrec.decoding import write_lists
    from genrec.recommend import examples, load_run, read_histories

    console = Console(highlight=False)
    if not command.history and not command.histories:
        _print_examples(console, examples(command.run, k=command.k))
        return
    run = load_run(command.run)
    users, histories = [""], [list(command.history)]
    options = {"k": command.k, "exclude_history": not command.include_history}
    if command.histories:
        given = read_histories(command.histories)
        users, histories = given.user_ids, given.histories
        options |= {"user_ids": users, "timestamps": given.timestamps}
    if command.unconstrained:
        ids, scores, invalid = run.recommend_freely(histories, **options)
        console.print(f"{invalid:.1%} of the codes found are no item's")
    else:
        ids, scores = run.recommend(histories, **options)
    if command.out:
        write_lists(command.out, users, ids, scores)
        console.print(f"{len(users):,} lists are in {command.out}")
        return
    titles = run.titles()
    for user, items, points in zip(users, ids, scores, strict=True):
        if user:
            console.print(f"[bold]{user}[/]")
        console.print(_list_table([titles[item] for item in items], items, points))


def _print_examples(console: Console, examples: "Sequence[Example]") -> None:
    for example in examples:
        console.print(f"[bold]User {example.user_id}[/] last had", soft_wrap=True)
        for title in example.recent:
            console.print(f"  {title}", soft_wrap=True, markup=False)
        console.print("then, held out", soft_wrap=True)
        console.print(f"  {example.target}", soft_wrap=True, markup=False)
        console.print("and is recommended")
        console.print(_list_table(example.titles, example.item_ids, example.scores))


def _list_table(titles: Sequence[str], item_ids: Sequence[str], scores: Sequence[float]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", justify="right")
    table.add_column("title", overflow="fold")
    table.add_column("item id", overflow="fold")
    table.add_column("score", justify="right")
    for place, (title, item_id, score) in enumerate(zip(titles, item_ids, scores, strict=True), 1):
        table.add_row(str(place), title, item_id, f"{score:.3f}")
    return table
