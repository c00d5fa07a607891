"""The commands that make a run: all stages or one of them, its semantic IDs, its page."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

from genrec.cli import console
from genrec.cli.commands import COMMANDS, OfRun, Report, Tokenize, Train
from genrec.cli.tables import branch_table, change_lines, print_examples, stage_line
from genrec.config import Config
from genrec.config.parsing import file_arguments, over, parse
from genrec.errors import UserError


def make(given: OfRun, arguments: list[str]) -> None:
    """`run`, or one stage of it."""
    file, folder = _places(given)
    (name,) = (name for name, kind in COMMANDS.items() if kind is type(given))
    config = given.config
    if file is not None and given.target is not None:
        config = parse(type(given), over(file_arguments(file), given.target, arguments)).config

    # This takes seconds, which help and a mistyped setting should not.
    from genrec.pipeline import run_stage
    from genrec.runs.folder import STAGES, claimed, open_run

    leads = True
    if isinstance(given, Train) and given.distributed:
        from genrec.training.cluster import join_cluster

        leads = join_cluster()
    console.tell_compilations()
    outcomes = []
    with contextlib.ExitStack() as stack:
        if leads:
            open_run(config, folder)
            stack.enter_context(claimed(folder, f"genrec {name}"))
        else:  # one process speaks for all of them
            console.speak(quiet=True)
        for stage in STAGES if name == "run" else [name]:
            outcomes.append(run_stage(stage, config, folder, leads=leads))
            console.show(stage_line(stage, outcomes[-1].summary, outcomes[-1]))
    stages = [dataclasses.asdict(outcome) for outcome in outcomes]
    console.document({"run": folder, "stages": stages, **results(name, folder)})


def results(name: str, folder: Path) -> dict[str, Any]:
    """What a command shows when its stages are done, and the figures behind it."""
    from genrec.data import counts_table, steps_table
    from genrec.evaluation import details_tables, results_table
    from genrec.evaluation.examples import draw_examples
    from genrec.runs.figures import blaming_figures, read_figures
    from genrec.runs.folder import config_of
    from genrec.runs.folder import files as files_of
    from genrec.tokenizer import health_table

    if name == "prepare":
        counts = read_figures(folder, "dataset/counts.json")
        with blaming_figures(folder, "dataset/counts.json"):
            console.show(steps_table(counts), counts_table(counts), wrap=True)
        return {"counts": counts}
    if name == "tokenize":
        health = read_figures(folder, "tokenizer/health.json")
        with blaming_figures(folder, "tokenizer/health.json"):
            console.show(health_table(health))
        return {"health": health}
    if name not in ("run", "evaluate"):
        return {}
    metrics = read_figures(folder, "metrics.json")
    with blaming_figures(folder, "metrics.json"):
        console.show(results_table(metrics, "test"), wrap=True)
        if name == "evaluate":
            console.show(*details_tables(metrics, "test"), wrap=True)
    if name == "evaluate":
        return {"metrics": metrics}
    print_examples(draw_examples(folder, seed=config_of(folder).seed))
    files = files_of(folder)
    console.say(f"Everything is in {folder}: {', '.join(files)}")
    return {"files": files, "metrics": metrics}


def tokenize(command: Tokenize, arguments: list[str]) -> None:
    """The stage, or what becomes of its semantic IDs: shows them, lets items come and go."""
    if not _changes_or_shows(command):
        make(command, arguments)
        return

    from genrec.runs.catalog_updates import append_items, remove_items
    from genrec.runs.folder import config_of

    _, folder = _places(command)
    config = config_of(folder)
    if command.show:
        _show(command, config, folder)
        return
    if command.append is not None:
        change = append_items(config, folder, command.append, command.vectors)
    else:
        change = remove_items(config, folder, command.remove)
    how = {"appended": command.append is not None, "removed": bool(command.remove)}
    for line in change_lines(change, **how):
        console.say(line)
    console.document({"run": folder, **dataclasses.asdict(change)})


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


def _show(command: Tokenize, config: Config, folder: Path) -> None:
    from genrec.runs.catalog_updates import show_branches

    codes = (command.prefix or "").replace(",", " ").split()
    if not all(code.isdecimal() for code in codes):
        raise UserError(f"--prefix is {command.prefix!r}, but should be codes such as 12,7")
    found, titles = show_branches(config, folder, [int(code) for code in codes])
    shown = found[: command.top]
    console.show(branch_table(shown, titles), wrap=True)
    if len(found) > len(shown):
        console.say(f"and {len(found) - len(shown):,} smaller ones (--top)")
    branches = [
        {
            "codes": branch.prefix,
            "items": len(branch.items),
            "words": branch.words,
            "examples": [titles[item] for item in branch.items[:2]],
        }
        for branch in shown
    ]
    console.document({"run": folder, "branches": branches, "smaller": len(found) - len(shown)})


def report(command: Report, arguments: list[str]) -> None:
    if not command.runs:
        raise UserError("report what? name the folder of a run")
    if command.out is not None and command.out.is_dir():
        raise UserError(f"{command.out} is a folder: name a file with --out")

    from genrec.pipeline import run_stage
    from genrec.runs.folder import config_of, require

    run, *others = command.runs
    config = config_of(run)
    if not others and command.out is None:
        outcome = run_stage("report", config, run)
        console.show(stage_line("", str(run / "report.html"), outcome))
        console.document({"file": run / "report.html", **dataclasses.asdict(outcome)})
        return
    out = command.out or Path("comparison.html")
    if others:
        from genrec.report.comparison import write_comparison

        size = write_comparison(command.runs, out)
    else:
        from genrec.report import write_report

        require(run, config, "evaluate")
        size = write_report(run, config, out)
    console.say(f"{out}, {size / 2**20:.1f} MiB")
    console.document({"file": out, "bytes": size})


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
