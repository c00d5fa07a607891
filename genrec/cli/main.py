"""The command: has the arguments parsed and the work done, and says what went wrong."""

import importlib.metadata
import sys

MAP = """\
usage: genrec COMMAND …          genrec COMMAND --help tells all of its flags

From a log of who chose what to a recommender that writes the next item.

Make a run: a folder, runs/NAME, from a config or a known data set
  run           all stages below, in order; those that are done are skipped
  prepare       1 · read, clean, order and split the log      → dataset/
  embed         2 · items' texts to vectors                   → embeddings.npy
  tokenize      3 · vectors to semantic IDs                   → tokenizer/
  train         4 · histories to a model; resumes by itself   → checkpoints/
  evaluate      5 · held-out items, beside baselines          → metrics.json
  report        6 · all of it on one page                     → report.html

Use it
  recommend     items for a history, a file of them, or all users
  compare       runs with each other, and whether a difference is chance

Deploy it
  export        a bundle of a run, or its weights for other programs
  update        let items of a bundle come and go
  serve         answer from a bundle over HTTP

Help
  doctor        versions, devices, memory, disk, and what is missing
  completion    complete commands and flags in bash, zsh or fish

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


def main() -> None:
    """The `genrec` command; its exit statuses are those of `genrec.cli.failures.report`."""
    arguments, status = sys.argv[1:], 0
    try:
        if arguments[:1] in ([], ["--help"], ["-h"], ["help"]):
            print(MAP)  # at once: what the others need takes a third of a second to import
        elif arguments[0] == "--version":
            print(importlib.metadata.version("genrec"))
        else:
            _dispatch(*arguments)
        sys.stdout.flush()  # here, where a full disk is told in one line
    except (Exception, KeyboardInterrupt) as error:
        from genrec.cli.failures import report

        status = report(error, verbose=not {"--verbose", "-v"}.isdisjoint(arguments))
    if status:
        sys.exit(status)


def _dispatch(name: str, *arguments: str) -> None:
    from genrec.cli import deploy, help, recommend, run
    from genrec.cli.commands import COMMANDS, Said
    from genrec.cli.console import hush, speak
    from genrec.config.parsing import parse
    from genrec.errors import UserError, nearest

    actions = {
        **dict.fromkeys(("run", "prepare", "embed", "train", "evaluate"), run.make),
        "tokenize": run.tokenize,
        "report": run.report,
        "recommend": recommend.recommend,
        "compare": recommend.compare,
        "export": deploy.export,
        "update": deploy.update,
        "serve": deploy.serve,
        "doctor": help.doctor,
        "completion": help.completion,
    }
    if name.startswith("-"):
        raise UserError(f"flags follow the command, as in genrec run CONFIG {name}")
    if name not in COMMANDS:
        raise UserError(
            f"unknown command {name}; the nearest is {nearest(name, COMMANDS)[0]}; "
            "see genrec --help"
        )
    if name != "serve":  # whose tasks are ours
        hush()
    speak()
    try:
        if not {"-h", "--help"}.isdisjoint(arguments):
            print(help.about(COMMANDS[name]))
        command = parse(COMMANDS[name], [*arguments], name)
        if isinstance(command, Said):
            speak(**command.how())
        actions[name](command, [*arguments])
    finally:
        speak()  # as before, for who calls this from Python
