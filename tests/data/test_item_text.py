"""Text templates: what is filled in, and what is refused."""

import pytest

from genrec.data.text import fill_template, template_fields
from genrec.errors import UserError


@pytest.mark.parametrize(
    ("template", "row", "expected"),
    [
        ("{title}", {"title": "Star Wars"}, "Star Wars"),
        ("{title}. {brand}", {"title": "Soap", "brand": None}, "Soap."),
        ("{title}. {tags}", {"title": "Soap", "tags": ["a", "b"]}, "Soap. a, b"),
        ("{tags}", {"tags": ["a", None, "b"]}, "a, b"),
        ("{tags}", {"tags": []}, ""),
        ("  {title} \n {title}\t", {"title": " two  words "}, "two words two words"),
        ("{year}", {"year": 1995.0}, "1995"),
        ("{price}", {"price": 9.5}, "9.5"),
        ("{price}", {"price": float("nan")}, ""),
        ("{count}", {"count": 0}, "0"),
        ("{{{title}}}", {"title": "x"}, "{x}"),
        ("{title}", {"title": "{brand} {0.__class__}"}, "{brand} {0.__class__}"),
        ("{a column}", {"a column": "x"}, "x"),
        ("no field", {}, "no field"),
        ("", {}, ""),
    ],
)
def test_fills_a_row(template, row, expected):
    columns = {name: [value] for name, value in row.items()}
    assert fill_template(template, columns, 1) == [expected]


def test_every_row_gets_its_own_values():
    columns = {"title": ["a", "b", None], "year": [1, 2, 3]}
    assert fill_template("{title} {year} {title}", columns, 3) == ["a 1 a", "b 2 b", "3"]


def test_no_rows_no_texts():
    assert fill_template("{title}", {"title": []}, 0) == []


def test_fields_are_named_in_order():
    assert template_fields("{b} {{x}} {a}{b}") == ["b", "a", "b"]


@pytest.mark.parametrize(
    "template", ["{title.upper}", "{title[0]}", "{title!r}", "{title:>9}", "{}", "{ }"]
)
def test_only_plain_fields_are_allowed(template):
    with pytest.raises(UserError, match="is not a plain"):
        template_fields(template)


@pytest.mark.parametrize("template", ["{title", "title}", "{a{b}}"])
def test_unbalanced_braces_are_refused(template):
    with pytest.raises(UserError, match=r"data\.text"):
        template_fields(template)
