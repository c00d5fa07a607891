"""The table of the commands, and the map of them that `genrec --help` prints.

Nothing heavy is imported before a command is chosen, so that the map is there at once.
"""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple


class Command(NamedTuple):
    """A command of genrec. The dataclass of its arguments is called like it, in cli.arguments.

    Attributes:
        function: the module of genrec.cli and the function that do the work, from an instance of
            that dataclass and a `Call`.
        summary: what it does, for the map.
        writes: of a stage, what it writes.
    """

    name: str
    function: str
    summary: str
    writes: str = ""

    @property
    def arguments(self) -> type:
        return getattr(importlib.import_module("genrec.cli.arguments"), self.name.capitalize())

    @property
    def action(self) -> Callable[[Any, "Call"], None]:
        module, function = self.function.split(".")
        return getattr(importlib.import_module(f"genrec.cli.{module}"), function)

    @property
    def line(self) -> str:
        return f"  {self.name:<13} {self.summary:<45} → {self.writes}".rstrip(" →")


class Call(NamedTuple):
    """How a command was called: by which name, and with which flags, by their dotted names."""

    name: str
    named: frozenset[str]


_GROUPS = {
    "Make a run: a folder, runs/NAME, from a config or a known data set": [
        Command("run", "run.stages", "all stages below, in order; those that are done are skipped"),
        Command("prepare", "run.stages", "1 · read, clean, order and split the log", "dataset/"),
        Command("embed", "run.stages", "2 · items' texts to vectors", "embeddings.npy"),
        Command("tokenize", "run.tokenize", "3 · vectors to semantic IDs", "tokenizer/"),
        Command(
            "train", "run.stages", "4 · histories to a model; resumes by itself", "checkpoints/"
        ),
        Command("graph", "run.stages", "5 · what followed what, and what is like it", "graph/"),
        Command("fuse", "run.stages", "6 · how much each expert counts", "fusion.json"),
        Command("evaluate", "run.stages", "7 · held-out items, beside baselines", "metrics.json"),
        Command("report", "run.report", "8 · all of it on one page", "report.html"),
    ],
    "Use it": [
        Command(
            "recommend", "recommend.recommend", "items for a history, a file of them, or all users"
        ),
        Command(
            "compare",
            "recommend.compare",
            "runs with each other, and whether a difference is chance",
        ),
    ],
    "Deploy it": [
        Command("export", "deploy.export", "a bundle of a run, or its weights for other programs"),
        Command("update", "deploy.update", "let items of a bundle come and go"),
        Command("serve", "deploy.serve", "answer from a bundle over HTTP"),
    ],
    "Help": [
        Command("doctor", "doctor.doctor", "versions, devices, memory, disk, and what is missing"),
        Command(
            "completion",
            "completion.completion",
            "complete commands and flags in bash, zsh or fish",
        ),
    ],
}
COMMANDS = {command.name: command for group in _GROUPS.values() for command in group}
"""By name, in the order of the help."""

_LISTED = "\n\n".join(
    "\n".join([title, *(command.line for command in group)]) for title, group in _GROUPS.items()
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
