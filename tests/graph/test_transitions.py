"""What followed what, counted one pair at a time."""

from collections import Counter
from math import log1p

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.graph import transition_graph
from genrec.graph.transitions import GAPS
from genrec.sequences.histories import Histories

NUM_ITEMS = 6


def by_hand(histories, most):
    """For each item its neighbours, the strongest first, and their weights."""
    counts = Counter(
        (history[at], history[at + gap], gap)
        for history in histories
        for gap in (1, 2, 3)
        for at in range(len(history) - gap)
    )
    edges = {}
    for (a, b, gap), count in counts.items():
        row = edges.setdefault(a, {})
        row[b] = row.get(b, 0.0) + GAPS[gap - 1] * log1p(count)
    rows = []
    for item in range(NUM_ITEMS):
        row = edges.get(item, {})
        top = max(row.values(), default=1.0)
        # Sums of the same terms in another order differ in the last digits.
        ranked = sorted(row, key=lambda b: (-round(row[b], 9), b))[:most]
        rows.append((ranked, [row[b] / top for b in ranked]))
    return rows


@given(
    st.lists(st.lists(st.integers(0, NUM_ITEMS - 1), max_size=9), max_size=8),
    st.sampled_from([1, 2, 99]),
    st.sampled_from([1, 5, 1 << 24]),
)
def test_edges_are_those_counted_by_hand(rows, most, at_once):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genrec.graph.transitions._AT_ONCE", at_once)
        graph = transition_graph(Histories.of(rows), NUM_ITEMS, most=most)
    assert len(graph.begins) == NUM_ITEMS + 1 and graph.begins[0] == 0
    for item, (neighbours, weights) in enumerate(by_hand(rows, most)):
        own = slice(graph.begins[item], graph.begins[item + 1])
        assert graph.items[own].tolist() == neighbours
        np.testing.assert_allclose(graph.weights[own], weights, rtol=1e-6)


def test_only_the_training_part_of_a_history_is_counted():
    whole = Histories.of([[0, 1, 2, 3], [4, 5, 0]])
    part = transition_graph(whole.without_last(2), NUM_ITEMS)
    expected = transition_graph(Histories.of([[0, 1], [4]]), NUM_ITEMS)
    for name, array in vars(part).items():
        assert np.array_equal(array, vars(expected)[name])
