"""Forms that a value of JSON may have, and the place that a complaint names."""

import re

import pytest

from genrec.storage.json_schema import expect

NAME = re.compile(r"[a-z]{1,3}")


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (7, range(8)),
        ("a", {"a", "b"}),
        ("abc", NAME),
        ([[1, "a"], [2, "b"]], [[int, {"a", "b"}]]),
        ([], [int]),
        ([1, "a"], list),
        (None, ({"a": int}, None)),
        ({"a": 1, "more": 2}, {"a": int, "b?": int}),
        ({"x": 0.5, "y": 1}, {NAME: float}),
    ],
)
def test_what_has_its_form(value, form):
    expect(value, form)


@pytest.mark.parametrize(
    ("value", "form", "message"),
    [
        (8, range(8), "it is 8"),
        (1.0, range(8), r"it is 1\.0"),
        (True, range(8), "it is True"),
        ("c", {"a", "b"}, "it is 'c'"),
        (["a"], {"a", "b"}, "it is a list"),
        ("abcd", NAME, "it is 'abcd'"),
        (5, NAME, "it is 5"),
        ({"a": [1, 2, -1]}, {"a": [range(9)]}, r"a\[2\] is -1"),
        ([[1]], [[int, str]], r"\[0\] has 1 elements"),
        ([["a", 1]], [[int, str]], r"\[0\]\[0\] is 'a'"),
        ({"a": "x"}, {"a": (int, None)}, "a is 'x'"),
        ({}, {"a": int}, "it has no a"),
        ({"a": {"A": 1}}, {"a": {NAME: int}}, "a has the name 'A'"),
        (float("nan"), float, "it is nan"),
        (1 << 70, int, "it is 1180"),
        ("x" * 10_001, str, "it is 'xxx"),
    ],
)
def test_what_has_another(value, form, message):
    with pytest.raises(ValueError, match=message):
        expect(value, form)
