import functools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.evaluation import baselines, item_knn, most_popular
from genrec.sequences.histories import Histories

NUM_ITEMS = 7
histories = st.lists(st.lists(st.integers(0, NUM_ITEMS - 1), max_size=6), min_size=1, max_size=9)


def counts(training):
    return [sum(item in history for history in training) for item in range(NUM_ITEMS)]


def ranked(scores, history, k, exclude_history):
    """Items by falling score, equal ones by index; −1 where nothing is left."""
    allowed = [i for i in range(NUM_ITEMS) if not (exclude_history and i in history)]
    best = sorted(allowed, key=lambda item: (-scores[item], item))[:k]
    return best + [-1] * (k - len(best))


def knn_scores(training, history, neighbours, shrinkage, half_life):
    """The definition, item by item."""
    users = [{u for u, row in enumerate(training) if i in row} for i in range(NUM_ITEMS)]

    def similarity(i, j):
        both = len(users[i] & users[j])
        if i == j or not both:
            return 0.0
        cosine = both / (math.sqrt(len(users[i])) * math.sqrt(len(users[j])))
        return cosine * (both / (both + shrinkage))

    scores = [0.0] * NUM_ITEMS
    for age, owned in enumerate(reversed(history)):
        nearest = sorted(range(NUM_ITEMS), key=lambda j: (-similarity(owned, j), j))[:neighbours]
        for j in nearest:
            scores[j] += 0.5 ** (age / half_life) * similarity(owned, j)
    popularity = counts(training)
    return [
        score if score > 0 else -1 / (1 + users)
        for score, users in zip(scores, popularity, strict=True)
    ]


def check(recommend, readers, expected_scores, k, exclude_history):
    items, scores = recommend(Histories.of(readers), k, exclude_history=exclude_history)
    assert items.dtype == np.int32
    assert scores.dtype == np.float32
    assert items.shape == scores.shape == (len(readers), k)
    for row, values, history, expected in zip(items, scores, readers, expected_scores, strict=True):
        # Sums in another order differ in their last bits, which is enough to swap equal scores.
        rounded = [round(score, 9) for score in expected]
        full = [rounded[item] for item in ranked(rounded, history, k, exclude_history) if item >= 0]
        assert [rounded[item] for item in row if item >= 0] == full
        np.testing.assert_allclose(values[: len(full)], full, rtol=1e-5)
        assert (row[len(full) :] == -1).all()
        assert (values[len(full) :] == -np.inf).all()


@given(histories, histories, st.integers(1, NUM_ITEMS + 2), st.booleans())
@settings(deadline=None)
def test_most_popular_is_exact(training, readers, k, exclude_history):
    recommend = most_popular(Histories.of(training), NUM_ITEMS)
    items, scores = recommend(Histories.of(readers), k, exclude_history=exclude_history)
    popularity = counts(training)
    expected = [ranked(popularity, history, k, exclude_history) for history in readers]
    assert items.tolist() == expected
    assert scores.tolist() == [
        [popularity[item] if item >= 0 else -math.inf for item in row] for row in expected
    ]


@given(
    training=histories,
    readers=histories,
    neighbours=st.integers(1, NUM_ITEMS),
    shrinkage=st.sampled_from([0.0, 1.0, 5.0]),
    half_life=st.sampled_from([1.0, 2.0, math.inf]),
    k=st.integers(1, NUM_ITEMS + 2),
    exclude_history=st.booleans(),
)
@settings(deadline=None)
def test_item_knn_follows_its_definition(
    training, readers, neighbours, shrinkage, half_life, k, exclude_history
):
    recommend = item_knn(
        Histories.of(training), NUM_ITEMS, neighbours, shrinkage=shrinkage, half_life=half_life
    )
    scores = [knn_scores(training, row, neighbours, shrinkage, half_life) for row in readers]
    check(recommend, readers, scores, k, exclude_history)


