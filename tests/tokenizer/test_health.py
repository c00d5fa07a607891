import json

import numpy as np
import pytest

from genrec.tokenizer import health, health_table

CODES = np.array([[0, 0], [1, 0], [0, 1], [0, 0]])
VECTORS = np.array([[0.0], [10.0], [4.0], [2.0]])
DECODED = np.array([[1.0], [9.0], [4.0], [1.0]])


def test_worked_by_hand():
    measured = health(CODES, (2, 4), VECTORS, DECODED)
    # The mean is 4, so the total is 16 + 36 + 0 + 4 = 56, and the error 1 + 1 + 0 + 1.
    assert measured["relative_error"] == pytest.approx(3 / 56)
    assert (measured["items"], measured["distinct_tuples"]) == (4, 3)
    assert measured["distinct_share"] == 0.75
    assert (measured["colliding_items"], measured["largest_group"]) == (2, 2)
    first, second = measured["levels"]
    entropy = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    for level in (first, second):  # both have one code for three items, another for one
        assert level["entropy"] == pytest.approx(entropy)
        assert level["perplexity"] == pytest.approx(2**entropy)
    assert (first["size"], first["used"], first["prefixes"]) == (2, 1.0, 2)
    assert (second["size"], second["used"], second["prefixes"]) == (4, 0.5, 3)
    # Prefix (0,) holds 0, 4, 2 with squares 4 + 4 + 0 about their mean; tuple (0, 0) holds 0 and 2.
    assert first["variance_within"] == pytest.approx((8 / 2) / (56 / 3))
    assert second["variance_within"] == pytest.approx((2 / 1) / (56 / 3))


def test_random_codes_explain_nothing_and_clusters_do():
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 8, 4000)
    vectors = 10 * np.eye(8)[cluster] + rng.normal(size=(4000, 8))
    random = health(rng.integers(0, 8, (4000, 1)), (8,), vectors, vectors)
    sound = health(cluster[:, None], (8,), vectors, vectors)
    assert random["levels"][0]["variance_within"] == pytest.approx(1, abs=0.01)
    assert sound["levels"][0]["variance_within"] < 0.12
    assert random["relative_error"] == 0


def test_degenerate_catalogues_are_plain_json():
    one = health(CODES[:1], (2, 4), VECTORS[:1], DECODED[:1])
    same = health(np.zeros((3, 1), np.int32), (2,), np.ones((3, 2)), np.ones((3, 2)))
    assert one["relative_error"] is None and one["levels"][0]["variance_within"] is None
    assert same["relative_error"] is None and same["levels"][0]["perplexity"] == 1
    for measured in (one, same, health(CODES.astype(np.int32), (2, 4), VECTORS, DECODED)):
        assert json.loads(json.dumps(measured, allow_nan=False)) == measured


def test_the_table_shows_every_level():
    lines = health_table(health(CODES, (2, 4), VECTORS, DECODED)).splitlines()
    assert lines[0].startswith("4 items, 3 distinct tuples (75.0%); 2 items share one")
    assert "0.054" in lines[1]
    assert [line.split()[:3] for line in lines[3:]] == [["0", "2", "100.0%"], ["1", "4", "50.0%"]]
    assert len({len(line) for line in lines[2:]}) == 1  # aligned
