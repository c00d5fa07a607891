"""The commands: parse, call, print; no logic."""

import contextlib
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
from rich.markup import escape
from rich.table import Table

from genrec.config import Config, DecodingConfig
from genrec.errors import UserError
from genrec.files import read_json, write_json
from genrec.progress import progress
from genrec.settings import file_arguments, parse

if TYPE_CHECKING:
    from genrec.examples import Example
    from genrec.tokenizer import Branch

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


@dataclass(frozen=True)
class Tokenize(OfRun):
    """Stage 3: turn each item's vector into a semantic ID; or, in a run that has them, show them
    (--show), and let items come (--append) and go (--remove) without changing one."""

    show: bool = False
    """Print the branches of the tree of semantic IDs, with their words and examples."""
    prefix: str | None = None
    """show: codes to begin with, such as 12,7."""
    top: int = 20
    """show: the largest branches, so many."""
    append: Path | None = None
    """File of new items, with the columns that the run's items have; they get codes, and are
    recommended from now on. Items that are there already stay as they are."""
    vectors: Path | None = None
    """append: .npy file of their vectors, where those of the run came from a file too."""
    remove: tuple[str, ...] = ()
    """Ids or titles of items that are recommended no more; --append brings them back."""


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
    """Recommend items to go on with: after a history, for a file of them, or for all users."""

    run: tyro.conf.Positional[Path]
    """Folder of a trained run."""
    history: tuple[str, ...] | None = None
    """Item ids or titles, oldest first; none of them for somebody of whom nothing is known."""
    histories: Path | None = None
    """File of histories, JSON lines or Parquet: user_id; items, a list of ids or titles; and, if
    wanted, timestamps, a list of seconds since 1970; block and allow, lists of items for this
    user alone."""
    all: bool = False
    """Recommend to every user of the log, after all that they had."""
    k: int = 10
    """Number of items to recommend."""
    include_history: bool = False
    """Recommend items of the history again."""
    block: Path | None = None
    """File of items that nobody may get: an id or title on each line, or Parquet with item_id."""
    allow: Path | None = None
    """File of the only items that anybody may get."""
    unconstrained: bool = False
    """Search all codes, also those that no item has, and rank by them alone; the nearest item
    stands in for codes that no item has."""
    codes: bool = False
    """Give the items' codes too."""
    out: Path | None = None
    """Parquet file for the result: user_id, item_id (list), score (list) and, if asked for, codes
    (list of lists)."""
    decoding: DecodingConfig = field(default_factory=DecodingConfig)


@dataclass(frozen=True)
class Compare:
    """Compare evaluated runs on their test users: over seeds, and with the first one."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs; those that differ in their seed only count as one recommender."""
    unfiltered: bool = False
    """Compare the lists that may hold items of the history."""
    json: Path | None = None
    """File for the figures."""
    plot: Path | None = None
    """Image file to draw (.svg, .png, .pdf); needs matplotlib."""


_AT_ONCE = 8192
"""Requests of a file that are read, answered and written together."""

