"""The rival without training, on users who go round a catalogue in which neighbours are alike."""

import numpy as np

from genrec.data.dataset import HeldOut
from genrec.decoding.experts import Memory
from genrec.evaluation import graph_and_content
from genrec.graph import build_graph
from genrec.sequences.histories import Histories

NUM_ITEMS = 30
ANGLE = 2 * np.pi * np.arange(NUM_ITEMS) / NUM_ITEMS
VECTORS = np.stack([np.cos(ANGLE), np.sin(ANGLE)], axis=1).astype(np.float32)


def rounds(count, length, seed):
    rng = np.random.default_rng(seed)
    return [(start + np.arange(length)) % NUM_ITEMS for start in rng.integers(0, NUM_ITEMS, count)]


def rival(length=6):
    whole = Histories.of(rounds(80, length, seed=0))
    held_out = HeldOut(
        np.arange(80), whole.without_last(1), np.array([row[-1] for row in whole], np.int32)
    )
    training = whole.without_last(1)
    counts = training.counts(NUM_ITEMS)
    graph = build_graph(training, VECTORS, most=8)
    memory = Memory(graph, VECTORS, np.log1p(counts).astype(np.float32))
    return graph_and_content(memory, held_out, seed=0)


def test_it_finds_what_comes_next_and_nobody_told_it_how_much_counts():
    recommend, weights = rival()
    asked = rounds(50, 5, seed=1)
    items, scores = recommend(Histories.of(asked), 3, exclude_history=False)
    assert (items[:, 0] == [(row[-1] + 1) % NUM_ITEMS for row in asked]).all()
    assert (np.diff(scores) <= 0).all()
    assert weights["transitions"] == max(weights.values())
    assert weights["had"] < 0  # nobody has an item twice


def test_items_of_the_history_are_left_out_where_they_are_to_be():
    recommend, _ = rival()
    items, scores = recommend(Histories.of([[4, 5, 6], []]), NUM_ITEMS, exclude_history=True)
    assert set(items[0].tolist()) == set(range(NUM_ITEMS)) - {4, 5, 6} | {-1}
    assert (items[0, -3:] == -1).all()
    assert sorted(items[1].tolist()) == list(range(NUM_ITEMS))
    assert np.isfinite(scores[1]).all()


def test_how_many_users_are_scored_at_once_changes_nothing(monkeypatch):
    asked = Histories.of(rounds(9, 4, seed=2))
    recommend, weights = rival()
    monkeypatch.setattr("genrec.evaluation.untrained._SCORES_AT_ONCE", 7 * NUM_ITEMS)
    in_parts, again = rival()
    ours, theirs = (each(asked, 5, exclude_history=False)[0] for each in (recommend, in_parts))
    assert np.array_equal(ours, theirs)
    for name, weight in weights.items():
        np.testing.assert_allclose(again[name], weight, rtol=5e-3)
