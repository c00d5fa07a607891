"""The commands that help with genrec itself."""

import dataclasses
import inspect
import shutil
import textwrap

from rich.markup import escape

from genrec.cli import console
from genrec.cli.arguments import Completion, Doctor
from genrec.cli.commands import Call
from genrec.errors import UserError

_COLOURS = {"ok": "green", "missing": "yellow", "problem": "red"}


def about(command: type) -> str:
    """What a command is for, as wide as the terminal, and its examples: the docstring's paragraphs,
    those that begin with "Example:" last."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    examples = [each for each in paragraphs if each.startswith("Example: ")]
    columns = shutil.get_terminal_size().columns
    wrapped = [textwrap.fill(" ".join(each.split()), columns) for each in paragraphs]
    return "\n\n".join(
        [
            *wrapped[: len(paragraphs) - len(examples)],
            "\n  ".join(["For example", *(each.removeprefix("Example: ") for each in examples)]),
            "",
        ]
    )


def doctor(command: Doctor, call: Call) -> None:
    from genrec.cli.doctor import examine

    findings = examine()
    for each in findings:
        state = f"[{_COLOURS[each.state]}]{each.state:<8}[/]"
        console.show(f"{state} {each.name:<18} {escape(each.said)}")
    broken = [each.name for each in findings if each.state == "problem"]
    listed = [dataclasses.asdict(each) for each in findings]
    console.document({"ok": not broken, "findings": listed})
    if broken:
        raise UserError(f"a problem with {', '.join(broken)}: genrec doctor says what to do")


def completion(command: Completion, call: Call) -> None:
    from genrec.cli.completion import script

    print(script(command.shell), end="")
