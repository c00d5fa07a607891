"""An item's text: a template such as "{title}. {brand}" filled with the columns of its row."""

from collections.abc import Iterable, Mapping, Sequence
from string import Formatter
from typing import Any

from genrec.errors import UserError


def template_fields(template: str) -> list[str]:
    """The columns that a template names, in order.

    Only plain `{column}` fields are allowed; UserError for anything else that `str.format` knows
    (attributes, indices, conversions, format specifications) and for unbalanced braces.
    """
    return [field for _, field in _parts(template) if field is not None]


def fill_template(template: str, columns: Mapping[str, Sequence[Any]], rows: int) -> list[str]:
    """One text per row: the template with each field replaced by the row's value.

    Args:
        template: see `template_fields`; every field is a key of `columns`.
        columns: each of `rows` values; a null becomes empty, a list is joined with ", ".
        rows: the number of texts.

    Runs of white space in the result become one space, and its ends are stripped.
    """
    parts = _parts(template)
    pieces: list[Iterable[str]] = [[""] * rows]
    for literal, field in parts:
        pieces.append([literal] * rows)
        if field is not None:
            pieces.append(map(as_text, columns[field]))
    return [" ".join("".join(row).split()) for row in zip(*pieces, strict=True)]


def _parts(template: str) -> list[tuple[str, str | None]]:
    """The literals of a template, each with the field that follows it."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise UserError(f"data.text: {template!r} is no template: {error}") from error
    for _, field, specification, conversion in parts:
        if field is not None and (specification or conversion or not _is_plain(field)):
            raise UserError(
                f"data.text: a field of {template!r} is not a plain {{column}}: "
                f"write only column names between braces, and {{{{ }}}} for braces"
            )
    return [(literal, field) for literal, field, _, _ in parts]


def _is_plain(field: str) -> bool:
    return field.strip() != "" and not any(sign in field for sign in ".[]")


def as_text(value: Any) -> str:
    """A cell of a table as it is shown: a null is empty, a list is joined with ", "."""
    if value is None or value != value:
        return ""
    if isinstance(value, list):
        return ", ".join(filter(None, map(as_text, value)))
    # Whole numbers with gaps are stored as floats by many tools; 1995.0 is the year 1995.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
