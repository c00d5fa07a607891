import numpy as np
import pytest

from genrec.report.codes import codebook_use, collisions

CODES = np.array([[0, 0], [0, 0], [0, 1], [1, 0], [1, 0], [1, 0]])


def test_items_of_the_same_codes_are_a_group():
    groups = collisions(CODES, list("abcdef"))
    assert groups["sizes"] == [
        {"size": size, "groups": 1, "bar": pytest.approx(size / 6)} for size in (1, 2, 3)
    ]
    assert groups["largest"] == [
        {"codes": "1 0", "items": 3, "titles": ["d", "e", "f"]},
        {"codes": "0 0", "items": 2, "titles": ["a", "b"]},
    ]


def test_the_chart_counts_the_items_of_each_code():
    chart = codebook_use(CODES, [2, 3])
    assert chart.header[1:] == ["level 1", "level 2"]
    assert chart.rows == [["1", "3", "5"], ["2", "3", "1"], ["3", "", "0"]]
