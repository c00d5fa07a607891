import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.errors import UserError
from genrec.semantic_ids.collisions import disambiguate, reassign, semantic_ids_of
from small_codes import SIZES, tuples


@given(tuples())
def test_disambiguation_makes_tuples_unique_and_changes_no_prefix(codes):
    ids = disambiguate(codes, SIZES)
    assert ids.codes.dtype == np.int32 and np.array_equal(ids.codes[:, :-1], codes)
    assert len(set(map(tuple, ids.codes.tolist()))) == len(codes)
    assert ids.codebook_sizes[:-1] == SIZES
    assert (ids.codes < np.array(ids.codebook_sizes)).all() and (ids.codes >= 0).all()


@given(tuples())
def test_items_of_a_group_are_numbered_in_the_order_of_their_indices(codes):
    seen = Counter()
    for row, last in zip(codes.tolist(), disambiguate(codes, SIZES).codes[:, -1], strict=True):
        assert last == seen[tuple(row)]
        seen[tuple(row)] += 1


@pytest.mark.parametrize(
    ("group", "size"), [(1, 16), (15, 16), (16, 32), (17, 32), (31, 32), (32, 64)]
)
def test_the_last_level_has_room_for_one_more(group, size):
    assert disambiguate(np.zeros((group, 2), np.int32), (4, 4)).codebook_sizes == (4, 4, size)


def test_no_items():
    ids = disambiguate(np.zeros((0, 2), np.int32), (4, 4))
    assert ids.codes.shape == (0, 3) and ids.codebook_sizes == (4, 4, 16)


@given(tuples(), tuples())
def test_items_that_come_later_change_no_id_and_get_unique_ones(codes, new):
    ids = disambiguate(codes, SIZES)
    both = np.concatenate([codes, new])
    most = max(Counter(map(tuple, both.tolist())).values())
    if most > ids.codebook_sizes[-1]:
        with pytest.raises(UserError, match="tokenize the whole"):
            disambiguate(both, SIZES, ids)
        return
    more = disambiguate(both, SIZES, ids)
    assert more.codebook_sizes == ids.codebook_sizes
    assert np.array_equal(more.codes[: len(codes)], ids.codes)
    assert np.array_equal(more.codes[len(codes) :, :-1], new)
    assert len(set(map(tuple, more.codes.tolist()))) == len(codes) + len(new)


def random_distances(codes, seed):
    """Distances to the codes of the last level such that each item's own is the nearest."""
    far = 1 + np.random.default_rng(seed).random((len(codes), SIZES[-1]))
    far[np.arange(len(codes)), codes[:, -1]] -= 1
    return far


@given(tuples(), st.integers(0, 99))
def test_reassignment_moves_as_few_items_as_far_as_it_must(codes, seed):
    far = random_distances(codes, seed)
    groups = Counter(map(tuple, codes[:, :-1].tolist()))
    if max(groups.values()) > SIZES[-1]:
        with pytest.raises(UserError, match="but the last level only 4 codes"):
            reassign(codes, SIZES, lambda items: far[items])
        return
    ids = reassign(codes, SIZES, lambda items: far[items])
    assert ids.unique and ids.codebook_sizes == SIZES
    assert np.array_equal(ids.codes[:, :-1], codes[:, :-1])
    assert len(set(map(tuple, ids.codes.tolist()))) == len(codes)
    for prefix in groups:
        items = np.flatnonzero((codes[:, :-1] == prefix).all(axis=1))
        own = {code: items[codes[items, -1] == code] for code in set(codes[items, -1].tolist())}
        # The nearest of those with a tuple keeps it; brute force over all ways to move the others.
        keepers = {code: group[far[group, code].argmin()] for code, group in own.items()}
        for code, item in keepers.items():
            assert ids.codes[item, -1] == code
        moved = sorted(set(items.tolist()) - set(keepers.values()))
        free = sorted(set(range(SIZES[-1])) - set(own))
        least = min(far[moved, list(to)].sum() for to in itertools.permutations(free, len(moved)))
        assert far[moved, ids.codes[moved, -1]].sum() == pytest.approx(least)


@given(tuples(), st.integers(0, 60), st.integers(0, 99))
def test_reassignment_leaves_given_ids_alone(codes, first, seed):
    seen = Counter()
    rows = []
    for row, prefix in enumerate(map(tuple, codes[:, :-1].tolist())):
        seen[prefix] += 1
        if seen[prefix] <= SIZES[-1]:  # as many as there is room for
            rows.append(row)
    codes, first = codes[rows], min(first, len(rows))
    far = random_distances(codes, seed)
    ids = reassign(codes[:first], SIZES, lambda items: far[items])
    both = np.concatenate([ids.codes, codes[first:]])
    more = reassign(both, SIZES, lambda items: far[items], ids)
    assert np.array_equal(more.codes[:first], ids.codes)
    assert np.array_equal(more.codes[:, :-1], codes[:, :-1])
    assert len(set(map(tuple, more.codes.tolist()))) == len(codes)


def test_without_collisions_nothing_moves_and_no_distance_is_asked_for():
    def never(_):
        raise AssertionError

    codes = np.array([[0, 1, 2], [0, 1, 3], [2, 0, 0]])
    assert np.array_equal(reassign(codes, SIZES, never).codes, codes)


@given(tuples(), tuples())
def test_each_way_by_name(codes, new):
    both, far = np.concatenate([codes, new]), np.zeros((200, SIZES[-1]))
    shared = semantic_ids_of(codes, SIZES, "none", lambda items: far[items])
    assert not shared.unique and np.array_equal(shared.codes, codes)
    more = semantic_ids_of(both, SIZES, "none", lambda items: far[items], shared)
    assert not more.unique and np.array_equal(more.codes, both)
    coded = semantic_ids_of(codes, SIZES, "code", lambda items: far[items])
    assert np.array_equal(coded.codes, disambiguate(codes, SIZES).codes)
