"""Each expert against a loop over histories and items."""

import jax
import numpy as np
import pytest

from genrec.decoding.experts import (
    LOOKED_UP,
    Memory,
    items_read,
    lookups,
    recent_items,
)
from genrec.graph import KINDS, build_graph
from genrec.sequences.histories import Histories
from genrec.sequences.padding import request_batches

NUM_ITEMS = 7
ROWS = [[0, 1, 2, 0, 1, 3], [2, 3, 4], [5, 0, 1, 2, 2, 6, 4, 1, 0], [3]]
ASKED = [[1, 0], [2], [6, 5, 4, 3, 2, 1, 0], [], [3, 3]]
CONTENT = np.random.default_rng(0).normal(size=(NUM_ITEMS, 4)).astype(np.float32)
CONTENT /= np.linalg.norm(CONTENT, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def memory():
    graph = build_graph(Histories.of(ROWS), CONTENT, most=3)
    return Memory(graph, CONTENT, np.log1p(np.arange(NUM_ITEMS)).astype(np.float32))


def by_hand(memory, history):
    """The scores of each expert after one history."""
    graph = memory.graph
    edges, had = np.zeros((len(KINDS), NUM_ITEMS)), np.zeros(NUM_ITEMS)
    recent, whole = np.zeros(4), np.zeros(4)
    for age, item in enumerate(reversed(history)):
        had[item] = 1
        for edge in range(graph.begins[item], graph.begins[item + 1]):
            edges[:, graph.items[edge]] += 0.5**age * graph.weights[edge]
        recent += 0.6**age * memory.content[item] * (age < 5)
        whole += memory.content[item]
    cosines = [memory.content @ mean / max(np.linalg.norm(mean), 1e-6) for mean in (recent, whole)]
    return [*edges, *cosines, memory.popularity, had]


def check(memory, recent, histories):
    found = lookups(jax.device_put(memory), recent)
    assert found.shape == (len(LOOKED_UP), len(histories), NUM_ITEMS)
    for row, history in enumerate(histories):
        for name, scores, expected in zip(LOOKED_UP, found, by_hand(memory, history), strict=True):
            np.testing.assert_allclose(scores[row], expected, atol=1e-5, err_msg=name)


def test_experts_say_what_a_loop_does(memory):
    check(memory, recent_items(Histories.of(ASKED), 8), ASKED)


def test_they_read_the_encoder_s_input_alike(memory):
    asked = [history for history in ASKED if history]
    ((rows, batch),) = request_batches(Histories.of(asked), 8, 8)
    recent = items_read(batch.inputs)
    kept = recent._replace(items=recent.items[: len(rows)], age=recent.age[: len(rows)])
    check(memory, kept, [asked[row] for row in rows])


def test_recent_items_are_the_last_ones_and_their_ages():
    recent = recent_items(Histories.of([[4, 5, 6], [2], []]), 2)
    assert recent.items.tolist() == [[6, 5], [2, 0], [0, 0]]
    assert recent.age.tolist() == [[0, 1], [0, -1], [-1, -1]]


def test_where_nothing_followed_anything_nothing_follows():
    graph = build_graph(Histories.of([[1], [2]]), np.zeros((NUM_ITEMS, 4), np.float32), most=3)
    memory = Memory(graph, CONTENT, np.zeros(NUM_ITEMS, np.float32))
    check(memory, recent_items(Histories.of([[1, 2]]), 8), [[1, 2]])
