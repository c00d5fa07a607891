"""The trie's arrays, against what the code tuples say themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.semantic_ids.trie import means_below, nodes_in, spell

tuples = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 300)),
    min_size=1,
    max_size=40,
    unique=True,
)


def below(codes, prefix):
    """The items whose codes begin so."""
    return [i for i, row in enumerate(codes) if row[: len(prefix)] == prefix]


def prefixes(codes, length):
    return sorted({row[:length] for row in codes})


@settings(max_examples=50, deadline=None)
@given(codes=tuples, data=st.data())
def test_means_are_those_of_the_items_below(codes, data):
    rng = np.random.default_rng(len(codes))
    vectors = rng.normal(size=(len(codes), 4)).astype(np.float32)
    weights = rng.uniform(0.1, 2, len(codes)).astype(np.float32)
    spelling = spell(np.array(codes))
    means = means_below(spelling, vectors, weights)
    assert len(means) == 2
    for level, mean in enumerate(means, 1):
        assert mean.shape == (len(spelling.codes[level]), 4)
        for node, prefix in enumerate(prefixes(codes, level + 1)):
            some = below(codes, prefix)
            wanted = np.average(vectors[some], axis=0, weights=weights[some])
            np.testing.assert_allclose(mean[node], wanted, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(codes=tuples, data=st.data())
def test_the_nodes_of_a_part_are_found_in_the_whole(codes, data):
    whole = spell(np.array(codes))
    some = data.draw(st.sets(st.integers(0, len(codes) - 1), min_size=1))
    part = spell(np.array(codes), np.array(sorted(some)), whole.shapes)
    assert part.shapes == whole.shapes
    for level, nodes in enumerate(nodes_in(whole, part)):
        every = prefixes(codes, level + 1)
        left = prefixes([codes[item] for item in some], level + 1)
        assert nodes[: len(left)].tolist() == [every.index(prefix) for prefix in left]


@settings(max_examples=50, deadline=None)
@given(codes=tuples, room=st.floats(0, 2))
def test_every_item_is_spelt_and_what_has_room_keeps_its_shapes(codes, room):
    shapes = spell(np.array(codes), room=room).shapes
    assert shapes.items >= len(codes) * (1 + room) - 1
    found = spell(np.array(codes), None, shapes)
    for item, row in enumerate(codes):
        leaf = found.leaf[item]
        assert found.item[leaf] == item
        assert found.codes[-1][leaf] == row[-1]
    assert (found.item >= 0).sum() == len(codes)


@pytest.mark.parametrize(
    "more",
    [
        np.array([[0, n] for n in range(65)]),  # more children than any node may have
        np.array([[n % 7, n] for n in range(200)]),  # more items
        np.array([[0, 300], [1, 2]]),  # a code that needs a wider type
    ],
)
def test_what_has_no_room_is_refused(more):
    shapes = spell(np.array([[0, 1], [1, 2], [1, 3]])).shapes
    with pytest.raises(ValueError, match="no room"):
        spell(more, None, shapes)
