import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.decoding.trie import build_trie


@st.composite
def catalogues(draw):
    """Distinct code tuples, in no order, of 1 to 4 levels."""
    levels = draw(st.integers(1, 4))
    code = st.integers(0, draw(st.integers(1, 6)))
    rows = draw(st.sets(st.tuples(*[code] * levels), min_size=1, max_size=25))
    return np.array(draw(st.permutations(sorted(rows))), np.int32)


def spelt(trie):
    """Every path from the root to a leaf, with the item there, by walking the arrays."""
    paths = [((), 0)]
    for children, codes in zip(trie.children, trie.codes, strict=True):
        paths = [
            ((*prefix, int(codes[child])), child)
            for prefix, node in paths
            for child in range(int(children[node]), int(children[node + 1]))
        ]
    return {prefix: int(trie.item[leaf]) for prefix, leaf in paths}


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
        assert widest <= trie.fan_out[level] < 2 * widest


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
