import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.semantic_ids import device_trie as module
from genrec.semantic_ids.device_trie import build_trie, snug
from small_codes import LARGEST, catalogues, roomy_trie

# Compiled as a whole, for there are many shapes.
means_below, parents = jax.jit(module.means_below), jax.jit(module.parents)
nodes_in = jax.jit(module.nodes_in)
children_of = jax.jit(module.children_of, static_argnames="level")


def spelt(trie):
    """Every path from the root to a leaf, with the item there, by walking the arrays."""
    paths = [((), 0)]
    levels = zip(map(np.asarray, trie.children), map(np.asarray, trie.codes), strict=True)
    for children, codes in levels:
        paths = [
            ((*prefix, int(codes[child])), child)
            for prefix, node in paths
            for child in range(int(children[node]), int(children[node + 1]))
        ]
    items = np.asarray(trie.item)
    return {prefix: int(items[leaf]) for prefix, leaf in paths}


@given(catalogues())
def test_the_trie_spells_every_item_and_nothing_else(codes):
    trie = build_trie(codes)
    assert spelt(trie) == {tuple(row): item for item, row in enumerate(codes.tolist())}
    leaves = np.asarray(trie.leaf)[: len(codes)]
    assert np.array_equal(np.asarray(trie.item)[leaves], np.arange(len(codes)))
    for level in range(codes.shape[1]):
        prefixes = {tuple(row[:level]): set() for row in codes.tolist()}
        for row in codes.tolist():
            prefixes[tuple(row[:level])].add(row[level])
        widest = max(map(len, prefixes.values()))
        assert widest <= trie.fan_out[level] < max(widest * 9 / 8 + 1, widest + 4)


def test_a_catalogue_that_grows_a_little_keeps_the_shapes_of_its_trie():
    every = np.stack(np.meshgrid(*[np.arange(8)] * 3, indexing="ij"), -1).reshape(-1, 3)
    shapes = [[x.shape for x in jax.tree.leaves(build_trie(every[:count]))] for count in (400, 403)]
    assert shapes[0] == shapes[1]


def test_items_with_the_same_codes_are_refused():
    with pytest.raises(ValueError, match="items 0 and 2 have the same codes"):
        build_trie(np.array([[1, 2], [1, 3], [1, 2]]))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (3,)])
def test_a_catalogue_without_items_or_levels_is_refused(shape):
    with pytest.raises(ValueError, match="codes of shape"):
        build_trie(np.zeros(shape, np.int32))


@given(catalogues(), st.data())
def test_a_trie_of_some_items_spells_those_in_the_shapes_of_the_whole_one(codes, data):
    some = data.draw(st.sets(st.integers(0, len(codes) - 1), min_size=1))
    whole = build_trie(codes)
    part = build_trie(codes, np.array(sorted(some)), like=whole)
    assert spelt(part) == {tuple(codes[item]): item for item in some}
    kinds = [[(x.shape, x.dtype) for x in jax.tree.leaves(trie)] for trie in (whole, part)]
    assert kinds[0] == kinds[1]
    assert jax.tree.structure(whole) == jax.tree.structure(part)
    leaves = np.asarray(part.leaf)
    left_out = sorted(set(range(len(codes))) - some)
    assert (leaves[left_out] == part.item.shape[0]).all()


def test_a_code_takes_as_many_bytes_as_its_codebook_needs():
    codes = np.stack([np.arange(300), np.arange(300) % 256], axis=1)
    assert [column.dtype for column in build_trie(codes).codes] == [np.uint16, np.uint8]


def test_tuples_too_long_for_one_number_are_sorted_too():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 60_000, (50, 5))
    assert spelt(build_trie(codes)) == {tuple(row): i for i, row in enumerate(codes.tolist())}


def test_a_trie_of_no_item_is_refused():
    with pytest.raises(ValueError, match="at least one item"):
        build_trie(np.array([[1, 2]]), np.array([], np.int64))


@settings(max_examples=30)
@given(catalogues(), st.data())
def test_means_are_those_of_the_items_with_each_prefix(codes, data):
    trie = build_trie(codes, like=roomy_trie(codes.shape[1]))
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(LARGEST, 3)).astype(np.float32)
    weights = rng.random(LARGEST).astype(np.float32) + 0.1
    some = np.array(sorted(data.draw(st.sets(st.integers(0, len(codes) - 1), min_size=1))))
    part = build_trie(codes, some, like=trie)
    some = np.resize(some, LARGEST)
    way, its_way = (parents(t, np.asarray(t.leaf)[some]) for t in (trie, part))
    vectors_of, weight_of = vectors[: len(codes)], weights[: len(codes)]
    plain, weighted = (
        means_below(trie, jnp.asarray(vectors)),
        means_below(trie, jnp.asarray(vectors), jnp.asarray(weights)),
    )
    assert len(plain) == codes.shape[1] - 1
    inside = nodes_in(trie, part)
    for level in range(codes.shape[1]):
        assert np.array_equal(inside[level][its_way[level][1]], way[level][1])
        for item, node in zip(some, np.asarray(way[level][1]), strict=True):
            same = (codes[:, : level + 1] == codes[item, : level + 1]).all(axis=1)
            if level:
                assert np.allclose(plain[level - 1][node], vectors_of[same].mean(0), atol=1e-5)
                expected = np.average(vectors_of[same], axis=0, weights=weight_of[same])
                assert np.allclose(weighted[level - 1][node], expected, atol=1e-5)


@settings(max_examples=6)  # exact fan-outs are compiled anew
@given(catalogues())
def test_children_are_the_codes_that_go_on(codes):
    for trie in (build_trie(codes), snug(build_trie(codes))):
        leaves = np.asarray(trie.leaf)[: len(codes)]
        for level, (parent, node) in enumerate(parents(trie, leaves)):
            found = jax.tree.map(np.asarray, children_of(trie, level, parent))
            for item, row in enumerate(codes):
                same = (codes[:, :level] == row[:level]).all(axis=1)
                there = found.there[item]
                assert found.code[item][there].tolist() == sorted(set(codes[same, level].tolist()))
                assert node[item] in found.node[item][there]
        assert not children_of(trie, 0, np.array([-1], np.int32)).there.any()
    widest = [max(np.diff(children)) for children in trie.children]
    assert trie.fan_out == tuple(widest)
