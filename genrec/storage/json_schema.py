"""Checking that a JSON value has the form that its reader relies on."""

import re
from typing import Any

_LARGEST = 1e15
"""Larger numbers are refused; genrec writes none that comes near."""
_LONGEST = 10_000
"""Characters; longer texts are refused, likewise."""


def expect(value: Any, form: Any, where: str = "") -> None:
    """Raises ValueError, whose message names the position, unless a JSON value has a form.

    Args:
        value: the value.
        form: one of
            - `int`, `float` (any number), `str`, `bool`, `dict`, `list`; None; `object`: anything;
            - a tuple of alternative forms;
            - a list with the form of all elements;
            - a dict from names to forms, "?" behind a name that may be missing; other names are
              allowed. Or from a single pattern, which all names must match, to their form.
        where: the position of the value within the file, for the message.
    """
    if isinstance(form, tuple):
        alike = [alternative for alternative in form if _has_type(value, alternative)]
        if not alike:
            raise ValueError(f"{where or 'it'} is {_shown(value)}")
        expect(value, alike[0], where)
    elif not _has_type(value, form):
        raise ValueError(f"{where or 'it'} is {_shown(value)}")
    elif isinstance(form, list):
        for index, element in enumerate(value):
            expect(element, form[0], f"{where}[{index}]")
    elif isinstance(form, dict):
        _expect_names(value, form, where)


def _expect_names(value: dict[str, Any], form: dict[Any, Any], where: str) -> None:
    for name, inner in form.items():
        if isinstance(name, re.Pattern):
            for key, element in value.items():
                if not name.fullmatch(key):
                    raise ValueError(f"{where or 'it'} has the name {_shown(key)}")
                expect(element, inner, f"{where}.{key}"[-80:].lstrip("."))
        elif name.removesuffix("?") in value:
            key = name.removesuffix("?")
            expect(value[key], inner, f"{where}.{key}".lstrip("."))
        elif not name.endswith("?"):
            raise ValueError(f"{where or 'it'} has no {name}")


def _has_type(value: Any, form: Any) -> bool:
    """Whether a value has the type of a form; elements are not looked at."""
    if form is object:
        return True
    if form is None:
        return value is None
    if form is str:
        return isinstance(value, str) and len(value) <= _LONGEST
    if form is float:
        return type(value) in (int, float) and abs(value) <= _LARGEST
    if form is int:
        return type(value) is int and abs(value) <= _LARGEST
    return type(value) is (form if isinstance(form, type) else type(form))


def _shown(value: Any) -> str:
    return f"{value!r:.60}" if isinstance(value, int | float | str) else f"a {type(value).__name__}"
