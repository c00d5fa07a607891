import numpy as np
import pytest

from genrec.report import item_map as module
from genrec.report.item_map import COLOURS, SIZE, item_map


def clusters(count, groups=3, width=20):
    rng = np.random.default_rng(1)
    first = rng.integers(0, groups, count)
    middles = rng.normal(0, 10, (groups, width))
    return middles[first] + rng.normal(0, 1, (count, width)), first, [f"t{n}" for n in range(count)]


def test_like_items_are_near_each_other():
    vectors, first, labels = clusters(120)
    drawing = item_map(vectors, first, labels, seed=0)
    assert drawing is not None
    positions = np.array([point[:2] for point in drawing["points"]])
    assert positions.min() >= 0 and positions.max() <= SIZE
    gaps = ((positions[:, None] - positions[None]) ** 2).sum(axis=2).astype(float)
    np.fill_diagonal(gaps, np.inf)
    assert (first[gaps.argmin(axis=1)] == first).mean() > 0.95
    assert [point[2:] for point in drawing["points"]] == [
        [code, label] for code, label in zip(first.tolist(), labels, strict=True)
    ]


def test_the_commonest_codes_have_a_colour_and_every_point_is_drawn_once():
    vectors, first, labels = clusters(200, groups=12)
    drawing = item_map(vectors, first, labels, seed=0)
    assert drawing is not None
    sizes = np.bincount(first)
    assert [group["items"] for group in drawing["groups"]] == sorted(sizes, reverse=True)[:COLOURS]
    for group in drawing["groups"]:
        drawn = {tuple(p[:2]) for p in drawing["points"] if p[2] == group["code"]}
        path = drawing["paths"][group["colour"]].split("M")[1:]
        assert {tuple(map(int, p.removesuffix("h0").split())) for p in path} == drawn
    assert sum(path.count("M") for path in drawing["paths"].values()) == 200


def test_it_is_bounded_and_the_same_again(monkeypatch):
    monkeypatch.setattr(module, "MOST_POINTS", 40)
    monkeypatch.setattr(module, "OF_EACH_COLOUR", 10)
    vectors, first, labels = clusters(300)
    drawing = item_map(vectors, first, labels, seed=5)
    assert drawing is not None
    assert drawing["drawn"] == 40 and drawing["items"] == 300
    assert 40 <= len(drawing["points"]) == 40 + drawing["more"] <= 70
    for code in range(3):
        assert sum(point[2] == code for point in drawing["points"]) >= 10
    assert drawing == item_map(vectors, first, labels, seed=5)
    assert drawing != item_map(vectors, first, labels, seed=6)


def test_without_codes_nothing_has_a_colour():
    vectors, _, labels = clusters(30)
    drawing = item_map(vectors, None, labels, seed=0)
    assert drawing is not None
    assert drawing["groups"] == [] and list(drawing["paths"]) == [0]
    assert {point[2] for point in drawing["points"]} == {-1}


@pytest.mark.parametrize("vectors", [np.zeros((5, 3)), np.ones((40, 3)), np.eye(40)[:, :1]])
def test_there_is_no_map_of_what_hardly_differs(vectors):
    labels = [str(n) for n in range(len(vectors))]
    assert item_map(vectors, None, labels, seed=0) is None
