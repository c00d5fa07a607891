"""The bias on the items of a history, against loops over them."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from genrec.model.repeat_bias import (
    HistoryItems,
    add_repeat_bias,
    first_occurrences,
    share_in_history,
)
from genrec.semantic_ids.trie import build_trie, children_of
from genrec.sequences.inputs import Catalogue, Inputs
from small import small_model
from small_codes import device_trie

B, T, Q, N = 2, 6, 3, 5


def numbers(least, most, *shape):
    return arrays.arrays(np.int32, shape, elements=st.integers(least, most))


def masks(*shape):
    return arrays.arrays(bool, shape)


def each_once(items):
    again = [[item in row[:t] for t, item in enumerate(row)] for row in items.tolist()]
    return np.where(again, -1, items)


@given(numbers(0, 3, B, T), numbers(-1, 1, B, T))
def test_an_item_counts_where_its_history_has_it_first(items, segments):
    found = np.asarray(first_occurrences(jnp.asarray(items), jnp.asarray(segments)))
    for row in range(B):
        met = set()
        for slot in range(T):
            seen = (segments[row, slot], items[row, slot])
            fresh = segments[row, slot] >= 0 and seen not in met
            assert found[row, slot] == (items[row, slot] if fresh else -1)
            met.add(seen)


@given(numbers(-1, N - 1, B, T), masks(B, Q, T), st.permutations(range(N)))
def test_the_bias_goes_to_the_items_of_a_querys_history(items, mask, order):
    items = each_once(items)
    scores, bias = np.random.default_rng(0).normal(size=(B, Q, N)), np.array([[1.0, 2, 3]] * B)
    history_items = HistoryItems(jnp.asarray(items), jnp.asarray(mask))
    column = jnp.asarray(np.array(order)[items])
    found = np.asarray(
        add_repeat_bias(jnp.asarray(scores), jnp.asarray(bias), history_items, column)
    )
    for row, query, item in np.ndindex(B, Q, N):
        there = item in items[row][mask[row, query]]
        expected = scores[row, query, order[item]] + there * bias[row, query]
        assert np.isclose(found[row, query, order[item]], expected, atol=1e-6)


CODES = np.array([[0, 0, 1], [0, 0, 2], [0, 1, 0], [1, 0, 0], [1, 2, 0], [1, 2, 1], [1, 2, 3]])
SHAPES = build_trie(CODES).shapes


@functools.partial(jax.jit, static_argnums=1)
def children_and_shares(trie, level, parent, history_items):
    children = children_of(trie, level, parent)
    return children, share_in_history(trie, level, children, history_items)


@given(numbers(-1, 6, B, T), masks(B, Q, T), st.sets(st.integers(0, 6), min_size=1))
def test_shares_are_those_of_the_items_below_a_child(items, mask, kept):
    items = each_once(items)
    some = np.array(sorted(kept))
    trie = device_trie(CODES, some, like=SHAPES)
    history_items = HistoryItems(jnp.asarray(items), jnp.asarray(mask))
    for level in (1, 2):
        prefixes = sorted({tuple(row[:level]) for row in CODES[some].tolist()})
        parent = np.resize(np.arange(len(prefixes)), (B, Q)).astype(np.int32)
        children, found = jax.device_get(children_and_shares(trie, level, parent, history_items))
        for row, query, place in np.ndindex(*found.shape):
            if not children.valid[row, query, place]:
                assert found[row, query, place] == 0
                continue
            prefix = (*prefixes[parent[row, query]], int(children.code[row, query, place]))
            below = [i for i in some if tuple(CODES[i, : level + 1]) == prefix]
            owned = set(items[row][mask[row, query]].tolist())
            expected = sum(item in owned for item in below) / len(below)
            assert np.isclose(found[row, query, place], expected)


def test_every_query_of_a_row_knows_its_own_history_alone():
    """Packed histories and every position, against the same histories one by one."""
    model = small_model((4, 3), 12, item_head=True, repeats=True)
    codes = np.stack(np.meshgrid(range(4), range(3), indexing="ij"), -1).reshape(-1, 2)
    catalogue = Catalogue(codes.astype(np.int32))
    rows, segments = np.array([[3, 7, 3, 5, 7, 0]], np.int32), np.array([[0, 0, 0, 1, 1, -1]])
    again: Any = model.item_again
    packed = model.encode(Inputs(rows, segments), catalogue, every_position=True)
    zeros = jnp.zeros((1, 6, 12))
    found = np.asarray(model.with_repeat_bias(zeros, packed))[0]
    for slot, history in enumerate([[3], [3, 7], [3, 7], [5], [5, 7]]):
        weight = float(again(packed.start)[0, slot, 0])
        expected = np.zeros(12)
        expected[history] = weight
        assert np.allclose(found[slot], expected, atol=1e-6)
