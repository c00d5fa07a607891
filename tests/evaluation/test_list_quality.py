import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy
from sklearn.metrics.pairwise import cosine_distances

from genrec.evaluation.list_quality import coverage, diversity, gini, miscalibration, novelty
from genrec.sequences.histories import Histories

ITEMS = 12


@st.composite
def lists(draw):
    """Lists of distinct items, some of them short."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    users, width = draw(st.integers(1, 8)), draw(st.integers(1, 6))
    rows = np.stack([rng.permutation(ITEMS)[:width] for _ in range(users)]).astype(np.int32)
    for row in rows[1:]:
        row[rng.integers(0, width + 1) :] = -1
    return rows


@given(lists())
def test_exposure(rows):
    shown = [item for row in rows.tolist() for item in row if item >= 0]
    assert coverage(rows, ITEMS) == len(set(shown)) / ITEMS
    exposure = np.bincount(shown, minlength=ITEMS)
    # From its definition: the mean absolute difference of two items, relative to twice the mean.
    apart = np.abs(exposure[:, None] - exposure[None, :]).mean()
    assert gini(rows, ITEMS) == pytest.approx(apart / (2 * exposure.mean()))


def test_gini_at_its_ends():
    assert gini(np.arange(12)[:, None], 12) == pytest.approx(0)
    assert gini(np.zeros((50, 1), int), 12) == pytest.approx(11 / 12)
    assert gini(np.full((2, 3), -1), 12) == 0


def test_novelty_by_hand():
    users_with = np.array([7, 1, 0, 3])
    rows = np.array([[0, 1], [2, -1]])
    expected = -(np.log2(8 / 8) + np.log2(2 / 8) + np.log2(1 / 8)) / 3
    assert novelty(rows, users_with, 7) == pytest.approx(expected)


@given(lists())
def test_diversity_is_the_mean_over_all_pairs(rows):
    vectors = np.random.default_rng(0).normal(size=(ITEMS, 4)) + 3
    distances = cosine_distances(vectors - vectors.mean(axis=0))
    means = [
        np.mean([distances[a, b] for a, b in itertools.combinations(row, 2)])
        for row in ([item for item in row if item >= 0] for row in rows.tolist())
        if len(row) > 1
    ]
    assert diversity(rows, vectors) == pytest.approx(np.mean(means) if means else 0)


@given(lists(), st.integers(0, 99))
def test_miscalibration_is_the_divergence_from_the_history(rows, seed):
    rng = np.random.default_rng(seed)
    names = np.array(["a", "b", "c", None, ""], object)
    categories = names[rng.integers(0, 5, ITEMS)].tolist()
    histories = [rng.integers(0, ITEMS, rng.integers(0, 6)).tolist() for _ in rows]

    def shares(items):
        named = [categories[item] for item in items if item >= 0 and categories[item]]
        return np.array([named.count(name) for name in "abc"]) / len(named) if named else None

    expected = []
    for history, row in zip(histories, rows.tolist(), strict=True):
        p, q = shares(history), shares(row)
        if p is not None and q is not None:
            expected.append(entropy(p, 0.99 * q + 0.01 * p))
    measured = miscalibration(rows, Histories.of(histories), categories)
    assert measured == pytest.approx(np.mean(expected) if expected else 0)


def test_lists_without_items_are_0_in_all():
    """As filtered ones are where the user has had the whole catalogue."""
    lists, histories = np.full((2, 3), -1), Histories.of([[0], [0]])
    assert coverage(lists, 1) == 0.0
    assert gini(lists, 1) == 0.0
    assert novelty(lists, np.array([2]), 2) == 0.0
    assert diversity(lists, np.ones((1, 4))) == 0.0
    assert miscalibration(lists, histories, ["a"]) == 0.0
