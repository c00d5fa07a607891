"""Reading settings: a YAML file and overrides become one typed tree, and the tree YAML again."""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from genrec.config.schema import Config
from genrec.errors import UserError, nearest, reason

_LARGEST_FILE = 1 << 18
_LONGEST_NAME = 200
_LARGEST_BITS = 63
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
    settings = read_settings(Path(path))
    for override in overrides:
        name, value = _read_override(override)
        settings[name] = value
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
    values: dict[str, Any] = {}
    for name, value in settings.items():
        section, dot, rest = name.partition(".")
        if dot:
            values.setdefault(section, {})[rest] = value
        else:
            values[section] = value
    for name, value in values.items():
        if dataclasses.is_dataclass(before := getattr(tree, name)):
            values[name] = with_settings(before, value)
    return dataclasses.replace(tree, **values)


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


@functools.cache
def setting_types(section: type = Config, prefix: str = "") -> dict[str, Any]:
    """Every setting's type by dotted name; None for a section."""
    found = {}
    for name, kind in typing.get_type_hints(section).items():
        if dataclasses.is_dataclass(kind):
            found |= {prefix + name: None} | setting_types(kind, f"{prefix}{name}.")
        else:
            found[prefix + name] = kind
    return found


def typed(name: str, kind: Any, value: Any) -> Any:
    """The value of a setting as its type `kind`, from what YAML makes of it, or from text.

    Raises:
        UserError: it cannot be of that type.
    """
    if _is_optional(kind):
        return None if value in (None, "None") else typed(name, _without_none(kind), value)
    if typing.get_origin(kind) is tuple:
        element = typing.get_args(kind)[0]
        if not isinstance(value, list):
            return (typed(name, element, value),)
        return tuple(typed(f"{name}[{n}]", element, each) for n, each in enumerate(value))
    try:
        return _scalar(kind, value)
    except (ValueError, OverflowError):
        words = typing.get_args(kind)
        wanted = f"{', '.join(words[:-1])} or {words[-1]}" if words else _TYPES[kind]
        raise UserError(f"{name} should be {wanted}, but is {_shown(value)}") from None


def _is_optional(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _without_none(kind: Any) -> Any:
    """The type of a setting that may be None too."""
    kinds = typing.get_args(kind) if _is_optional(kind) else [kind]
    return next(each for each in kinds if each is not types.NoneType)


def is_list(kind: Any) -> bool:
    """Whether a setting of this type takes several values."""
    return typing.get_origin(_without_none(kind)) is tuple


def _scalar(kind: Any, value: Any) -> Any:
    """A value as a plain type or one of a Literal's words; ValueError where it is none."""
    if kind is bool and isinstance(value, bool):
        return value
    if kind is bool and value in ("true", "false"):
        return value == "true"
    if kind is bool or isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError
    if kind is int and isinstance(value, float):
        raise ValueError
    if typing.get_origin(kind) is Literal:
        if value not in typing.get_args(kind):
            raise ValueError
        return value
    converted = kind(value)
    if kind is float and not math.isfinite(converted):
        raise ValueError
    if kind is int and converted.bit_length() > _LARGEST_BITS:
        raise ValueError
    return converted


def _shown(value: Any) -> str:
    """A value for a complaint; of a text its beginning, and nothing of what may be huge."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, int) and value.bit_length() > _LARGEST_BITS:
        return "a number of very many digits"
    if isinstance(value, str | int | float):
        return f"{value!r:.60}"
    return "several settings by name" if isinstance(value, dict) else f"a {type(value).__name__}"


def _settings_in(tree: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The settings in a tree of sections, each with its dotted name and typed value."""
    for key, value in tree.items():
        if not isinstance(key, str) or not key.isprintable() or len(key) > _LONGEST_NAME:
            raise UserError(f"{prefix}{_shown(key)} is no name of a setting")
        name = f"{prefix}{key}".replace("-", "_")
        kind = _type_of(name, section=isinstance(value, dict))
        if kind is not None:
            yield name, typed(name, kind, value)
        elif isinstance(value, dict):
            yield from _settings_in(value, f"{name}.")
        elif value is not None:
            raise UserError(is_section(name, setting_types()))


def _read_override(override: str) -> tuple[str, Any]:
    """The dotted name and the value that "model.d_model=96" gives to a setting."""
    name, equals, text = override.partition("=")
    name = name.replace("-", "_")
    kind = _type_of(name)
    if kind is None:
        raise UserError(is_section(name, setting_types()))
    if not equals and kind is not bool:
        raise UserError(f"{name} needs a value, as in {name}=…")
    value: Any = text if equals else True
    if text == "null":
        value = None
    elif is_list(kind):
        value = text.strip("[]").replace(",", " ").split()
    return name, typed(name, kind, value)


def _type_of(name: str, *, section: bool = False) -> Any:
    """A setting's type; None for a section. Of a wrong name, the nearest section or setting is
    told."""
    known = setting_types()
    if name not in known:
        raise UserError(unknown(name, [one for one in known if (known[one] is None) == section]))
    return known[name]


def unknown(name: str, known: Iterable[str]) -> str:
    """The complaint about a setting that is not known."""
    near = nearest(name, known)
    return f"unknown setting {name}" + "".join(f"; the nearest is {other}" for other in near)


def is_section(name: str, known: Iterable[str]) -> str:
    """The complaint about a section that was given a value."""
    inside = ", ".join(other for other in known if other.startswith(f"{name}."))
    return f"{name} is a section; its settings are {inside}"


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


def _lists_for_tuples(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in pairs}
