"""Writes docs/settings.md: every setting with its type, its default and its help.

    python tools/write_settings.py

All of it is read from genrec/config/schema.py and genrec/serving/options.py: the same text
that --help prints.
"""

import argparse
import ast
import dataclasses
import inspect
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

from genrec.config import HOW, Config
from genrec.config.bounds import Bounds
from genrec.serving.options import ServingOptions
from genrec.storage.files import replacing

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"
_HEAD = """# Settings

Written by `python tools/write_settings.py` from `genrec/config/schema.py`; do not edit it by hand.

A setting has the same name everywhere:

- in a config, `model: {d_model: 96}`, where only what differs from the defaults needs to stand;
- on the command line, `--model.d-model 96`, which wins over the config; what is true or false is
  `--model.item-head` or `--model.no-item-head`, and lists are `--tokenizer.codebook-sizes 64 64`;
- from Python, `genrec.load_config("configs/quickstart.yaml", "model.d_model=96")`.

A mistyped name or a value of the wrong type stops a command before it does anything, and so do
settings that do not go together. A run keeps all of its settings in `config.yaml`.

*none* as a default means that the setting is off, or is decided as its text says. Settings marked ○
change how a stage goes about its work and not what comes of it, so a run may go on with another
value of them.
"""
_SERVE = """
## genrec serve

These are flags of `genrec serve` and no part of a config: `--max-batch 16`.
"""
_KINDS = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=PAGE)
    with replacing(parser.parse_args().out) as temporary:
        temporary.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole of docs/settings.md."""
    parts, alone = [_HEAD], []
    for field, kind, help in _settings(Config):
        if not dataclasses.is_dataclass(kind):
            alone.append(_row(field.name, kind, field, help))
            continue
        parts.append(f"\n## {field.name}\n\n{_one_line(inspect.getdoc(kind))}\n\n")
        parts.append(_table(_rows(kind, f"{field.name}.")))
    parts += ["\n## seed\n\n", _table(alone), _SERVE, "\n", _table(_rows(ServingOptions, "--"))]
    return "".join(parts)


def _rows(section: Any, prefix: str) -> list[str]:
    rows = []
    for field, kind, help in _settings(section):
        if dataclasses.is_dataclass(kind):
            rows += _rows(kind, f"{prefix}{field.name}.")
        else:
            name = field.name.replace("_", "-") if prefix == "--" else field.name
            rows.append(_row(prefix + name, kind, field, help))
    return rows


def _settings(section: Any) -> list[tuple[dataclasses.Field, Any, str]]:
    """Each field of a dataclass, its type with its bounds, and the text below it."""
    hints, texts = typing.get_type_hints(section, include_extras=True), _texts(section)
    return [(field, hints[field.name], texts[field.name]) for field in dataclasses.fields(section)]


def _texts(section: Any) -> dict[str, str]:
    """The string that follows each field in the source, which Python itself does not keep."""
    body = ast.parse(inspect.getsource(section)).body[0]
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for statement, after in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            texts[statement.target.id] = _one_line(after.value.value) if documented else ""  # pyright: ignore
    return texts


def _row(name: str, kind: Any, field: dataclasses.Field, help: str) -> str:
    mark = " ○" if name in HOW else ""
    cells = (f"`{name}`{mark}", _kind(kind), _value(field.default), help)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _table(rows: list[str]) -> str:
    return "\n".join(
        ["| setting | what it takes | default | |", "| --- | --- | --- | --- |", *rows, ""]
    )


def _kind(kind: Any) -> str:
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        bounds = [str(each) for each in inside if isinstance(each, Bounds)]
        return ", ".join([_kind(inside[0]), *bounds])
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in inside)
    if origin in (types.UnionType, typing.Union):
        return _kind(next(each for each in inside if each is not type(None)))
    if origin is tuple:
        element, *bounds = _kind(inside[0]).split(", ")
        return ", each ".join([f"list of {element}s", *bounds])
    return _KINDS[kind]


def _value(value: Any) -> str:
    if value is None:
        return "*none*"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


if __name__ == "__main__":
    main()
