import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genrec.embedding.cooccurrence import (
    _counts,
    _positive_information,
    embed_cooccurrence,
    fuse,
    lend,
)
from genrec.sequences.histories import Histories

NUM_ITEMS = 6
histories = st.lists(st.lists(st.integers(0, NUM_ITEMS - 1), max_size=9), min_size=1, max_size=6)


@given(histories)
def test_counts_and_information_agree_with_loops(rows):
    counts = np.zeros((NUM_ITEMS, NUM_ITEMS))
    for row in rows:
        for i, a in enumerate(row):
            for j, b in enumerate(row):
                if i != j and abs(i - j) <= 5:
                    counts[a, b] += 1 / abs(i - j)
    found = _counts(Histories.of(rows), NUM_ITEMS)
    assert np.allclose(found.toarray(), counts)

    mass = counts.sum(axis=1)
    smoothed = mass**0.75
    information = np.zeros_like(counts)
    for a in range(NUM_ITEMS):
        for b in range(NUM_ITEMS):
            if counts[a, b]:
                chance = mass[a] * smoothed[b] / smoothed.sum()
                information[a, b] = max(0.0, math.log(counts[a, b] / chance))
    assert np.allclose(_positive_information(found).toarray(), information)


@given(histories)
def test_only_the_items_of_the_histories_are_counted(rows):
    views = Histories.of([[*row, 0, 1] for row in rows]).without_last(2)
    found, expected = _counts(views, NUM_ITEMS), _counts(Histories.of(rows), NUM_ITEMS)
    assert np.array_equal(found.toarray(), expected.toarray())


def test_items_of_one_taste_are_close_and_loners_are_zero():
    rng = np.random.default_rng(0)
    rows = [rng.choice(np.arange(5) + 5 * (user % 2), 4, replace=False) for user in range(60)]
    vectors = embed_cooccurrence(Histories.of(rows), 11, dim=4, seed=0)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors[:10], axis=1), 1, atol=1e-5)
    assert not vectors[10].any()
    similarity = vectors[:10] @ vectors[:10].T
    taste = np.arange(10) // 5
    within = similarity[taste[:, None] == taste[None, :]].mean()
    assert within > similarity[taste[:, None] != taste[None, :]].mean() + 0.5


def test_the_same_seed_gives_the_same_vectors():
    rows = Histories.of([*np.random.default_rng(1).integers(0, 30, (50, 8))])
    first, again = (embed_cooccurrence(rows, 30, dim=8, seed=3) for _ in range(2))
    assert np.array_equal(first, again)


def test_histories_without_pairs_give_zeros():
    vectors = embed_cooccurrence(Histories.of([[0], [1], []]), 3, dim=8, seed=0)
    assert vectors.shape == (3, 3)
    assert not vectors.any()


def test_fusing_weighs_both_parts_whatever_their_scale_and_offset():
    rng = np.random.default_rng(2)
    content = 100 + 7 * rng.normal(size=(40, 3))
    other = rng.normal(size=(40, 5)).astype(np.float32)
    fused = fuse(content, other, 0.5)
    assert fused.shape == (40, 8)
    assert np.allclose(fused.mean(axis=0), 0, atol=1e-6)
    squared = (fused**2).sum(axis=0)
    assert math.isclose(squared[:3].sum(), 40, rel_tol=1e-4)
    assert math.isclose(squared[3:].sum(), 10, rel_tol=1e-4)
    assert np.isfinite(fuse(np.ones((4, 2)), np.zeros((4, 2)), 1.0)).all()


def test_an_item_that_stands_near_no_other_is_lent_the_mean_of_those_it_is_like():
    rng = np.random.default_rng(4)
    content = rng.normal(size=(30, 6)).astype(np.float32) + 5
    other = rng.normal(size=(30, 4)).astype(np.float32)
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    other[[3, 8]] = 0
    lent = lend(other, content)
    kept = np.setdiff1d(np.arange(30), [3, 8])
    assert np.array_equal(lent[kept], other[kept])
    centred = content - content.mean(axis=0)
    for item in (3, 8):
        cosine = centred[kept] @ centred[item] / np.linalg.norm(centred[kept], axis=1)
        mean = other[kept[np.argsort(-cosine)[:10]]].mean(axis=0)
        assert np.allclose(lent[item], mean / np.linalg.norm(mean), atol=1e-5)
    nothing = np.zeros((30, 4), np.float32)
    assert not lend(nothing, content).any()


def test_items_that_come_later_change_nothing_of_those_before():
    rng = np.random.default_rng(5)
    content = (rng.normal(size=(30, 6)) + 5).astype(np.float32)
    other = rng.normal(size=(30, 4)).astype(np.float32)
    other[[3, 20, 21, 22]] = 0  # the last ten come later, and none of them stands near another
    other[20:] = 0
    first = lend(other[:20], content[:20])
    lent = lend(other, content, fitted=20)
    assert np.array_equal(lent[:20], first)
    assert lent[20:].any(axis=1).all()
    # A late item that says the same as an early one without neighbours is lent the same.
    content[25] = content[3]
    np.testing.assert_allclose(lend(other, content, fitted=20)[25], first[3], atol=1e-6)
    fused = fuse(content, lent, 0.5, fitted=20)
    np.testing.assert_array_equal(fused[:20], fuse(content[:20], first, 0.5))
    scale = np.sqrt(((content[:20] - content[:20].mean(0)) ** 2).sum(1).mean())
    expected = (content[20:] - content[:20].mean(0)) / scale
    np.testing.assert_allclose(fused[20:, :6], expected, atol=1e-5)
