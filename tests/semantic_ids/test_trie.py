"""The trie's arrays, against what the code tuples say themselves."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.semantic_ids.trie import (
    build_trie,
    children_of,
    leaves_below,
    means_in,
    nodes_in,
    path_to,
    with_exact_fan_out,
)
from small_codes import catalogues


def leaves_of(trie):
    """Every path from the root to a leaf, with the item there, by walking the arrays."""
    paths = [((), 0)]
    for children, codes in zip(trie.children, trie.codes, strict=True):
        paths = [
            ((*prefix, int(codes[child])), child)
            for prefix, node in paths
            for child in range(int(children[node]), int(children[node + 1]))
        ]
    return {prefix: int(trie.item[leaf]) for prefix, leaf in paths}


def prefixes(codes, length):
    return sorted({tuple(row[:length]) for row in codes.tolist()})


def some_of(codes, data):
    return np.array(sorted(data.draw(st.sets(st.integers(0, len(codes) - 1), min_size=1))))


@given(catalogues())
def test_the_trie_has_every_item_and_nothing_else(codes):
    trie = build_trie(codes)
    assert leaves_of(trie) == {tuple(row): item for item, row in enumerate(codes.tolist())}
    leaves = trie.leaf[: len(codes)]
    assert np.array_equal(trie.item[leaves], np.arange(len(codes)))
    for level in range(codes.shape[1]):
        below = {tuple(row[:level]): set() for row in codes.tolist()}
        for row in codes.tolist():
            below[tuple(row[:level])].add(row[level])
        widest = max(map(len, below.values()))
        assert widest <= trie.fan_out[level] < max(widest * 9 / 8 + 1, widest + 4)


def test_a_catalogue_that_grows_a_little_keeps_the_shapes_of_its_trie():
    every = np.stack(np.meshgrid(*[np.arange(8)] * 3, indexing="ij"), -1).reshape(-1, 3)
    assert build_trie(every[:400]).shapes == build_trie(every[:403]).shapes


@given(codes=catalogues(), room=st.floats(0, 2))
def test_what_has_room_keeps_its_shapes(codes, room):
    shapes = build_trie(codes, room=room).shapes
    assert shapes.items >= len(codes) * (1 + room) - 1
    trie = build_trie(codes, None, shapes)
    assert trie.shapes == shapes
    assert leaves_of(trie) == {tuple(row): item for item, row in enumerate(codes.tolist())}


def test_items_with_the_same_codes_are_refused():
    with pytest.raises(ValueError, match="items 0 and 2 have the same codes"):
        build_trie(np.array([[1, 2], [1, 3], [1, 2]]))


def test_a_trie_of_no_item_is_refused():
    with pytest.raises(ValueError, match="at least one item"):
        build_trie(np.array([[1, 2]]), np.array([], np.int64))
    with pytest.raises(ValueError, match="at least one item"):
        build_trie(np.zeros((0, 3), np.int32))


@pytest.mark.parametrize(
    "more",
    [
        np.array([[0, n] for n in range(65)]),  # more children than any node may have
        np.array([[n % 7, n] for n in range(200)]),  # more items
        np.array([[0, 300], [1, 2]]),  # a code that needs a wider type
    ],
)
def test_what_has_no_room_is_refused(more):
    shapes = build_trie(np.array([[0, 1], [1, 2], [1, 3]])).shapes
    with pytest.raises(ValueError, match="no room"):
        build_trie(more, None, shapes)


@given(catalogues(), st.data())
def test_a_trie_of_some_items_has_those_in_the_shapes_of_the_whole_one(codes, data):
    some = some_of(codes, data)
    whole = build_trie(codes)
    part = build_trie(codes, some, whole.shapes)
    assert part.shapes == whole.shapes
    assert leaves_of(part) == {tuple(codes[item]): item for item in some}
    left_out = sorted(set(range(len(codes))) - set(some.tolist()))
    assert (part.leaf[left_out] == len(part.item)).all()


def test_a_code_takes_as_many_bytes_as_its_codebook_needs():
    codes = np.stack([np.arange(300), np.arange(300) % 256], axis=1)
    assert [column.dtype for column in build_trie(codes).codes] == [np.uint16, np.uint8]


def test_tuples_too_long_for_one_number_are_sorted_too():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 60_000, (50, 5))
    assert leaves_of(build_trie(codes)) == {tuple(row): i for i, row in enumerate(codes.tolist())}


@given(catalogues(), st.data())
def test_means_are_those_of_the_items_below_each_node(codes, data):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(codes), 3)).astype(np.float32)
    seen, some = rng.random(len(codes)) < 0.5, some_of(codes, data)
    whole = build_trie(codes)
    part = build_trie(codes, some, whole.shapes)
    plain, weighted = (means_in(whole, part, vectors, which) for which in (None, seen))
    nodes = nodes_in(whole, part)
    assert len(plain) == len(weighted) == codes.shape[1] - 1
    for level in range(codes.shape[1]):
        every = prefixes(codes, level + 1)
        for node, prefix in enumerate(prefixes(codes[some], level + 1)):
            assert nodes[level][node] == every.index(prefix)
            if level:
                below = (codes[:, : level + 1] == prefix).all(axis=1)
                assert np.allclose(plain[level - 1][node], vectors[below].mean(0), atol=1e-5)
                counted = below & seen if (below & seen).any() else below
                expected = vectors[counted].mean(0)
                assert np.allclose(weighted[level - 1][node], expected, atol=1e-4)


@given(catalogues())
def test_children_are_the_codes_that_go_on(codes):
    for trie in (build_trie(codes), with_exact_fan_out(build_trie(codes))):
        for level, (parent, node) in enumerate(path_to(trie, trie.leaf[np.arange(len(codes))])):
            children = children_of(trie, level, parent)
            for item, row in enumerate(codes):
                same = (codes[:, :level] == row[:level]).all(axis=1)
                valid = children.valid[item]
                assert children.code[item][valid].tolist() == sorted(set(codes[same, level]))
                assert node[item] in children.node[item][valid]
        assert not children_of(trie, 0, np.array([-1])).valid.any()
    widest = [max(np.diff(children)) for children in trie.children]
    assert trie.fan_out == tuple(widest)


def test_jax_answers_as_numpy_does():
    rng = np.random.default_rng(0)
    codes = np.unique(rng.integers(0, 12, (900, 3)), axis=0)
    vectors = rng.normal(size=(len(codes), 4)).astype(np.float32)
    seen = rng.random(len(codes)) < 0.5
    leaves = np.array([[5, 0], [77, 3]], np.int32)

    def answers(whole, part, vectors, seen, leaves):
        path = path_to(whole, leaves)
        walks = [children_of(whole, level, parent) for level, (parent, _) in enumerate(path)]
        means = [means_in(whole, part, vectors, which) for which in (None, seen)]
        below = leaves_below(whole, 0, path[0][1])
        return path, walks, nodes_in(whole, part), below, means

    whole = build_trie(codes)
    arguments = whole, build_trie(codes, np.arange(200), whole.shapes), vectors, seen, leaves
    ours, theirs = answers(*arguments), jax.jit(answers)(*arguments)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for our, their in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert isinstance(our, np.ndarray)
        np.testing.assert_allclose(our, their, atol=1e-6)


def test_tries_of_the_same_shapes_share_a_compiled_function():
    codes = np.stack(np.meshgrid(*[np.arange(4)] * 2, indexing="ij"), -1).reshape(-1, 2)
    whole = build_trie(codes)
    part = build_trie(codes, np.arange(5), whole.shapes)
    assert jax.tree.structure(whole) == jax.tree.structure(part)
    assert [x.dtype for x in jax.tree.leaves(whole)] == [x.dtype for x in jax.tree.leaves(part)]
    assert jax.tree.structure(dataclasses.replace(part, fan_out=(9, 9))) != jax.tree.structure(part)
