"""The table of the commands, and the map of them that `genrec --help` prints.

Nothing heavy is imported before a command is chosen, so that the map is there at once.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Command:
    """One command of genrec.

    Attributes:
        line: what it does, for the map.
        dataclass: name of the class in genrec.cli.arguments that holds its arguments.
        function: module of genrec.cli and function that do the work, from an instance of that class
            and a `Call`.
    """

    line: str
    dataclass: str
    function: str

    @property
    def arguments(self) -> type:
        return getattr(importlib.import_module("genrec.cli.arguments"), self.dataclass)

    @property
    def action(self) -> Callable[[Any, "Call"], None]:
        module, function = self.function.split(".")
        return getattr(importlib.import_module(f"genrec.cli.{module}"), function)


class Call(NamedTuple):
    """How a command was called: by which name, and with which flags, by their dotted names."""

    name: str
    named: frozenset[str]


_GROUPS = {
    "Make a run: a folder, runs/NAME, from a config or a known data set": {
        "run": Command(
            "all stages below, in order; those that are done are skipped", "Run", "run.run_stages"
        ),
        "prepare": Command(
            "1 · read, clean, order and split the log      → dataset/", "Prepare", "run.run_stages"
        ),
        "embed": Command(
            "2 · items' texts to vectors                   → embeddings.npy",
            "Embed",
            "run.run_stages",
        ),
        "tokenize": Command(
            "3 · vectors to semantic IDs                   → tokenizer/", "Tokenize", "run.tokenize"
        ),
        "train": Command(
            "4 · histories to a model; resumes by itself   → checkpoints/",
            "Train",
            "run.run_stages",
        ),
        "evaluate": Command(
            "5 · held-out items, beside baselines          → metrics.json",
            "Evaluate",
            "run.run_stages",
        ),
        "report": Command(
            "6 · all of it on one page                     → report.html", "Report", "run.report"
        ),
    },
    "Use it": {
        "recommend": Command(
            "items for a history, a file of them, or all users",
            "Recommend",
            "recommend.recommend",
        ),
        "compare": Command(
            "runs with each other, and whether a difference is chance",
            "Compare",
            "recommend.compare",
        ),
    },
    "Deploy it": {
        "export": Command(
            "a bundle of a run, or its weights for other programs", "Export", "deploy.export"
        ),
        "update": Command("let items of a bundle come and go", "Update", "deploy.update"),
        "serve": Command("answer from a bundle over HTTP", "Serve", "deploy.serve"),
    },
    "Help": {
        "doctor": Command(
            "versions, devices, memory, disk, and what is missing", "Doctor", "help.doctor"
        ),
        "completion": Command(
            "complete commands and flags in bash, zsh or fish", "Completion", "help.completion"
        ),
    },
}
COMMANDS = {name: command for group in _GROUPS.values() for name, command in group.items()}
"""By name, in the order of the help."""

_LISTED = "\n\n".join(
    "\n".join([title, *(f"  {name:<13} {command.line}" for name, command in group.items())])
    for title, group in _GROUPS.items()
)
MAP = f"""\
usage: genrec COMMAND …          genrec COMMAND --help tells all of its flags

From a log of who chose what to a recommender that writes the next item.

{_LISTED}

Examples
  genrec run configs/quickstart.yaml                     # MovieLens-100K
  genrec evaluate runs/quickstart --decoding.beam 100   # all settings are flags
  genrec recommend runs/quickstart --history "Star Wars (1977)" --k 5

All that a command makes is in the folder of the run: runs/ and the name of the
config or data set, or --out. Data sets that are fetched are kept in
~/.cache/genrec, or $GENREC_CACHE.

Every command takes --quiet (errors only), --verbose (more, on stderr) and, if
it has a result, --json (one document on stdout). NO_COLOR=1 leaves out colours.

Exit status: 0 done; 2 a mistake that you can mend; 130 interrupted, the same
command goes on from there; 1 anything else, such as a bug."""
