"""The commands: parse, call, print; no logic."""

import contextlib
import difflib
import importlib.metadata
import logging
import os
import sys
from pathlib import Path

import tyro
from rich.console import Console
from rich.markup import escape

from genrec.cli_deploy import export, serve, update
from genrec.commands import (
    COMMANDS,
    Compare,
    OfRun,
    Recommend,
    Report,
    Serve,
    Tokenize,
    Train,
    Update,
)
from genrec.config import Config
from genrec.errors import UserError
from genrec.files import read_json, write_json
from genrec.printing import branch_table, compared_table, list_table, print_added, print_examples
from genrec.progress import progress
from genrec.settings import file_arguments, over, parse

_DESCRIPTION = """A generative sequential recommender: raw log in, item ids with scores out.

Start with `genrec run configs/quickstart.yaml`. Every stage is also a command of its own; each
takes a config, or the folder of a run that was made from one.
"""


_AT_ONCE = 8192
"""Requests of a file that are read, answered and written together."""


def main() -> None:
    """The `genrec` command. Exit status: 0 done, 2 a mistake that the user can mend, 130 Ctrl-C."""
    try:
        _dispatch(sys.argv[1:])
    except UserError as error:
        print(f"genrec: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # who reads the output has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
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
            COMMANDS, args=["--help"], prog="genrec", description=_DESCRIPTION
        )
    elif name == "--version":
        print(importlib.metadata.version("genrec"))
    elif name == "recommend":
        _recommend(rest)
    elif name == "export":
        export(rest)
    elif name == "update":
        update(parse(Update, rest, name))
    elif name == "serve":
        serve(parse(Serve, rest, name))
    elif name == "report":
        _report(parse(Report, rest, name))
    elif name == "compare":
        _compare(parse(Compare, rest, name))
    elif name == "tokenize" and _changes_or_shows(given := parse(Tokenize, rest, name)):
        _upkeep(given)
    elif name in COMMANDS:
        _run(name, rest)
    else:
        near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.0)[0]
        raise UserError(f"unknown command {name}; the nearest is {near}; see genrec --help")


def _run(name: str, arguments: list[str]) -> None:
    """`run`, or one stage of it."""
    given = parse(COMMANDS[name], arguments, name)
    file, folder = _places(given)
    config = given.config
    if file is not None:
        config = parse(COMMANDS[name], over(file_arguments(file), given.target, arguments)).config

    # These take seconds, which help and a mistyped setting should not.
    from genrec import pipeline
    from genrec.data import counts_table, steps_table
    from genrec.evaluation import details_tables, results_table
    from genrec.examples import examples
    from genrec.tokenizer import health_table

    leads = True
    if isinstance(given, Train) and given.distributed:
        from genrec.training.cluster import join_cluster

        leads = join_cluster()
    console = Console(highlight=False, quiet=not leads)
    with contextlib.ExitStack() as stack:
        if leads:
            pipeline.open_run(config, folder)
            stack.enter_context(pipeline.claimed(folder, f"genrec {name}"))
        for stage in pipeline.STAGES if name == "run" else [name]:
            outcome = pipeline.run_stage(stage, config, folder, leads=leads)
            took = "done before" if outcome.skipped else f"{outcome.seconds:.1f} s"
            console.print(f"[bold]{stage:<9}[/] {outcome.summary} [dim]({took})[/]", soft_wrap=True)
    if name == "prepare":
        counts = read_json(folder / "dataset" / "counts.json")
        console.print(steps_table(counts))
        console.print(counts_table(counts))
    if name == "tokenize":
        health = read_json(folder / "tokenizer" / "health.json")
        console.print(health_table(health), soft_wrap=True)
    if name in ("run", "evaluate"):
        metrics = read_json(folder / "metrics.json")
        console.print(results_table(metrics, "test"))
        for table in details_tables(metrics, "test") if name == "evaluate" else []:
            console.print(table)
    if name == "run":
        print_examples(console, examples(folder))
        console.print(f"Everything is in {folder}: {', '.join(pipeline.files(folder))}")


def _report(command: Report) -> None:
    if not command.runs:
        raise UserError("report what? name the folder of a run")
    if command.out is not None and command.out.is_dir():
        raise UserError(f"{command.out} is a folder: name a file with --out")

    from genrec import pipeline

    console, (run, *others) = Console(highlight=False), command.runs
    config = pipeline.config_of(run)
    if not others and command.out is None:
        outcome = pipeline.run_stage("report", config, run)
        took = "done before" if outcome.skipped else f"{outcome.seconds:.1f} s"
        console.print(f"{run / 'report.html'} [dim]({took})[/]", soft_wrap=True)
        return
    out = command.out or Path("comparison.html")
    if others:
        from genrec.report.comparison import write_comparison

        size = write_comparison(command.runs, out)
    else:
        from genrec.report import write_report

        pipeline.require(run, config, "evaluate")
        size = write_report(run, config, out)
    console.print(f"{out}, {size / 2**20:.1f} MiB", soft_wrap=True)


