"""Each expert against a loop over histories and items."""

import jax
import numpy as np
import pytest

from genrec.decoding.experts import (
    EXPERTS,
    expert_scores,
    recent_items,
    remember,
)
from genrec.sequences.histories import Histories

NUM_ITEMS = 7
ROWS = [[0, 1, 2, 0, 1, 3], [2, 3, 4], [5, 0, 1, 2, 2, 6, 4, 1, 0], [3]]
ASKED = [[1, 0], [2], [6, 5, 4, 3, 2, 1, 0], [], [3, 3]]
VECTORS = np.random.default_rng(0).normal(size=(NUM_ITEMS, 4))


@pytest.fixture(scope="module")
def memory():
    return remember(Histories.of(ROWS), VECTORS)


def by_hand(memory, history):
    """float (F, N): the experts' scores after one history."""
    graph = memory.transitions
    follow, had, mean = np.zeros(NUM_ITEMS), np.zeros(NUM_ITEMS), np.zeros(4)
    for age, item in enumerate(reversed(history)):
        had[item] = 1
        for edge in range(graph.begins[item], graph.begins[item + 1]):
            follow[graph.items[edge]] += 0.5**age * graph.weights[edge]
        if age < 5:
            mean += 0.6**age * memory.content[item]
    like = memory.content @ mean / max(np.linalg.norm(mean), 1e-6)
    return dict(zip(EXPERTS, (follow, like, had), strict=True))


def test_experts_say_what_a_loop_does(memory):
    recent = recent_items(Histories.of(ASKED), 8)
    found = expert_scores(jax.device_put(memory), recent)
    assert found.shape == (len(EXPERTS), len(ASKED), NUM_ITEMS)
    for row, history in enumerate(ASKED):
        expected = by_hand(memory, history)
        for name, scores in zip(EXPERTS, found, strict=True):
            np.testing.assert_allclose(scores[row], expected[name], atol=1e-5, err_msg=name)


def test_recent_items_are_the_last_ones_and_their_ages():
    recent = recent_items(Histories.of([[4, 5, 6], [2], []]), 2)
    assert recent.items.tolist() == [[6, 5], [2, 0], [0, 0]]
    assert recent.age.tolist() == [[0, 1], [0, -1], [-1, -1]]


def test_content_is_of_unit_norm_about_its_mean_or_nothing():
    vectors = np.array([[1.0, 0.0], [3.0, 0.0], [2.0, 0.0]])
    assert remember(Histories.of([]), vectors).content.tolist() == [[-1, 0], [1, 0], [0, 0]]


def test_where_nothing_followed_anything_nothing_follows():
    memory = remember(Histories.of([[1], [2]]), VECTORS)
    scores = expert_scores(jax.device_put(memory), recent_items(Histories.of([[1, 2]]), 8))
    assert not np.asarray(scores[0]).any() and np.asarray(scores[1]).any()
