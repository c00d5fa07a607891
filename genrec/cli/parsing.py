"""The command line: arguments to the dataclass of a command, and the flags that were given."""

import contextlib
import dataclasses
import functools
import inspect
import io
import itertools
import logging
import os
import shutil
import textwrap
import typing
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from genrec.config import Config
from genrec.config.parsing import (
    is_list,
    read_settings,
    setting,
    setting_types,
    type_of,
    typed,
    with_settings,
)
from genrec.errors import UserError

logger = logging.getLogger(__name__)

_HELP = frozenset({"-h", "--help"})


class Flag(NamedTuple):
    """What a flag stands for: the dotted name of an argument, and its type; None for a section."""

    name: str
    kind: Any


def about(command: type) -> str:
    """What a command is for, as wide as the terminal, and its examples: the paragraphs of its
    docstring, one and then those that begin with "Example:"."""
    text, *examples = (inspect.getdoc(command) or "").split("\n\nExample: ")
    columns = shutil.get_terminal_size().columns
    wrapped = textwrap.fill(" ".join(text.split()), columns)
    return "\n  ".join([f"{wrapped}\n\nFor example", *examples]) + "\n\n"


def parse(command: type, arguments: list[str], name: str = "") -> tuple[Any, frozenset[str]]:
    """An instance of the dataclass `command` from command-line arguments; `name` is for its help.

    Returns:
        The instance, and the dotted names of the flags that were given.

    Raises:
        UserError: an argument is unknown, missing, or of the wrong type.
        SystemExit: help was asked for, and printed.
    """
    import tyro

    if os.environ.get("NO_COLOR"):
        tyro._experimental_options["ansi_codes"] = False
    named = frozenset(_named(command, arguments))
    # In a help only: the command says itself what it is for, and null is a value for files.
    help_only = {"description": "", "config": (tyro.conf.DisallowNone,)}
    options = {} if _HELP.isdisjoint(arguments) else help_only
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            instance = tyro.cli(command, args=arguments, prog=f"genrec {name}".strip(), **options)
    except SystemExit as stop:
        if stop.code == 0:
            raise
        raise UserError(_one_line(complaint.getvalue())) from None
    return instance, named


def settings_under(file: Path, command: Any, named: Collection[str]) -> Config:
    """The settings of a file, but for those that the command line names, which win.

    Args:
        command: the instance that `parse` returned, or the part of it that has the settings.
        named: the flags that were given, as `parse` returned them.

    Raises:
        UserError: the file can't be read, or a setting in it is unknown or of the wrong type.
    """
    settings = read_settings(file)
    logger.debug("settings of %s: %s", file, ", ".join(settings) or "none")
    flags = {name: setting(command, name) for name in settings_among(named)}
    return with_settings(Config(), settings | flags)


def settings_among(named: Collection[str]) -> list[str]:
    """Those of the flags that are settings."""
    return [name for name in named if name in setting_types()]


@functools.cache
def flags_of(command: type, prefix: str = "") -> dict[str, Flag]:
    """Every flag of a command, as it is written without its dashes, with those that turn one off;
    and sections likewise."""
    from tyro.conf import FlagCreatePairsOff, Positional

    (positional,) = typing.get_args(Positional[str])[1:]
    kinds, flags = typing.get_type_hints(command), {}
    for name, annotated in typing.get_type_hints(command, include_extras=True).items():
        tags = getattr(annotated, "__metadata__", ())
        flag = Flag(prefix + name, kinds[name])
        if dataclasses.is_dataclass(flag.kind):
            # A section with tags has its fields at the top level.
            flags |= {} if tags else {flag.name: Flag(flag.name, None)}
            flags |= flags_of(flag.kind, prefix if tags else f"{flag.name}.")
        elif positional not in tags:
            aliases = [alias for tag in tags for alias in getattr(tag, "aliases", None) or ()]
            long = [alias for alias in aliases if alias.startswith("--")]
            names = [flag.name, *(alias.strip("-").replace("-", "_") for alias in long)]
            flags |= dict.fromkeys(names, flag)
            if flag.kind is bool and FlagCreatePairsOff not in tags:
                flags[negated(flag.name)] = flag
    return flags


def _named(command: type, arguments: list[str]) -> Iterator[str]:
    """The dotted names of the flags among the arguments.

    Raises:
        UserError: a flag is unknown, or its value is of another type.
    """
    flags = flags_of(command)
    kinds = {name: flag.kind for name, flag in flags.items()}
    for position, argument in enumerate(arguments):
        if not argument.startswith("--") or argument == "--help":
            continue
        written, equals, value = argument.removeprefix("--").partition("=")
        name = written.replace("-", "_")
        kind = type_of(name, kinds)
        if kind is bool and equals:
            name = flags[name].name
            raise UserError(f"{name} is true or false: write --{name} or --{negated(name)}")
        values = [value] if equals else [*itertools.takewhile(_is_value, arguments[position + 1 :])]
        if values and kind is not bool:
            typed(name, kind, values if is_list(kind) and len(values) > 1 else values[0])
        yield flags[name].name


def _is_value(argument: str) -> bool:
    """Whether an argument is no flag, as far as can be told without tyro."""
    return not argument.startswith("-") or argument[1:2].isdigit()


def negated(name: str) -> str:
    """The flag that turns another one off: model.no_item_head."""
    section, dot, leaf = name.rpartition(".")
    return f"{section}{dot}no_{leaf}"


def _one_line(box: str) -> str:
    """The first paragraph of a complaint that is drawn as a box, which says what is wrong."""
    lines = [line.strip(" │") for line in box.splitlines() if "╭" not in line]
    rule = next((n for n, line in enumerate(lines) if set(line) <= set("─╰╯ ")), len(lines))
    return " ".join(lines[:rule]).removeprefix("Error parsing ").removeprefix("--").strip()
