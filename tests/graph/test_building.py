"""The item graph against matrices of all items, multiplied without thought for their size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_transitions import NUM_ITEMS
from test_transitions import by_hand as transitions_by_hand

from genrec.graph import KINDS, build_graph
from genrec.graph.building import user_sets
from genrec.sequences.histories import Histories

CONTENT = np.random.default_rng(0).normal(size=(NUM_ITEMS, 3))
CONTENT = (CONTENT / np.linalg.norm(CONTENT, axis=1, keepdims=True)).astype(np.float32)
CONTENT[2] = 0  # nothing is known of it


def dense(graph):
    """float (K, N, N): the weights of a graph."""
    weights = np.zeros((len(KINDS), NUM_ITEMS, NUM_ITEMS))
    for item in range(NUM_ITEMS):
        own = slice(graph.begins[item], graph.begins[item + 1])
        weights[:, item, graph.items[own]] = graph.weights[own].T
    return weights


def topped(matrix):
    """Without the diagonal, each row over its largest."""
    matrix = matrix * (1 - np.eye(NUM_ITEMS))
    return matrix / np.maximum(matrix.max(axis=1, keepdims=True), 1e-9)


def by_hand(rows):
    followed = transitions_by_hand(rows, 99)
    having = np.array([[item in row for item in range(NUM_ITEMS)] for row in rows], float)
    having = having.reshape(-1, NUM_ITEMS)
    norm = np.sqrt(np.outer(having.sum(axis=0), having.sum(axis=0))) + 1
    alike = topped(np.maximum(CONTENT @ CONTENT.T, 0) ** 2)
    together = having.T @ having / norm * (1 - np.eye(NUM_ITEMS))
    kinds = [followed, topped(followed @ followed), together, topped(alike @ followed)]
    known = having.sum(axis=0) > 0
    for item in np.flatnonzero(~known):  # it borrows from those that are known, by squared cosines
        share = np.maximum(CONTENT @ CONTENT[item], 0) ** 2 * known
        for weights in kinds:
            weights[:, item] = weights @ share / max(share.sum(), 1e-12)
    return kinds


@given(
    st.lists(st.lists(st.integers(0, NUM_ITEMS - 1), max_size=7), max_size=6),
    st.sampled_from([1, 4, 1024]),
)
def test_all_edges_are_those_of_dense_matrices(rows, at_once):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genrec.graph.building._ITEMS_AT_ONCE", at_once)
        graph = build_graph(Histories.of(rows), CONTENT, most=99)
    np.testing.assert_allclose(dense(graph), by_hand(rows), atol=1e-5)
    assert graph.most == np.diff(graph.begins).max(initial=0)


def test_the_neighbours_of_the_largest_sums_are_kept_the_largest_first():
    rows = [[0, 1, 2, 3], [0, 1, 4], [5, 1, 0, 2], [0, 3, 5]]  # all are known
    whole = dense(build_graph(Histories.of(rows), CONTENT, most=99)).sum(axis=0)
    graph = build_graph(Histories.of(rows), CONTENT, most=3)
    # Products of transitions that are cut too may lack a little; here none is.
    for item in range(NUM_ITEMS):
        kept = graph.items[graph.begins[item] : graph.begins[item + 1]]
        assert len(kept) <= 3
        sums = graph.weights[graph.begins[item] : graph.begins[item + 1]].sum(axis=1)
        assert (np.diff(sums) <= 1e-6).all()
    first = graph.items[graph.begins[0]]
    assert whole[0, first] == pytest.approx(whole[0].max(), rel=1e-5)


def test_of_a_long_history_the_last_items_are_taken_to_be_had_together():
    sets = user_sets(Histories.of([[0, 1, 1, 2], [3]]), NUM_ITEMS, longest=2)
    assert sets.toarray().tolist() == [[0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0]]


def test_a_catalogue_that_nobody_met_has_no_edges():
    graph = build_graph(Histories.of([]), CONTENT, most=5)
    assert len(graph.items) == 0 and graph.most == 0
