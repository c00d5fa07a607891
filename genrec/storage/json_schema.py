"""Whether what a JSON file holds has the form that its reader relies on."""

import re
from typing import Any

ANY = re.compile(r"(?s).+")
"""The form of the names of a dict, and of its texts, that may be anything but empty."""
_LARGEST = 1e15
"""A number may be as large; genrec writes none that comes near."""
_LONGEST = 10_000
"""Characters of a text, likewise."""


def expect(value: Any, form: Any, where: str = "") -> None:
    """Raises ValueError, which says where, unless a value of JSON has a form.

    A form is one of these:
    - `int`, `float` (any number), `str`, `bool`, `list`, None, or `object` for anything;
    - a range that has to contain the number, a set that has to contain the text, or a pattern that
      has to match all of the text;
    - a tuple of forms, one of which the value must have;
    - a list of one form, which all elements must have; or of two or more forms, of as many
      elements;
    - a dict of names, each with its form (with "?" behind a name that may be missing); or with a
      pattern as its only key, which all names must match. There may be names that it does not
      mention.
    """
    alternatives = form if isinstance(form, tuple) else (form,)
    fitting = [one for one in alternatives if _alike(value, one)]
    if not fitting:
        raise ValueError(f"{where or 'it'} is {_shown(value)}")
    form = fitting[0]
    if isinstance(form, list):
        if len(form) > 1 and len(value) != len(form):
            raise ValueError(f"{where or 'it'} has {len(value)} elements")
        for number, element in enumerate(value):
            expect(element, form[number % len(form)], f"{where}[{number}]")
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


def _alike(value: Any, form: Any) -> bool:
    """Whether it is of the kind, whatever is inside of it."""
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
    if isinstance(form, range):
        return type(value) is int and value in form
    if isinstance(form, set):
        return isinstance(value, str) and value in form
    if isinstance(form, re.Pattern):
        return isinstance(value, str) and form.fullmatch(value) is not None
    return type(value) is (form if isinstance(form, type) else type(form))


def _shown(value: Any) -> str:
    return f"{value!r:.60}" if isinstance(value, int | float | str) else f"a {type(value).__name__}"