def _compare(command: Compare) -> None:
    if len(command.runs) < 2:
        raise UserError("compare what? name at least two runs")

    from genrec.compare import METRICS, difference, load_recommenders, plot, to_json, verdict

    protocol = "unfiltered" if command.unfiltered else "filtered"
    found, console = load_recommenders(command.runs, protocol), Console(highlight=False)
    console.print(compared_table(found, protocol))
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

    _, folder = _places(command)
    config, console = config_of(folder), Console(highlight=False)
    if command.show:
        codes = (command.prefix or "").replace(",", " ").split()
        if not all(code.isdecimal() for code in codes):
            raise UserError(f"--prefix is {command.prefix!r}, but should be codes such as 12,7")
        found, titles = show_branches(config, folder, [int(code) for code in codes])
        console.print(branch_table(found[: command.top], titles))
        if len(found) > command.top:
            console.print(f"and {len(found) - command.top:,} smaller ones (--top)")
        return
    if command.append is not None:
        change = append_items(config, folder, command.append, command.vectors)
        print_added(console, change)
    else:
        change = remove_items(config, folder, command.remove)
        console.print(f"{change.removed:,} items removed")
    console.print(f"{change.items:,} items may be recommended now")
    if change.drift:
        console.print(change.drift, soft_wrap=True)


def _places(given: OfRun) -> tuple[Path | None, Path]:
    """The YAML file to read, if any, and the folder of the run."""
    target, out, dataset = given.target, given.out, given.config.data.dataset
    if target is None:
        if dataset is None:
            raise UserError("name a config, the folder of a run, or a data set with --dataset")
        return None, out or Path("runs") / dataset.replace("/", "-")
    if not target.is_dir():
        return target, out or Path("runs") / target.stem
    if out is not None and out != target:
        raise UserError(f"{target} is a run already: leave out --out, or name its config")
    return target / "config.yaml", target


def _check_recommend(command: Recommend) -> None:
    """Raises UserError for flags that do not go together."""
    given = (command.history is not None, command.histories is not None, command.all)
    rules = {
        "give one of --history, --histories and --all": sum(given) <= 1,
        "lists for all users go to a file: name it with --out": not command.all or command.out,
        f"{command.out} is a folder: name a file with --out": not (
            command.out is not None and command.out.is_dir()
        ),
        "--unconstrained goes without --exclude and --allow": not (
            command.unconstrained and (command.exclude or command.allow)
        ),
        "recommend to whom? give --history, --histories or --all": any(given)
        or not (command.out or command.exclude or command.allow or command.codes),
        f"{command.run} is not a run: make one with `genrec run CONFIG`": (
            command.run / "config.yaml"
        ).exists(),
    }
    for rule, kept in rules.items():
        if not kept:
            raise UserError(rule)


def _recommend(arguments: list[str]) -> None:
    command: Recommend = parse(Recommend, arguments, "recommend")
    _check_recommend(command)
    settings = file_arguments(command.run / "config.yaml", "decoding")
    command = parse(Recommend, over(settings, command.run, arguments), "recommend")
    if command.unconstrained and command.decoding.temperature is not None:
        raise UserError("--unconstrained goes without decoding.temperature")

    from genrec.core.answering import Requests, named_lists
    from genrec.decoding import ListsWriter
    from genrec.examples import examples
    from genrec.recommend import load_run
    from genrec.requests import count_requests, read_names, read_requests

    console = Console(highlight=False)
    if command.history is None and command.histories is None and not command.all:
        print_examples(console, examples(command.run, k=command.k))
        return
    run = load_run(command.run, command.decoding)
    if command.allow or command.exclude:
        allow = None if command.allow is None else read_names(command.allow)
        exclude = [] if command.exclude is None else read_names(command.exclude)
        run = run.restricted(allow=allow, exclude=exclude)
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
                console.print(list_table([run.titles[item] for item in ids], ids, points, spelt))
    if command.unconstrained:
        console.print(f"{invalid / max(total, 1):.1%} of the codes found are no item's")
        console.print(f"for them the nearest item stands in (Faiss {run.resolver_index})")
    if command.out:
        console.print(f"{total:,} lists are in {command.out}")