_COMMANDS = {
    "run": Run,
    "prepare": Prepare,
    "embed": Embed,
    "tokenize": Tokenize,
    "train": Train,
    "evaluate": Evaluate,
    "recommend": Recommend,
    "compare": Compare,
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
    says = logging.StreamHandler()
    says.setFormatter(logging.Formatter("genrec: %(message)s"))
    logger = logging.getLogger("genrec")
    logger.addHandler(says)
    logger.propagate = False  # or what other libraries give the root logger says it again
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if name in ("--help", "-h"):
        tyro.extras.subcommand_cli_from_dict(
            _COMMANDS, args=["--help"], prog="genrec", description=_DESCRIPTION
        )
    elif name == "--version":
        print(importlib.metadata.version("genrec"))
    elif name == "recommend":
        _recommend(rest)
    elif name == "compare":
        _compare(parse(Compare, rest, name))
    elif name == "tokenize" and _changes_or_shows(given := parse(Tokenize, rest, name)):
        _upkeep(given)
    elif name in _COMMANDS:
        _run(name, rest)
    else:
        near = difflib.get_close_matches(name, _COMMANDS, n=1, cutoff=0.0)[0]
        raise UserError(f"unknown command {name}; the nearest is {near}; see genrec --help")


def _run(name: str, arguments: list[str]) -> None:
    """`run`, or one stage of it."""
    given = parse(_COMMANDS[name], arguments, name)
    file, folder = _places(given.target, given.out)
    config = parse(_COMMANDS[name], _over(file_arguments(file), given.target, arguments)).config

    # These take seconds, which help and a mistyped setting should not.
    from genrec import pipeline
    from genrec.evaluation import details_tables, results_table
    from genrec.examples import examples
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
        health = read_json(folder / "tokenizer" / "health.json")
        console.print(health_table(health), soft_wrap=True)
    if name in ("run", "evaluate"):
        metrics = read_json(folder / "metrics.json")
        console.print(results_table(metrics, "test"))
        for table in details_tables(metrics, "test") if name == "evaluate" else []:
            console.print(table)
    if name == "run":
        _print_examples(console, examples(folder))
        console.print(f"Everything is in {folder}: {', '.join(pipeline.files(folder))}")


def _compare(command: Compare) -> None:
    if len(command.runs) < 2:
        raise UserError("compare what? name at least two runs")

    from genrec.compare import METRICS, difference, load_recommenders, plot, to_json, verdict

    protocol = "unfiltered" if command.unfiltered else "filtered"
    found, console = load_recommenders(command.runs, protocol), Console(highlight=False)
    table = Table(box=box.SIMPLE_HEAD, caption=f"{protocol}, test items", caption_justify="left")
    for title in ("recommender", "seeds", *(metric.replace("@", " @ ") for metric in METRICS)):
        table.add_column(title, justify="left" if title == "recommender" else "right")
    for each in found:
        spreads = [each.spread(metric) for metric in METRICS]
        figures = (
            f"{each.mean(metric):.4f}" + (f" ± {spread:.4f}" if spread is not None else "")
            for metric, spread in zip(METRICS, spreads, strict=True)
        )
        table.add_row(escape(each.name), ", ".join(map(str, each.seeds)), *figures)
    console.print(table)
    first, *others = found
    for each in others:
        for metric in METRICS:
            line = verdict(first, each, metric, difference(first, each, metric))
            console.print(line, soft_wrap=True, markup=False)
    if command.json:
        write_json(command.json, to_json(found, protocol))
    if command.plot:
        plot(found, protocol, command.plot)


def _changes_or_shows(command: Tokenize) -> bool:
    """Whether semantic IDs that are there already are wanted, not new ones."""
    wanted = (command.show, command.append is not None, bool(command.remove))
    if sum(wanted) > 1:
        raise UserError("give one of --show, --append and --remove")
    if command.prefix is not None and not command.show:
        raise UserError("--prefix goes with --show")
    if command.vectors is not None and command.append is None:
        raise UserError("--vectors goes with --append")
    if any(wanted) and command.config != Config():
        raise UserError("--show, --append and --remove take the run's settings, and no others")
    return any(wanted)


def _upkeep(command: Tokenize) -> None:
    """Shows the semantic IDs of a run, or lets items come and go."""
    from genrec.pipeline import config_of
    from genrec.upkeep import append_items, remove_items, show_branches

    _, folder = _places(command.target, command.out)
    config, console = config_of(folder), Console(highlight=False)
    if command.show:
        codes = (command.prefix or "").replace(",", " ").split()
        if not all(code.isdecimal() for code in codes):
            raise UserError(f"--prefix is {command.prefix!r}, but should be codes such as 12,7")
        found, titles = show_branches(config, folder, [int(code) for code in codes])
        console.print(_branch_table(found[: command.top], titles))
        if len(found) > command.top:
            console.print(f"and {len(found) - command.top:,} smaller ones (--top)")
        return
    if command.append is not None:
        change = append_items(config, folder, command.append, command.vectors)
        known = f"; {change.known:,} were there already" * bool(change.known)
        back = f"; {change.returned:,} that had been removed are back" * bool(change.returned)
        console.print(f"{change.added:,} items added{known}{back}", soft_wrap=True)
    else:
        change = remove_items(config, folder, command.remove)
        console.print(f"{change.removed:,} items removed")
    console.print(f"{change.items:,} items may be recommended now")
    if change.drift:
        console.print(change.drift, soft_wrap=True)


def _over(settings: list[str], target: Path, arguments: list[str]) -> list[str]:
    """Arguments with a file's settings under them.

    The target goes first, lest the last list of the file swallows it; flags go last and win.
    """
    place = next(n for n, argument in enumerate(arguments) if Path(argument) == target)
    return [str(target), *settings, *arguments[:place], *arguments[place + 1 :]]


def _places(target: Path, out: Path | None) -> tuple[Path, Path]:
    """The YAML file to read and the folder of the run."""
    if not target.is_dir():
        return target, out or Path("runs") / target.stem
    if out is not None and out != target:
        raise UserError(f"{target} is a run already: leave out --out, or name its config")
    return target / "config.yaml", target


def _recommend(arguments: list[str]) -> None:
    command: Recommend = parse(Recommend, arguments, "recommend")
    given = (command.history is not None, command.histories is not None, command.all)
    if sum(given) > 1:
        raise UserError("give one of --history, --histories and --all")
    if command.all and command.out is None:
        raise UserError("lists for all users go to a file: name it with --out")
    if command.out is not None and command.out.is_dir():
        raise UserError(f"{command.out} is a folder: name a file with --out")
    if command.unconstrained and (command.block or command.allow):
        raise UserError("--unconstrained goes without --block and --allow")
    if not any(given) and (command.out or command.block or command.allow or command.codes):
        raise UserError("recommend to whom? give --history, --histories or --all")
    if not (command.run / "config.yaml").exists():
        raise UserError(f"{command.run} is not a run: make one with `genrec run CONFIG`")
    settings = file_arguments(command.run / "config.yaml", "decoding")
    command = parse(Recommend, _over(settings, command.run, arguments), "recommend")
    if command.unconstrained and command.decoding.temperature is not None:
        raise UserError("--unconstrained goes without decoding.temperature")

    from genrec.decoding import ListsWriter, named_lists
    from genrec.examples import examples
    from genrec.recommend import load_run
    from genrec.requests import Requests, count_requests, read_names, read_requests

    console = Console(highlight=False)
    if not any(given):
        _print_examples(console, examples(command.run, k=command.k))
        return
    run = load_run(command.run, command.decoding)
    if command.allow or command.block:
        allow = None if command.allow is None else read_names(command.allow)
        block = [] if command.block is None else read_names(command.block)
        run = run.restricted(allow=allow, block=block)
    if command.all:
        total, requests = len(run.dataset.user_ids), run.everybody(_AT_ONCE)
    elif command.histories:
        total = count_requests(command.histories)
        requests = map(run.known, read_requests(command.histories, _AT_ONCE))
    else:
        total, requests = 1, [run.known(Requests(None, [command.history or ()]))]

    options = {"k": command.k, "exclude_history": not command.include_history}
    codes = run.codes if command.codes else None
    invalid = 0.0
    with contextlib.ExitStack() as stack:
        writer = bar = None
        if command.out:
            writer = stack.enter_context(ListsWriter(command.out, run.item_ids, codes))
            bar = stack.enter_context(progress("recommend", total, "user"))
        for some in requests:
            if command.unconstrained:
                items, scores, share = run.recommend_freely(some, **options)
                invalid += share * len(items)
            else:
                items, scores = run.recommend_items(some, partial=total > _AT_ONCE, **options)
            users = [""] * len(items) if some.user_ids is None else some.user_ids
            if writer is not None and bar is not None:
                writer.write(users, items, scores)
                bar.advance(len(items))
                continue
            lists = zip(*named_lists(run.item_ids, items, scores), strict=True)
            for user, row, (ids, points) in zip(users, items, lists, strict=True):
                if user:
                    console.print(f"[bold]{escape(user)}[/]")
                spelt = None if codes is None else codes[row[row >= 0]].tolist()
                console.print(_list_table([run.titles[item] for item in ids], ids, points, spelt))
    if command.unconstrained:
        console.print(f"{invalid / max(total, 1):.1%} of the codes found are no item's")
        console.print(f"for them the nearest item stands in (Faiss {run.resolver_index})")
    if command.out:
        console.print(f"{total:,} lists are in {command.out}")


def _print_examples(console: Console, examples: "Sequence[Example]") -> None:
    for example in examples:
        console.print(f"[bold]User {escape(example.user_id)}[/] last had", soft_wrap=True)
        for title in example.recent:
            console.print(f"  {title}", soft_wrap=True, markup=False)
        console.print("then, held out", soft_wrap=True)
        console.print(f"  {example.target}", soft_wrap=True, markup=False)
        console.print("and is recommended")
        console.print(_list_table(example.titles, example.item_ids, example.scores))


def _branch_table(found: "Sequence[Branch]", titles: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("codes")
    table.add_column("items", justify="right")
    table.add_column("commonest words", overflow="fold")
    table.add_column("such as", overflow="fold")
    for branch in found:
        examples = "\n".join(escape(titles[item]) for item in branch.items[:2])
        spelt = ",".join(map(str, branch.prefix))
        table.add_row(spelt, f"{len(branch.items):,}", escape(", ".join(branch.words)), examples)
    return table


def _list_table(
    titles: Sequence[str],
    item_ids: Sequence[str],
    scores: Sequence[float],
    codes: Sequence[Sequence[int]] | None = None,
) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", justify="right")
    table.add_column("title", overflow="fold")
    table.add_column("item id", overflow="fold")
    table.add_column("score", justify="right")
    if codes is not None:
        table.add_column("codes")
    for place, (title, item_id, score) in enumerate(zip(titles, item_ids, scores, strict=True), 1):
        spelt = [] if codes is None else [" ".join(map(str, codes[place - 1]))]
        table.add_row(str(place), escape(title), escape(item_id), f"{score:.3f}", *spelt)
    return table
