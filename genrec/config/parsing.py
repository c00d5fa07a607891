"""Reading settings: a YAML file and the command line become one typed tree.

A YAML file is turned into the arguments that would say the same; those come before the command
line's own, so that files and flags go through one type check and flags win.
"""

import contextlib
import dataclasses
import functools
import io
import logging
import os
import re
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import yaml

from genrec.config.schema import Config
from genrec.errors import UserError, nearest, reason

logger = logging.getLogger(__name__)

_LARGEST_FILE = 1 << 18
_LONGEST_NAME = 200
_HELP = frozenset({"-h", "--help"})


def load_config(path: str | Path, *overrides: str) -> Config:
    """The settings of a YAML file over the defaults, and overrides such as "model.d_model=96".

    Raises:
        UserError: the file can't be read, or a setting is unknown or of the wrong type.
    """
    given = (part for each in overrides for part in _flag(each))
    return _config((*file_arguments(Path(path)), *given))


@functools.lru_cache(64)
def _config(arguments: tuple[str, ...]) -> Config:
    """It takes a tenth of a second, and commands read the same file several times."""
    return parse(Config, [*arguments])


def dump_config(config: Config) -> str:
    """Every setting as YAML, such that `load_config` reads the same back."""
    tree = dataclasses.asdict(config, dict_factory=_lists_for_tuples)
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def differences(before: Any, now: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """The settings in which two trees differ: dotted name, old and new value."""
    if not dataclasses.is_dataclass(now):
        return [(name, before, now)] if before != now else []
    return [
        difference
        for field in dataclasses.fields(now)
        for difference in differences(
            getattr(before, field.name),
            getattr(now, field.name),
            f"{name}.{field.name}" if name else field.name,
        )
    ]


def file_arguments(path: Path, section: str | None = None) -> list[str]:
    """A YAML file's settings as arguments, each checked to be a setting of the right type.

    With a section, only that one's are returned.

    Raises:
        UserError: the file can't be read, or a setting is unknown or of the wrong type.
    """
    tree = _read_yaml(path)
    if not isinstance(tree, dict | None):
        raise UserError(f"{path} should hold settings by name, such as `model: {{d_model: 96}}`")
    try:
        arguments = list(_arguments(tree or {}))
    except (UserError, ValueError) as error:
        raise UserError(f"{path}: {reason(error)}") from None
    try:
        _config(tuple(arguments))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if section is not None:
        return list(_arguments({section: (tree or {}).get(section, {})}))
    return arguments


def over(settings: list[str], target: Path, arguments: list[str]) -> list[str]:
    """Arguments with a file's settings under them.

    The target goes first, lest the last list of the file swallows it; flags go last and win.
    """
    logger.debug("settings of %s: %s", target, " ".join(settings) or "none")
    place = next(n for n, argument in enumerate(arguments) if Path(argument) == target)
    return [str(target), *settings, *arguments[:place], *arguments[place + 1 :]]


def parse(command: type, arguments: list[str], name: str = "") -> Any:
    """An instance of the dataclass `command` from command-line arguments; `name` is for its help.

    Raises:
        UserError: an argument is unknown, missing, or of the wrong type.
        SystemExit: help was asked for, and printed.
    """
    import tyro  # takes a quarter of a second, which `import genrec` should not

    if os.environ.get("NO_COLOR"):
        tyro._experimental_options["ansi_codes"] = False
    _refuse_unknown(command, arguments)
    # In a help only: the command says itself what it is for, and null is a value for files.
    help_only = {"description": "", "config": (tyro.conf.DisallowNone,)}
    options = {} if _HELP.isdisjoint(arguments) else help_only
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(command, args=arguments, prog=f"genrec {name}".strip(), **options)
    except SystemExit as stop:
        if stop.code == 0:
            raise
        raise UserError(_one_line(complaint.getvalue())) from None


@functools.cache
def flags(command: type, prefix: str = "") -> dict[str, Any]:
    """Every flag of a command, without its dashes: its dotted name and type, None for a section."""
    from tyro.conf import Positional

    (positional,) = typing.get_args(Positional[str])[1:]
    names = {}
    for name, annotated in typing.get_type_hints(command, include_extras=True).items():
        kind, *tags = (
            typing.get_args(annotated) if typing.get_origin(annotated) is Annotated else [annotated]
        )
        if dataclasses.is_dataclass(kind):
            # A section with tags has its fields at the top level.
            below = prefix if tags else f"{prefix}{name}."
            names |= ({} if tags else {prefix + name: None}) | flags(kind, below)
        elif positional not in tags:
            names[prefix + name] = kind
            aliases = [alias for tag in tags for alias in getattr(tag, "aliases", None) or ()]
            long = [alias for alias in aliases if alias.startswith("--")]
            names |= {alias.strip("-").replace("-", "_"): kind for alias in long}
    return names


def _read_yaml(path: Path) -> Any:
    """What a file holds; it may be a tree in which branches are the same many times over."""
    try:
        with path.open("rb") as stream:
            contents = stream.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except OSError as error:
        raise UserError(f"{path} can't be read: {reason(error)}") from error
    if len(contents) > _LARGEST_FILE:
        raise UserError(
            f"{path} is larger than {_LARGEST_FILE // 1024} KiB: no file of settings is"
        )
    try:
        return yaml.safe_load(contents.decode())
    except RecursionError as error:
        raise UserError(f"{path} can't be read: it is nested too deeply") from error
    except Exception as error:  # what its parsers of numbers, dates and so on raise comes through
        said = " ".join(str(error).split())[:400]
        raise UserError(f"{path} can't be read: {said or type(error).__name__}") from error


def _arguments(tree: dict[Any, Any], prefix: str = "") -> Iterator[str]:
    """The arguments that a tree says; ValueError where it is of another form than settings."""
    known = flags(Config)
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if not isinstance(key, str) or not name.isprintable() or len(name) > _LONGEST_NAME:
            raise ValueError(f"{str(name)[:60]!r} is no name of a setting")
        if isinstance(value, dict):
            if known.get(name, "") is not None:  # no section, so what is in it is not looked at
                inner = "".join(f".{key}"[:_LONGEST_NAME] for key in list(value)[:1])
                _refuse_unknown(Config, [f"--{name}{inner}"])
                raise ValueError(f"{name} is one setting, but holds several by name")
            yield from _arguments(value, f"{name}.")
        elif isinstance(value, bool):
            yield f"--{name}" if value else f"--{prefix}no-{key}"
        elif isinstance(value, list):
            if any(isinstance(each, dict | list | tuple | set) for each in value):
                raise ValueError(f"{name} should be a plain list")
            yield from (f"--{name}", *map(str, value))
        else:
            if isinstance(value, bytes | set | tuple):
                raise ValueError(f"{name} is a {type(value).__name__}, which no setting is")
            yield f"--{name}={value}"


def _flag(override: str) -> list[str]:
    """The arguments that say the same as "model.d_model=96", "model.item_head=true" or
    "tokenizer.hidden=[256, 128]"."""
    name, _, value = override.partition("=")
    if value in ("true", "false"):
        return [f"--{name}" if value == "true" else f"--{_negated(name)}"]
    if value.startswith("[") and value.endswith("]"):
        return [f"--{name}", *value[1:-1].replace(",", " ").split()]
    return [f"--{override}"]


def _refuse_unknown(command: type, arguments: Iterable[str]) -> None:
    known = flags(command)
    for argument in arguments:
        if not argument.startswith("--") or argument == "--help":
            continue
        given = argument.removeprefix("--").split("=")[0].replace("-", "_")
        name = re.sub(r"(^|\.)no_(?=[^.]*$)", r"\1", given) if given not in known else given
        if name in known:
            if known[name] is None:
                raise UserError(f"{name} is a section; its settings are {_inside(known, name)}")
            if name != given and known[name] is not bool:
                raise UserError(f"{given}: only a setting that is true or false can be negated")
            if known[name] is bool and "=" in argument:
                raise UserError(f"{name} is true or false: write --{name} or --{_negated(name)}")
            continue
        near = f"; the nearest is {nearest(name, known)[0]}" if known else ""
        raise UserError(f"unknown setting {given}{near}")


def _inside(known: dict[str, Any], section: str) -> str:
    return ", ".join(name for name in known if name.startswith(f"{section}."))


def _negated(name: str) -> str:
    section, dot, leaf = name.rpartition(".")
    return f"{section}{dot}no-{leaf}"


def _one_line(box: str) -> str:
    """The first paragraph of a complaint that is drawn as a box, which says what is wrong."""
    lines = [line.strip(" │") for line in box.splitlines() if "╭" not in line]
    rule = next((n for n, line in enumerate(lines) if set(line) <= set("─╰╯ ")), len(lines))
    return " ".join(lines[:rule]).removeprefix("Error parsing ").removeprefix("--").strip()


def _lists_for_tuples(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in pairs}
