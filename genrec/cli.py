"""The command: has the arguments parsed and the work done, and says what went wrong."""

import importlib.metadata
import sys

from genrec.cli_map import MAP


def main() -> None:
    """The `genrec` command; its exit statuses are those of `genrec.failures.report`."""
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
        from genrec.failures import report

        status = report(error, verbose=not {"--verbose", "-v"}.isdisjoint(arguments))
    if status:
        sys.exit(status)


def _dispatch(name: str, *arguments: str) -> None:
    from genrec import cli_deploy, cli_help, cli_make, cli_use
    from genrec.commands import COMMANDS, Said
    from genrec.errors import UserError
    from genrec.quiet import hush
    from genrec.saying import speak
    from genrec.settings import nearest, parse

    actions = {
        **dict.fromkeys(("run", "prepare", "embed", "train", "evaluate"), cli_make.make),
        "tokenize": cli_make.tokenize,
        "report": cli_make.report,
        "recommend": cli_use.recommend,
        "compare": cli_use.compare,
        "export": cli_deploy.export,
        "update": cli_deploy.update,
        "serve": cli_deploy.serve,
        "doctor": cli_help.doctor,
        "completion": cli_help.completion,
    }
    if name.startswith("-"):
        raise UserError(f"flags follow the command, as in genrec run CONFIG {name}")
    if name not in COMMANDS:
        raise UserError(
            f"unknown command {name}; the nearest is {nearest(name, COMMANDS)}; see genrec --help"
        )
    if name != "serve":  # whose tasks are ours
        hush()
    speak()
    try:
        if not {"-h", "--help"}.isdisjoint(arguments):
            print(cli_help.about(COMMANDS[name]))
        command = parse(COMMANDS[name], [*arguments], name)
        if isinstance(command, Said):
            speak(**command.how())
        actions[name](command, [*arguments])
    finally:
        speak()  # as before, for who calls this from Python