@given(histories, histories)
@settings(deadline=None)
def test_the_size_of_the_chunks_changes_nothing(training, readers):
    def lists():
        recommend = item_knn(Histories.of(training), NUM_ITEMS, 3)
        return recommend(Histories.of(readers), 4, exclude_history=True)

    items, scores = lists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "_SCORES_AT_ONCE", 2 * NUM_ITEMS)
        patch.setattr(baselines, "_ITEMS_AT_ONCE", 2)
        small_items, small_scores = lists()
    np.testing.assert_array_equal(items, small_items)
    np.testing.assert_array_equal(scores, small_scores)


@pytest.mark.parametrize("exclude_history", [False, True])
def test_only_the_items_of_the_histories_count(exclude_history):
    """Histories may be runs of an array with more in it, even items outside the catalogue."""
    rows = [[0, 1, 2], [0, 1], [4, 2, 1], [3, 0], [5]]
    longer = Histories.of([[9, 9], *([*row, 6, 9] for row in rows)]).without_last(2)
    chosen = [5, 3, 1, 2, 4]
    views = longer.select(np.array(chosen))
    copies = Histories.of([rows[b - 1] for b in chosen])
    for make in (most_popular, functools.partial(item_knn, neighbours=3)):
        expected = make(copies, NUM_ITEMS)(copies, 5, exclude_history=exclude_history)
        lists = make(views, NUM_ITEMS)(views, 5, exclude_history=exclude_history)
        np.testing.assert_array_equal(lists[0], expected[0])
        np.testing.assert_array_equal(lists[1], expected[1])


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12))
@settings(deadline=None)
def test_top_k_orders_equal_scores_by_index(seed, width, k):
    scores = np.random.default_rng(seed).integers(3, size=(5, width)).astype(np.float64)
    scores[0] = -np.inf
    k = min(k, width)
    expected = np.lexsort((np.broadcast_to(np.arange(width), scores.shape), -scores))[:, :k]
    np.testing.assert_array_equal(baselines._best(scores, k), expected)


def test_item_knn_finds_what_goes_together():
    training = Histories.of([[0, 1], [0, 1], [2, 3], [2, 3], [4, 5], [4, 5], [4, 6]])
    recommend = item_knn(training, NUM_ITEMS, 2)
    items, _ = recommend(Histories.of([[0], [3], [4]]), 2, exclude_history=True)
    assert items[:, 0].tolist() == [1, 2, 5]
    assert items[2, 1] == 6


def test_the_end_of_a_history_weighs_more():
    training = Histories.of([[0, 1], [2, 3]])
    recommend = item_knn(training, NUM_ITEMS, 2)
    items, scores = recommend(Histories.of([[0, 2], [2, 0]]), 2, exclude_history=True)
    assert items.tolist() == [[3, 1], [1, 3]]
    np.testing.assert_allclose(scores[:, 1], scores[:, 0] / 2)


def test_an_item_counts_once_per_user_in_training():
    training = Histories.of([[0, 0, 0, 0], [1], [1]])
    items, scores = most_popular(training, 2)(Histories.of([[]]), 2, exclude_history=False)
    assert items.tolist() == [[1, 0]]
    assert scores.tolist() == [[2.0, 1.0]]


def test_an_empty_history_gets_the_popular_items():
    training = Histories.of([[0, 1], [2, 1], [1, 2]])
    items, scores = item_knn(training, 4, 2)(Histories.of([[]]), 4, exclude_history=True)
    assert items.tolist() == [[1, 2, 0, 3]]
    np.testing.assert_allclose(scores, [[-1 / 4, -1 / 3, -1 / 2, -1]])


@pytest.mark.parametrize("item", [-1, 5])
def test_an_item_outside_the_catalogue_is_refused(item):
    inside, outside = Histories.of([[0, 1]]), Histories.of([[0, item]])
    with pytest.raises(ValueError, match="outside the catalogue"):
        item_knn(outside, 5, 2)
    for recommend in (most_popular(inside, 5), item_knn(inside, 5, 2)):
        with pytest.raises(ValueError, match="outside the catalogue"):
            recommend(outside, 2, exclude_history=True)
