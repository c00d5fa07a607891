"""Beam search against brute force: every item scored by itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from small import randomised, small_model

from genrec.decoding.beam import beam_search
from genrec.decoding.trie import build_trie
from genrec.model import causal_mask

SIZES = (6, 5, 4)
LENGTH, EXCLUDED = 4, 5


MODEL = randomised(small_model(SIZES, 1, item_embedding=False))


def catalogue(seed, count):
    every = np.stack(np.meshgrid(*map(np.arange, SIZES), indexing="ij"), -1).reshape(-1, len(SIZES))
    return np.random.default_rng(seed).choice(every, count, replace=False).astype(np.int32)


@jax.jit
def encoded(codes, histories):
    """States of right-aligned histories, and which positions hold an item."""
    readable = histories >= 0
    items = jnp.maximum(histories, 0)
    mask = causal_mask(readable.astype(jnp.int32))
    return MODEL.encode(items, codes[items], mask), readable, mask


def brute_force(codes, histories):
    """float (B, N): log-probability of every item after every history, each decoded by itself."""
    states, _, mask = encoded(codes, np.asarray(histories, np.int32))
    return np.stack([score(states, mask, jnp.asarray(row)) for row in codes], axis=1)


@jax.jit
def score(states, mask, codes):
    targets = jnp.broadcast_to(codes[None, None], (*states.shape[:2], len(SIZES)))
    logits = MODEL.decode(targets, states, mask)
    return sum(
        jax.nn.log_softmax(here)[:, -1, code] for here, code in zip(logits, codes, strict=True)
    )


@functools.partial(jax.jit, static_argnames="beam")
def jitted(trie, states, readable, excluded, *, beam):
    return beam_search(MODEL, trie, states, readable, excluded, beam=beam)


def search(codes, histories, excluded, beam):
    states, readable, _ = encoded(codes, np.asarray(histories, np.int32))
    excluded = jnp.asarray(excluded, jnp.int32)
    items, scores = jitted(build_trie(codes), states, readable, excluded, beam=beam)
    return np.asarray(items), np.asarray(scores)


def histories_of(rng, count, items):
    """Right-aligned histories of 1 to LENGTH items, -1 before them."""
    rows = rng.integers(0, items, (count, LENGTH)).astype(np.int32)
    return np.where(np.arange(LENGTH) >= rng.integers(0, LENGTH, (count, 1)), rows, -1)


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), count=st.sampled_from([1, 9, 40]))
def test_a_wide_beam_ranks_as_brute_force_does(seed, count):
    rng = np.random.default_rng(seed)
    codes, histories = catalogue(seed, count), histories_of(rng, 3, count)
    excluded = rng.integers(-1, count, (3, EXCLUDED))
    expected = brute_force(codes, histories)
    for row, out in enumerate(excluded):
        expected[row, out[out >= 0]] = -np.inf
    items, scores = search(codes, histories, excluded, beam=64)
    for row in range(3):
        left = np.flatnonzero(np.isfinite(expected[row]))
        best = left[np.argsort(-expected[row, left])]
        found = items[row][items[row] >= 0]
        assert len(found) == len(left)
        assert np.allclose(expected[row, found], expected[row, best], atol=1e-4)
        assert np.allclose(scores[row, : len(found)], expected[row, best], atol=1e-4)
        assert set(found) == set(left)
        assert np.isneginf(scores[row, len(found) :]).all()


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), beam=st.sampled_from([1, 3, 7]))
def test_a_narrow_beam_gives_as_many_allowed_items_as_it_is_wide(seed, beam):
    rng = np.random.default_rng(seed)
    codes, histories = catalogue(seed, 30), histories_of(rng, 4, 30)
    # Excluding everything but a few items makes most prefixes lead nowhere.
    excluded = np.stack([rng.permutation(30)[:26] for _ in range(4)])
    exact = brute_force(codes, histories)
    items, scores = search(codes, histories, excluded, beam)
    for row in range(4):
        found = items[row][items[row] >= 0]
        assert len(found) == min(beam, 4) == len(set(found))
        assert not set(found) & set(excluded[row])
        assert np.allclose(scores[row, : len(found)], exact[row, found], atol=1e-4)
        assert (np.diff(scores[row, : len(found)]) <= 0).all()


def test_equal_scores_are_ranked_by_code_whatever_the_item_numbers():
    uniform = nnx.clone(MODEL)
    for head in uniform.logits:
        head.kernel[...] = jnp.zeros_like(head.kernel[...])
    codes = catalogue(5, 20)
    states, readable, _ = encoded(codes, histories_of(np.random.default_rng(0), 2, 20))
    nothing = jnp.full((2, 1), -1, jnp.int32)
    items, scores = beam_search(uniform, build_trie(codes), states, readable, nothing, beam=20)
    by_code = np.lexsort(codes.T[::-1])
    assert np.array_equal(items, np.stack([by_code, by_code]))
    assert np.allclose(scores, -np.log(SIZES).sum(), atol=1e-5)


def test_nothing_is_left_when_everything_is_excluded():
    codes = catalogue(1, 3)
    items, scores = search(codes, [[-1, -1, 0, 1]], [[0, 1, 2]], beam=4)
    assert (items == -1).all()
    assert np.isneginf(scores).all()


@pytest.mark.parametrize("padding", [0, 3])
def test_empty_positions_before_a_history_change_nothing(padding):
    codes = catalogue(2, 12)
    history = [[3, 1, 7]]
    items, scores = search(codes, history, [[-1]], beam=5)
    padded = [[-1] * padding + history[0]]
    again, same = search(codes, padded, [[-1]], beam=5)
    assert np.array_equal(items, again)
    assert np.allclose(scores, same, atol=1e-5)
