import json

import numpy as np
import pytest

from genrec.errors import UserError
from genrec.tokenizer import health, health_table, refuse_collapse

CODES = np.array([[0, 0], [1, 0], [0, 1], [0, 0]])
VECTORS = np.array([[0.0], [10.0], [4.0], [2.0]])
DECODED = {(0,): 2.0, (1,): 10.0, (0, 0): 1.0, (1, 0): 9.0, (0, 1): 4.0}


def decode(codes):
    return np.array([[DECODED[tuple(row)]] for row in codes.tolist()])


def zeros(width):
    return lambda codes: np.zeros((len(codes), width))


def test_worked_by_hand():
    measured = health(CODES, (2, 4), VECTORS, decode)
    # The mean is 4, so the total is 16 + 36 + 0 + 4 = 56, and the error 1 + 1 + 0 + 1.
    assert measured["relative_error"] == pytest.approx(3 / 56)
    # The first codes alone decode to 2, 10, 2, 2.
    assert measured["levels"][0]["relative_error"] == pytest.approx((4 + 0 + 4 + 0) / 56)
    assert measured["levels"][1]["relative_error"] == measured["relative_error"]
    assert (measured["items"], measured["distinct_tuples"]) == (4, 3)
    assert measured["distinct_share"] == 0.75
    assert (measured["colliding_items"], measured["largest_group"]) == (2, 2)
    assert measured["unique_share"] == 0.5
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
    random = health(rng.integers(0, 8, (4000, 1)), (8,), vectors, zeros(8))
    sound = health(cluster[:, None], (8,), vectors, lambda codes: 10 * np.eye(8)[codes[:, 0]])
    assert random["levels"][0]["variance_within"] == pytest.approx(1, abs=0.01)
    assert sound["levels"][0]["variance_within"] < 0.12
    # What is left of the clusters is the noise: 1 in each of 8 dimensions, of 8 + 100 · 7/8.
    assert sound["relative_error"] == pytest.approx(8 / (8 + 87.5), rel=0.05)


def test_degenerate_catalogues_are_plain_json():
    one = health(CODES[:1], (2, 4), VECTORS[:1], decode)
    same = health(
        np.zeros((3, 1), np.int32), (2,), np.ones((3, 2)), lambda codes: 1 + zeros(2)(codes)
    )
    assert one["relative_error"] is None and one["levels"][0]["variance_within"] is None
    assert same["relative_error"] is None and same["levels"][0]["perplexity"] == 1
    for measured in (one, same, health(CODES.astype(np.int32), (2, 4), VECTORS, decode)):
        assert json.loads(json.dumps(measured, allow_nan=False)) == measured


def test_prefixes_are_judged_by_the_company_of_items():
    measured = health(CODES, (2, 4), VECTORS, decode, ["a", "b", "a", "b"])
    # Of three others, each item has one like it.
    assert measured["same_category"] == pytest.approx(1 / 3)
    first, second = measured["levels"]
    # Prefix (0,) holds a, a, b: of their two others, 1, 1 and 0 are alike. Tuple (0, 0): a and b.
    assert first["same_category"] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert second["same_category"] == 0
    unknown = health(CODES, (2, 4), VECTORS, decode, [None, "b", "a", "a"])["levels"]
    assert (unknown[0]["same_category"], unknown[1]["same_category"]) == (1, None)
    assert "same_category" not in health(CODES, (2, 4), VECTORS, decode)["levels"][0]


def test_pieces_of_a_mapped_file_are_measured_like_the_whole(tmp_path):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(9000, 6)).astype(np.float32)
    codes = rng.integers(0, 7, (9000, 2))
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    whole = health(codes, (7, 7), vectors, zeros(6))
    assert health(codes, (7, 7), mapped, zeros(6)) == whole
    within = sum(
        np.sum((group - group.mean(0)) ** 2)
        for code in range(7)
        for group in [vectors[codes[:, 0] == code].astype(np.float64)]
    )
    total = np.sum((vectors - vectors.mean(0, dtype=np.float64)) ** 2)
    assert whole["levels"][0]["variance_within"] == pytest.approx((within / 8993) / (total / 8999))


def test_a_collapsed_level_is_refused():
    rng = np.random.default_rng(0)
    codes, vectors = rng.integers(0, 16, (500, 2)), rng.normal(size=(500, 3))
    refuse_collapse(health(codes, (16, 16), vectors, zeros(3)), 0.9)
    codes[:, 1] = 5
    with pytest.raises(UserError, match="collapsed: in the end level 1 uses 1 of 16 codes"):
        refuse_collapse(health(codes, (16, 16), vectors, zeros(3)), 0.1)
    refuse_collapse(health(codes, (16, 16), vectors, zeros(3)), 0.05)
    exact = {code: vectors[codes[:, 0] == code].mean(0) for code in range(16)}
    vectors = np.array([exact[code] for code in codes[:, 0].tolist()])
    nothing_left = health(codes, (16, 16), vectors, lambda c: np.array([exact[i] for i in c[:, 0]]))
    refuse_collapse(nothing_left, 0.1)


def test_the_table_shows_every_level():
    measured = health(CODES, (2, 4), VECTORS, decode, ["a", "b", "a", "b"])
    lines = health_table(measured).splitlines()
    assert lines[:2] == [
        "4 items, 3 distinct tuples (75.0%)",
        "2 items share one, at most 2 the same",
    ]
    assert [line.split()[:3] for line in lines[3:5]] == [["0", "2", "100.0%"], ["1", "4", "50.0%"]]
    assert lines[4].split()[6] == "0.054" and lines[-1].endswith("(of all items: 0.333)")
    assert len({len(line) for line in lines[2:5]}) == 1  # aligned
    assert max(map(len, lines)) < 100
    after = {"colliding_items": 0, "largest_group": 1, "moved_items": 1}
    table = health_table({**measured, "after": after})
    assert "in the end 0 share one, at most 1 the same; 1 items were moved" in table
