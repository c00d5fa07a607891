"""Scripts that complete commands, flags and their values in a shell.

They hold all that they need, so that a press of Tab starts nothing. Where neither a command nor a
flag nor one of a setting's values fits, the shell offers file names.
"""

import shlex
import typing
from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal

from genrec.cli.arguments import ResultFlags
from genrec.cli.commands import COMMANDS
from genrec.cli.parsing import flags_of, negated

_WITHOUT_NEGATION = frozenset(flags_of(ResultFlags))
"""Flags that are off unless given, so that nobody negates them."""


def script(shell: str) -> str:
    """A script for "bash", "zsh" or "fish"."""
    if shell == "fish":
        return _fish()
    # Zsh reads what bash does, once its compdef is there.
    before = "autoload -Uz compinit bashcompinit\n"
    before += "(( $+functions[compdef] )) || compinit\nbashcompinit\n"
    return (before if shell == "zsh" else "") + _bash()


def _bash() -> str:
    values = {
        flag: words
        for command in COMMANDS.values()
        for flag, words in _values(command.arguments).items()
    }
    of_flags = "\n".join(
        f"        {flag}) words={shlex.quote(' '.join(words))} ;;" for flag, words in values.items()
    )
    of_commands = "\n".join(
        f"        {name}) words={shlex.quote(' '.join(_words(command.arguments)))} ;;"
        for name, command in COMMANDS.items()
    )
    return f"""\
_genrec() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} words=
    # --flag=value comes as three words.
    [[ $before == = ]] && before=${{COMP_WORDS[COMP_CWORD - 2]}}
    [[ $word == = ]] && word=
    case ${{before//_/-}} in
{of_flags}
    esac
    if [[ $COMP_CWORD == 1 ]]; then
        words={shlex.quote(" ".join([*COMMANDS, "--help", "--version"]))}
    elif [[ -z $words && ($word == -* || ${{COMP_WORDS[1]}} == completion) ]]; then
        case ${{COMP_WORDS[1]}} in
{of_commands}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o bashdefault -o default -F _genrec genrec
"""


def _fish() -> str:
    lines = []
    for name, command in COMMANDS.items():
        summary = (command.arguments.__doc__ or "").partition("\n\n")[0]
        described = shlex.quote(" ".join(summary.split()))
        lines.append(f"complete -c genrec -n __fish_use_subcommand -f -a {name} -d {described}")
    commands_of: dict[tuple[str, str], list[str]] = {}  # by flag, and what it takes
    for name, command in COMMANDS.items():
        values = _values(command.arguments)
        if words := _argument(command.arguments):
            seen = shlex.quote(f"__fish_seen_subcommand_from {name}")
            lines.append(f"complete -c genrec -n {seen} -f -a {shlex.quote(' '.join(words))}")
        for flag, takes_value in _flags(command.arguments):
            words = f" -x -a {shlex.quote(' '.join(values[flag]))}" if flag in values else ""
            commands_of.setdefault((flag, words or " -r" * takes_value), []).append(name)
    for (flag, takes), names in commands_of.items():
        seen = shlex.quote(f"__fish_seen_subcommand_from {' '.join(names)}")
        lines.append(f"complete -c genrec -n {seen} -l {flag.removeprefix('--')}{takes}")
    return "\n".join(lines) + "\n"


def _words(command: type) -> list[str]:
    """What may follow a command: the values of its argument, and its flags."""
    return [*_argument(command), *(flag for flag, _ in _flags(command)), "--help"]


def _argument(command: type) -> list[str]:
    """The values of an argument without a flag, where they are a few words."""
    kinds = typing.get_type_hints(command)
    return [
        word for name in kinds.keys() - flags_of(command).keys() for word in _literals(kinds[name])
    ]


def _flags(command: type) -> Iterator[tuple[str, bool]]:
    """The flags of a command, and whether a value follows."""
    for name, (_, kind) in flags_of(command).items():
        if kind is not None:
            yield _written(name), kind is not bool
        if kind is bool and name not in _WITHOUT_NEGATION:
            yield _written(negated(name)), False


def _values(command: type) -> dict[str, list[str]]:
    """The flags whose values are a few words, and these."""
    flags = {_written(name): _literals(kind) for name, (_, kind) in flags_of(command).items()}
    return {flag: words for flag, words in flags.items() if words}


def _literals(kind: Any) -> list[str]:
    """The values of a Literal, or of one that may be None too."""
    if typing.get_origin(kind) is Literal:
        return [*map(str, typing.get_args(kind))]
    union = typing.get_origin(kind) in (typing.Union, UnionType)
    return [word for each in typing.get_args(kind) if union for word in _literals(each)]


def _written(name: str) -> str:
    return "--" + name.replace("_", "-")
