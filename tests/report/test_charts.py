import itertools
import re

import pytest

from genrec.report.charts import Series, _ticks, line_chart
from page_reading import read


def points(svg):
    return [
        [tuple(map(float, point.split(","))) for point in line.split()]
        for line in re.findall(r'points="([^"]*)"', svg)
    ]


def test_points_lie_where_their_figures_are():
    chart = line_chart("Loss", [Series("loss", [0, 10, 40], [4.0, 3.0, 2.0])], x="step")
    ((a, b, c),) = points(chart.svg)
    assert (b[0] - a[0]) / (c[0] - a[0]) == pytest.approx(10 / 40, abs=0.01)
    assert a[1] < b[1] < c[1]  # downwards
    assert (b[1] - a[1]) == pytest.approx(c[1] - b[1], abs=0.2)
    heights = {
        float(text): float(y)
        for y, text in re.findall(r'y="([\d.]+)" dy=".32em">([^<]*)<', chart.svg)
    }
    assert heights[4] == a[1] and heights[2] == c[1]


def test_every_point_is_said_as_text():
    series = [Series("NDCG", [1, 2], [0.1, 0.25], dots=True), Series("Recall", [2], [0.5])]
    chart = line_chart("Validation", series, x="epoch", form=".3f")
    assert chart.header == ["epoch", "NDCG", "Recall"]
    assert chart.rows == [["1", "0.100", ""], ["2", "0.250", "0.500"]]
    svg = read(chart.svg).all("svg")[0]
    texts = {
        each.attributes["id"]: each.text for each in svg.all("title", "desc") if each.attributes
    }
    assert list(texts) == str(svg.attributes["aria-labelledby"]).split()
    assert "NDCG from 0.100 at epoch 1 to 0.250 at 2" in texts["c-validation-d"]
    assert [t.text for t in svg.all("title")][1:] == [
        "NDCG, epoch 1: 0.100",
        "NDCG, epoch 2: 0.250",
        "Recall, epoch 2: 0.500",
    ]


def test_long_lines_are_thinned_to_means():
    count = 10_000
    chart = line_chart("Long", [Series("y", list(range(count)), [1.0] * count)], x="step")
    ((*line,),) = points(chart.svg)
    assert 200 < len(line) <= 240
    assert len(chart.rows) == 16
    assert len(chart.svg) < 6000


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize(
    "values", [[0.0], [3.5], [2.0, 2.0], [-1.0, 1e-7], [1e12, 1], [-3672.6], [-3.0, -2.5]]
)
def test_any_figures_can_be_drawn(values, zero):
    chart = line_chart("Any", [Series("y", list(range(len(values))), values)], x="step", zero=zero)
    for x, y in points(chart.svg)[0]:
        assert 0 <= x <= 400 and 0 <= y <= 230


@pytest.mark.parametrize(
    "low, high",
    [
        *[(0, 1), (0.04, 0.119), (178, 240), (0, 3e-3), (-5, 7), (2, 2)],
        *[(0, 5e-324), (0, 1e-310)],  # too small to be divided
    ],
)
def test_ticks_are_round_and_hold_the_range(low, high):
    ticks = _ticks(low, high)
    assert ticks[0] <= low and ticks[-1] >= high
    steps = {round(b - a, 9) for a, b in itertools.pairwise(ticks)}
    assert 3 <= len(ticks) <= 8 and len(steps) == 1


def test_names_are_text():
    chart = line_chart("<b>", [Series("<i>&", [1], [1.0])], x="<x>")
    assert "<b>" not in chart.svg and "<i>" not in chart.svg and "<x>" not in chart.svg
