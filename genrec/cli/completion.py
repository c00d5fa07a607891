"""Scripts that complete commands, flags and their values in a shell.

They hold all that they need, so that a press of Tab starts nothing. Where neither a command nor a
flag nor one of a setting's values fits, the shell offers file names.
"""

import inspect
import shlex
import typing
from collections.abc import Iterable
from types import UnionType
from typing import Any, Literal

from genrec.cli.arguments import Completion
from genrec.cli.commands import COMMANDS, Call
from genrec.cli.parsing import flags_of

SHELLS = ("bash", "zsh", "fish")


def completion(command: Completion, call: Call) -> None:
    print(script(command.shell), end="")


def script(shell: str) -> str:
    """A script for "bash", "zsh" or "fish"."""
    if shell == "fish":
        return _fish()
    # Zsh reads what bash does, once its compdef is there.
    before = "autoload -Uz compinit bashcompinit\n"
    before += "(( $+functions[compdef] )) || compinit\nbashcompinit\n"
    return (before if shell == "zsh" else "") + _bash()


def _bash() -> str:
    values, of_commands = {}, []
    for name, command in COMMANDS.items():
        flags = flag_values(command.arguments)
        values |= {flag: _quoted(words) for flag, words in flags.items() if words}
        shells = SHELLS if name == "completion" else ()
        words = _quoted([*shells, *flags, "--help"])
        of_commands.append(f"        {name}) words={words} ;;\n")
    of_flags = [f"        {flag}) words={words} ;;\n" for flag, words in values.items()]
    return f"""\
_genrec() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} words=
    # --flag=value comes as three words.
    [[ $before == = ]] && before=${{COMP_WORDS[COMP_CWORD - 2]}}
    [[ $word == = ]] && word=
    case ${{before//_/-}} in
{"".join(of_flags)}    esac
    if [[ $COMP_CWORD == 1 ]]; then
        words={_quoted([*COMMANDS, "--help", "--version"])}
    elif [[ -z $words && ($word == -* || ${{COMP_WORDS[1]}} == completion) ]]; then
        case ${{COMP_WORDS[1]}} in
{"".join(of_commands)}        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o bashdefault -o default -F _genrec genrec
"""


def _fish() -> str:
    lines = []
    # By what is offered after them.
    commands_of = {f"-f -a {_quoted(SHELLS)}": ["completion"]}
    for name, command in COMMANDS.items():
        summary = (inspect.getdoc(command.arguments) or "").partition("\n\n")[0].split()
        offer = f"-f -a {name} -d {_quoted(summary)}"
        lines.append(f"complete -c genrec -n __fish_use_subcommand {offer}\n")
        for flag, words in flag_values(command.arguments).items():
            takes = "" if words is None else f" -x -a {_quoted(words)}" if words else " -r"
            commands_of.setdefault(f"-l {flag.removeprefix('--')}{takes}", []).append(name)
    for offer, names in commands_of.items():
        seen = _quoted(["__fish_seen_subcommand_from", *names])
        lines.append(f"complete -c genrec -n {seen} {offer}\n")
    return "".join(lines)


def _quoted(words: Iterable[str]) -> str:
    return shlex.quote(" ".join(words))


def flag_values(command: type) -> dict[str, list[str] | None]:
    """The flags of a command, each with the words that it takes: none where it takes any text, and
    None where no value follows."""
    return {
        "--" + name.replace("_", "-"): None if kind is bool else _literals(kind)
        for name, (_, kind) in flags_of(command).items()
        if kind is not None
    }


def _literals(kind: Any) -> list[str]:
    """The values of a Literal, or of one that may be None too."""
    if typing.get_origin(kind) is Literal:
        return [*map(str, typing.get_args(kind))]
    union = typing.get_origin(kind) in (typing.Union, UnionType)
    return [word for part in typing.get_args(kind) if union for word in _literals(part)]
