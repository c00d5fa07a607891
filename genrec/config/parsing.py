"""Reading settings: a YAML file and overrides become one typed tree, and the tree YAML again."""

import dataclasses
import functools
import json
import math
import operator
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from genrec.config.schema import Config
from genrec.errors import UserError, nearest, reason

_LARGEST_FILE = 1 << 18
_LONGEST_NAME = 200
_TYPES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path",
}


def load_config(path: str | Path, *overrides: str) -> Config:
    """The settings of a YAML file over the defaults, and overrides such as "model.d_model=96",
    "model.item_head=true" or "tokenizer.hidden=[256, 128]".

    Raises:
        UserError: the file can't be read, or a setting is unknown or of the wrong type.
    """
    settings = read_settings(Path(path)) | dict(map(_read_override, overrides))
    return with_settings(Config(), settings)


def read_settings(path: Path) -> dict[str, Any]:
    """The settings that a YAML file names, by dotted name, each of its type.

    Raises:
        UserError: the file can't be read, or a setting is unknown or of the wrong type.
    """
    tree = _read_yaml(path)
    if not isinstance(tree, dict | None):
        raise UserError(f"{path} should hold settings by name, such as `model: {{d_model: 96}}`")
    try:
        return dict(_settings_in(tree or {}))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def with_settings(tree: Any, settings: Mapping[str, Any]) -> Any:
    """A tree of settings in which those that are named, by dotted name, have other values."""
    for name, value in settings.items():
        section, dot, rest = name.partition(".")
        if dot:
            value = with_settings(getattr(tree, section), {rest: value})
        tree = dataclasses.replace(tree, **{section: value})
    return tree


def dump_config(config: Config) -> str:
    """Every setting as YAML, such that `load_config` reads the same back."""
    tree = json.loads(json.dumps(dataclasses.asdict(config)))  # with lists for tuples
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def differences(before: Config, now: Config) -> list[tuple[str, Any, Any]]:
    """The settings in which two trees differ: dotted name, old and new value."""
    names = [name for name, kind in setting_types().items() if kind is not None]
    values = [(name, setting(before, name), setting(now, name)) for name in names]
    return [(name, old, new) for name, old, new in values if old != new]


def setting(tree: Any, name: str) -> Any:
    """The value of a setting in a tree, by its dotted name."""
    return operator.attrgetter(name)(tree)


@functools.cache
def setting_types(section: type = Config, prefix: str = "") -> dict[str, Any]:
    """Every setting's type by dotted name; None for a section."""
    kinds = {}
    for name, kind in typing.get_type_hints(section).items():
        if dataclasses.is_dataclass(kind):
            kinds |= {prefix + name: None} | setting_types(kind, f"{prefix}{name}.")
        else:
            kinds[prefix + name] = kind
    return kinds


def type_of(name: str, kinds: Mapping[str, Any], *, section: bool = False) -> Any:
    """A setting's type among those of all; None for a section, if one may stand there.

    Raises:
        UserError: there is no such setting, and which is the nearest; or it is a section.
    """
    if name not in kinds:
        alike = nearest(name, [other for other in kinds if (kinds[other] is None) == section])
        raise UserError(f"unknown setting {name}" + "; the nearest is ".join(["", *alike]))
    if kinds[name] is None and not section:
        inside = [other for other in kinds if other.startswith(f"{name}.")]
        raise UserError(f"{name} is a section; its settings are {', '.join(inside)}")
    return kinds[name]


def typed(name: str, kind: Any, value: Any) -> Any:
    """The value of a setting as its type `kind`, from what YAML makes of it, or from text.

    Raises:
        UserError: it cannot be of that type.
    """
    inside = typing.get_args(kind)
    if types.NoneType in inside:
        return None if value in (None, "None") else typed(name, inside[0], value)
    if is_list(kind):
        if not isinstance(value, list):
            return (typed(name, inside[0], value),)
        return tuple(typed(f"{name}[{n}]", inside[0], each) for n, each in enumerate(value))
    try:
        return _converted(kind, value)
    except ValueError:
        wanted = f"{', '.join(inside[:-1])} or {inside[-1]}" if inside else _TYPES[kind]
        raise UserError(f"{name} should be {wanted}, but is {_shown(value)}") from None


def is_list(kind: Any) -> bool:
    """Whether a setting of this type takes several values."""
    return tuple in (typing.get_origin(each) for each in (kind, *typing.get_args(kind)))


def _converted(kind: Any, value: Any) -> Any:
    """A value as a plain type, or one of a Literal's words; ValueError where it is none."""
    if kind is bool and str(value) in ("True", "true", "False", "false"):
        return str(value).lower() == "true"
    if kind is bool or isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError
    if words := typing.get_args(kind):
        return words[words.index(value)]
    converted = kind(str(value))  # by way of text, lest 96.5 becomes a whole number
    if kind is float and not math.isfinite(converted):
        raise ValueError
    return converted


def _shown(value: Any) -> str:
    """A value for a complaint; of a text its beginning, and nothing of what may be huge."""
    if isinstance(value, int | None) and (value is None or abs(value) < 1e60):
        return yaml.safe_dump(value).split()[0]
    if isinstance(value, int):
        return "a number of very many digits"
    if isinstance(value, str | float):
        return f"{value!r:.60}"
    return "several settings by name" if isinstance(value, dict) else f"a {type(value).__name__}"


def _settings_in(tree: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The settings in a tree of sections, each with its dotted name and typed value."""
    for key, value in tree.items():
        if not isinstance(key, str) or not key.isprintable() or len(key) > _LONGEST_NAME:
            raise UserError(f"{prefix}{_shown(key)} is no name of a setting")
        name = f"{prefix}{key}".replace("-", "_")
        kind = type_of(name, setting_types(), section=isinstance(value, dict | None))
        if kind is not None:
            yield name, typed(name, kind, value)
        else:
            yield from _settings_in(value or {}, f"{name}.")


def _read_override(override: str) -> tuple[str, Any]:
    """The dotted name and the value that "model.d_model=96" gives to a setting."""
    name, equals, text = override.partition("=")
    name = name.replace("-", "_")
    kind = type_of(name, setting_types())
    if not equals and kind is not bool:
        raise UserError(f"{name} needs a value, as in {name}=…")
    value: Any = text if equals else True
    if text == "null":
        value = None
    elif is_list(kind):
        value = text.strip("[]").replace(",", " ").split()
    return name, typed(name, kind, value)


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
        message = " ".join(str(error).split())[:400] or type(error).__name__
        raise UserError(f"{path} can't be read: {message}") from error
