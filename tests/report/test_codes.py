import numpy as np

from genrec.report.codes import codebook_use, collisions
from genrec.tokenizer import after_collisions, health

CODES = np.array([[0, 0], [0, 0], [0, 1], [1, 0], [1, 0], [1, 0]])
SPELT = np.c_[CODES, [0, 1, 0, 0, 1, 2]]
LABELS = list("abcdef")


def measured():
    vectors = np.random.default_rng(0).normal(size=(6, 4))
    found = health(CODES, (2, 3), vectors, lambda codes: np.zeros((len(codes), 4)))
    return {**found, "after": after_collisions(SPELT, CODES)}


def test_collisions_are_those_of_the_codes_of_the_tokenizer():
    found = collisions(measured(), SPELT, LABELS)
    assert [(row["size"], row["groups"], row["items"]) for row in found["sizes"]] == [
        (1, "1", "1"),
        (2, "1", "2"),
        (3, "1", "3"),
    ]
    assert (found["tuples"], found["before"], found["before_most"]) == ("3", "5", "3")
    assert (found["after"], found["after_most"], found["moved"]) == ("0", "1", 0)
    assert found["largest"] == [
        {"codes": "1 0", "items": 3, "titles": ["d", "e", "f"]},
        {"codes": "0 0", "items": 2, "titles": ["a", "b"]},
    ]


def test_the_chart_counts_the_items_of_each_code():
    use = codebook_use(measured(), SPELT)
    assert [row["used"] for row in use["rows"]] == ["100.0%", "66.7%"]
    assert use["chart"].header[1:] == ["level 1", "level 2"]
    assert use["chart"].rows == [["1", "3", "5"], ["2", "3", "1"], ["3", "", "0"]]
