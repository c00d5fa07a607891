"""Graphs on disk, and what is said of them."""

import numpy as np
import pytest

from genrec.errors import UserError
from genrec.graph import KINDS, ItemGraph, health, open_graph, save_graph


def graph():
    """Three items: 0 leads to 1 and 2, 2 to 0."""
    weights = np.zeros((3, len(KINDS)), np.float32)
    weights[:, 0] = 1, 0.5, 0
    weights[:, 2] = 0, 0.25, 0.125
    begins = np.array([0, 2, 2, 3], np.int32)
    return ItemGraph(begins, np.array([1, 2, 0], np.int32), weights, 2)


def test_what_was_saved_is_opened(tmp_path):
    save_graph(tmp_path, graph())
    opened = open_graph(tmp_path, 3)
    for name in ("begins", "items", "weights"):
        assert np.array_equal(getattr(opened, name), getattr(graph(), name))
    assert opened.most == 2


def test_items_that_come_later_have_no_neighbours():
    assert graph().with_room(5).begins.tolist() == [0, 2, 2, 3, 3, 3]


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("begins", lambda x: x[:-1], "not a graph of 3 items"),
        ("begins", lambda x: x.astype(np.int64), "another type"),
        ("begins", lambda x: x[::-1].copy(), "rows do not follow"),
        ("items", lambda x: x + 1, "leads to no item"),
        ("items", lambda x: x[:2], "do not fit"),
        ("weights", lambda x: x[:, :3].copy(), "do not fit"),
    ],
)
def test_a_damaged_graph_is_refused(tmp_path, name, change, says):
    save_graph(tmp_path, graph())
    path = tmp_path / f"{name}.npy"
    np.save(path, change(np.load(path)))
    with pytest.raises(UserError, match=f"{says}.*run genrec graph again"):
        open_graph(tmp_path, 3)


def test_health_counts_edges_of_every_kind():
    said = health(graph())
    assert (said["items"], said["edges"]) == (3, 3)
    assert said["kinds"]["transitions"] == {
        "coverage": pytest.approx(1 / 3),
        "mean_degree": pytest.approx(2 / 3),
        "largest_degree": 2,
    }
    assert said["kinds"]["together"]["coverage"] == pytest.approx(2 / 3)
    assert said["kinds"]["relayed"]["largest_degree"] == 0
