"""What followed what, counted one pair at a time."""

from collections import Counter
from math import log1p

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.graph.transitions import GAPS, transitions
from genrec.sequences.histories import Histories

NUM_ITEMS = 6


def by_hand(histories, most):
    """float (N, N): the weights."""
    counts = Counter(
        (history[at], history[at + gap], gap)
        for history in histories
        for gap in (1, 2, 3)
        for at in range(len(history) - gap)
    )
    weights = np.zeros((NUM_ITEMS, NUM_ITEMS))
    for (a, b, gap), count in counts.items():
        weights[a, b] += GAPS[gap - 1] * log1p(count)
    for row in weights:
        # Sums of the same terms in another order differ in the last digits.
        ranked = sorted(range(NUM_ITEMS), key=lambda b: (-round(row[b], 9), b))
        row[ranked[most:]] = 0
        row /= max(row.max(), 1e-9)
    return weights


@given(
    st.lists(st.lists(st.integers(0, NUM_ITEMS - 1), max_size=9), max_size=8),
    st.sampled_from([1, 2, 99]),
    st.sampled_from([1, 5, 1 << 24]),
)
def test_weights_are_those_counted_by_hand(rows, most, at_once):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genrec.graph.transitions._AT_ONCE", at_once)
        found = transitions(Histories.of(rows), NUM_ITEMS, most=most)
    np.testing.assert_allclose(found.toarray(), by_hand(rows, most), rtol=1e-6)


def test_only_the_training_part_of_a_history_is_counted():
    whole = Histories.of([[0, 1, 2, 3], [4, 5, 0]])
    part = transitions(whole.without_last(2), NUM_ITEMS, most=9)
    expected = transitions(Histories.of([[0, 1], [4]]), NUM_ITEMS, most=9)
    assert np.array_equal(part.toarray(), expected.toarray())
