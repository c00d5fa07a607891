"""The `genrec` command: parses arguments, runs what the table of commands names, tells errors."""

import importlib.metadata
import sys


def main() -> None:
    """The `genrec` command; its exit statuses are those of `genrec.cli.failures.report`."""
    arguments, status = sys.argv[1:], 0
    try:
        if arguments[:1] in ([], ["--help"], ["-h"], ["help"]):
            from genrec.cli.commands import MAP

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
    from genrec.cli.arguments import CommonFlags, ResultFlags
    from genrec.cli.commands import COMMANDS, Call
    from genrec.cli.console import hush, speak
    from genrec.cli.parsing import about, parse
    from genrec.errors import UserError, nearest

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
    command = COMMANDS[name]
    try:
        if not {"-h", "--help"}.isdisjoint(arguments):
            print(about(command.arguments))
        parsed, named = parse(command.arguments, [*arguments], name)
        if isinstance(parsed, CommonFlags):
            as_json = isinstance(parsed, ResultFlags) and parsed.json
            speak(quiet=parsed.quiet, verbose=parsed.verbose, json=as_json)
        command.action(parsed, Call(name, named))
    finally:
        speak()  # as before, for who calls this from Python
