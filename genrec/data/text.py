"""An item's text: a template such as "{title}. {brand}" filled with the columns of its row."""

from collections.abc import Iterable, Mapping, Sequence
from string import Formatter
from typing import Any

from genrec.errors import UserError


def template_fields(template: str) -> list[str]:
    """The columns that a template names, in order.

    Raises:
        UserError: braces are unbalanced, or a field is not a plain `{column}` (`str.format` also
            knows attributes, indices, conversions and format specifications).
    """
    return [field for _, field in _parts(template) if field is not None]


def fill_template(template: str, columns: Mapping[str, Sequence[Any]], rows: int) -> list[str]:
    """One text per row: the template with each field replaced by the row's value.

    Runs of white space become one space, and the ends are stripped.

    Args:
        template: see `template_fields`; every field is a key of `columns`.
        columns: `rows` values by name of the column, see `as_text`.
    """
    pieces: list[Iterable[str]] = [[""] * rows]
    for literal, field in _parts(template):
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
        plain = field is None or (field.strip() != "" and not set(field) & set(".[]"))
        if specification or conversion or not plain:
            raise UserError(
                f"data.text: a field of {template!r} is not a plain {{column}}: "
                f"write only column names between braces, and {{{{ }}}} for braces"
            )
    return [(literal, field) for literal, field, _, _ in parts]


def as_text(value: Any) -> str:
    """A cell of a table as text: a null is empty, a list is joined with ", "."""
    if value is None or value != value:
        return ""
    if isinstance(value, list):
        return ", ".join(filter(None, map(as_text, value)))
    # Whole numbers with gaps are stored as floats by many tools; 1995.0 is the year 1995.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
