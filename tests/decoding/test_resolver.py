import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.decoding import Resolver, rank_by_distance
from genrec.decoding.resolver import EXACT_BELOW

RNG = np.random.default_rng(0)
BOOKS = [RNG.normal(size=(4, 3)).astype(np.float32), 0.3 * RNG.normal(size=(4, 3))]
CODES = np.array([[0, 1], [0, 2], [3, 3], [2, 0]], np.int32)
VECTORS = RNG.normal(size=(4, 3)).astype(np.float32)


def rebuild(codes):
    return (BOOKS[0][codes[:, 0]] + BOOKS[1][codes[:, 1]]).astype(np.float32)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=9))
def test_a_tuple_is_its_item_or_else_the_nearest_to_what_it_describes(tuples):
    codes = np.array(tuples, np.int32)
    items, exact = Resolver(CODES, VECTORS, rebuild)(codes)
    for row, item, known in zip(codes, items, exact, strict=True):
        owners = np.flatnonzero((row == CODES).all(axis=1))
        assert known == (len(owners) == 1)
        distance = ((VECTORS - rebuild(row[None])) ** 2).sum(axis=1)
        assert item == (owners[0] if known else distance.argmin())


def test_lists_name_an_item_once_skip_the_excluded_and_tell_how_many_tuples_are_invalid():
    codes = np.array([[[0, 1], [0, 1], [3, 3], [2, 0], [1, 1]]], np.int32)
    scores = np.array([[-1, -2, -3, -4, -5]], np.float32)
    (stand_in,), _ = Resolver(CODES, VECTORS, rebuild)(codes[0, 4:])
    items, kept, invalid = Resolver(CODES, VECTORS, rebuild).lists(codes, scores, [{3}], 4)
    expected = {0: -1.0, 2: -3.0}
    if stand_in not in (0, 2, 3):
        expected[int(stand_in)] = -5.0
    padding = 4 - len(expected)
    assert items[0].tolist() == [*expected, *[-1] * padding]
    assert kept[0].tolist() == [*expected.values(), *[-np.inf] * padding]
    assert invalid == pytest.approx(0.2)


def test_the_index_is_the_one_asked_for():
    vectors = RNG.normal(size=(300, 3)).astype(np.float32)
    codes = np.stack([np.arange(300) // 20, np.arange(300) % 20], axis=1)
    resolver = Resolver(codes, vectors, lambda codes: vectors[codes[:, 0]], index="IVF4,Flat")
    items, exact = resolver(np.array([[17, 3]]))
    assert (items[0], exact[0]) == (17, False)


def test_items_that_share_their_codes_are_ranked_by_distance_from_the_rebuilt_vector():
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 3, (40, 2)).astype(np.int32)
    vectors = rng.normal(size=(40, 3)).astype(np.float32)
    vectors[7] = vectors[3]
    codes[7] = codes[3]
    rank = rank_by_distance(codes, vectors, rebuild)
    for tuple_ in np.unique(codes, axis=0):
        group = np.flatnonzero((codes == tuple_).all(axis=1))
        distance = ((vectors[group] - rebuild(tuple_[None])) ** 2).sum(axis=1)
        by_distance = group[np.lexsort((group, distance))]
        assert by_distance[rank[by_distance]].tolist() == by_distance.tolist()
        assert sorted(rank[group]) == list(range(len(group)))
    items, exact = Resolver(codes, vectors, rebuild)(codes)
    assert exact.all()
    assert (rank[items] == 0).all()


def test_a_large_catalogue_gets_an_approximate_index_whose_recall_is_measured():
    rng = np.random.default_rng(2)
    count = EXACT_BELOW
    codes = np.stack([np.arange(count) // 400, np.arange(count) % 400], axis=1)
    vectors = rng.normal(size=(count, 2)).astype(np.float32)
    books = [rng.normal(size=(400, 2)), 0.1 * rng.normal(size=(400, 2))]

    def describe(codes):
        return (books[0][codes[:, 0]] + books[1][codes[:, 1]]).astype(np.float32)

    resolver = Resolver(codes, vectors, describe)
    assert resolver.index_name.startswith("IVF")
    assert 0.9 <= resolver.recall() <= 1.0
    assert Resolver(codes[:1000], vectors[:1000], describe).index_name == "Flat"
    coarse = Resolver(codes[:5000], vectors[:5000], describe, index="PQ1x4")
    assert coarse.recall() < 0.9
