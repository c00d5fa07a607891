"""The commands that make a run: all stages or one of them, its semantic IDs, its page."""

import dataclasses
from pathlib import Path
from typing import Any

from genrec.cli import console
from genrec.cli.arguments import Report, RunCommand, Tokenize, Train
from genrec.cli.commands import Call
from genrec.cli.parsing import settings_among, settings_under
from genrec.cli.tables import branch_table, change_lines, print_examples, stage_line
from genrec.config import Config
from genrec.errors import UserError


def stages(command: RunCommand, call: Call) -> None:
    """`run`, or one stage of it."""
    file, folder = _file_and_folder(command)
    config = command.config if file is None else settings_under(file, command.config, call.named)

    # This takes seconds, which help and a mistyped setting should not.
    from genrec.pipeline import open_run
    from genrec.runs.folder import STAGES

    leads = True
    if isinstance(command, Train) and command.distributed:
        from genrec.training.cluster import join_cluster

        leads = join_cluster()
    if not leads:  # one process speaks for all of them
        console.speak(quiet=True)
    console.tell_compilations()
    outcomes = []
    with open_run(config, folder, f"genrec {call.name}", leads=leads) as run:
        for stage in STAGES if call.name == "run" else [call.name]:
            outcomes.append(run.make(stage))
            console.show(stage_line(stage, outcomes[-1].summary, outcomes[-1]))
        figures = results(call.name, folder)
    listed = [dataclasses.asdict(outcome) for outcome in outcomes]
    console.document({"run": folder, "stages": listed, **figures})


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


def tokenize(command: Tokenize, call: Call) -> None:
    """The stage; or shows the semantic IDs of a run, and lets items come and go."""
    if not _changes_or_shows(command, call):
        stages(command, call)
        return

    from genrec.runs.catalog_updates import append_items, remove_items
    from genrec.runs.folder import config_of

    _, folder = _file_and_folder(command)
    config = config_of(folder)
    if command.show:
        _show(command, config, folder)
        return
    if command.append is not None:
        change = append_items(config, folder, command.append, command.vectors)
    else:
        change = remove_items(config, folder, command.remove)
    for line in change_lines(change, command.append, command.remove):
        console.say(line)
    console.document({"run": folder, **dataclasses.asdict(change)})


def _changes_or_shows(command: Tokenize, call: Call) -> bool:
    """Whether semantic IDs that are there already are wanted, not new ones."""
    wanted = (command.show, command.append is not None, bool(command.remove))
    if sum(wanted) > 1:
        raise UserError("give one of --show, --append and --remove")
    if command.prefix is not None and not command.show:
        raise UserError("--prefix goes with --show")
    if command.vectors is not None and command.append is None:
        raise UserError("--vectors goes with --append")
    if any(wanted) and settings_among(call.named):
        raise UserError("--show, --append and --remove take the run's settings, and no others")
    return any(wanted)


def _show(command: Tokenize, config: Config, folder: Path) -> None:
    from genrec.runs.catalog_updates import show_branches

    codes = (command.prefix or "").replace(",", " ").split()
    if not all(code.isdecimal() for code in codes):
        raise UserError(f"--prefix is {command.prefix!r}, but should be codes such as 12,7")
    branches, titles = show_branches(config, folder, [int(code) for code in codes])
    shown, smaller = branches[: command.top], len(branches[command.top :])
    console.show(branch_table(shown, titles), wrap=True)
    if smaller:
        console.say(f"and {smaller:,} smaller ones (--top)")
    documents = [
        {
            "codes": branch.prefix,
            "items": len(branch.items),
            "words": branch.words,
            "examples": [titles[item] for item in branch.items[:2]],
        }
        for branch in shown
    ]
    console.document({"run": folder, "branches": documents, "smaller": smaller})


def report(command: Report, call: Call) -> None:
    """The stage, or a page elsewhere, or one of several runs."""
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


def _file_and_folder(command: RunCommand) -> tuple[Path | None, Path]:
    """The YAML file to read, if any, and the folder of the run."""
    target, out, dataset = command.target, command.out, command.config.data.dataset
    if target is None:
        if dataset is None:
            raise UserError("name a config, the folder of a run, or a data set with --dataset")
        return None, out or Path("runs") / dataset.replace("/", "-")
    if not target.is_dir():
        return target, out or Path("runs") / target.stem
    if out is not None and out != target:
        raise UserError(f"{target} is a run already: leave out --out, or name its config")
    return target / "config.yaml", target
