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
from genrec.decoding.filters import Filters
from genrec.decoding.trie import build_trie
from genrec.model import Catalogue, Inputs

SIZES = (6, 5, 4)
LENGTH, EXCLUDED = 4, 5


def model(**options):
    return randomised(small_model(SIZES, 1, item_embedding=False, **options))


MODELS = {"genrec": model(), "tiger": model(tokens="codes", encoder="bidirectional")}


def catalogue(seed, count):
    every = np.stack(np.meshgrid(*map(np.arange, SIZES), indexing="ij"), -1).reshape(-1, len(SIZES))
    return np.random.default_rng(seed).choice(every, count, replace=False).astype(np.int32)


@functools.partial(jax.jit, static_argnames="recipe")
def encoded(codes, histories, *, recipe):
    """Histories, one to a row from its first slot on."""
    inputs = Inputs(jnp.maximum(histories, 0), jnp.where(histories >= 0, 0, -1))
    return MODELS[recipe].encode(inputs, Catalogue(codes), every_position=False)


def brute_force(codes, histories, recipe):
    """float (B, N): log-probability of every item after every history, each decoded by itself."""
    read = encoded(codes, np.asarray(histories, np.int32), recipe=recipe)
    return np.stack([score(read, jnp.asarray(row), recipe=recipe) for row in codes], axis=1)


@functools.partial(jax.jit, static_argnames="recipe")
def score(read, codes, *, recipe):
    targets = jnp.broadcast_to(codes[None, None], (len(read.states), 1, len(SIZES)))
    logits = MODELS[recipe].decode(targets, read)
    return sum(
        jax.nn.log_softmax(here)[:, 0, code] for here, code in zip(logits, codes, strict=True)
    )


def blocking(items):
    return Filters(items, jnp.zeros(len(items), bool))


@functools.partial(jax.jit, static_argnames=("beam", "recipe"))
def jitted(trie, read, excluded, *, beam, recipe):
    return beam_search(MODELS[recipe], trie, read, blocking(excluded), beam=beam)


def search(codes, histories, excluded, beam, recipe="genrec"):
    read = encoded(codes, np.asarray(histories, np.int32), recipe=recipe)
    excluded = jnp.asarray(excluded, jnp.int32)
    items, scores = jitted(build_trie(codes), read, excluded, beam=beam, recipe=recipe)
    return np.asarray(items), np.asarray(scores)


def histories_of(rng, count, items):
    """Histories of 1 to LENGTH items, -1 behind them."""
    rows = rng.integers(0, items, (count, LENGTH)).astype(np.int32)
    return np.where(np.arange(LENGTH) <= rng.integers(0, LENGTH, (count, 1)), rows, -1)


@settings(max_examples=15)
@pytest.mark.parametrize("recipe", MODELS)
@given(seed=st.integers(0, 10**6), count=st.sampled_from([1, 9, 40]))
def test_a_wide_beam_ranks_as_brute_force_does(recipe, seed, count):
    rng = np.random.default_rng(seed)
    codes, histories = catalogue(seed, count), histories_of(rng, 3, count)
    excluded = rng.integers(-1, count, (3, EXCLUDED))
    expected = brute_force(codes, histories, recipe)
    for row, out in enumerate(excluded):
        expected[row, out[out >= 0]] = -np.inf
    items, scores = search(codes, histories, excluded, 64, recipe)
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
@pytest.mark.parametrize("recipe", MODELS)
@given(seed=st.integers(0, 10**6), beam=st.sampled_from([1, 3, 7]))
def test_a_narrow_beam_gives_as_many_allowed_items_as_it_is_wide(recipe, seed, beam):
    rng = np.random.default_rng(seed)
    codes, histories = catalogue(seed, 30), histories_of(rng, 4, 30)
    # Excluding everything but a few items makes most prefixes lead nowhere.
    excluded = np.stack([rng.permutation(30)[:26] for _ in range(4)])
    exact = brute_force(codes, histories, recipe)
    items, scores = search(codes, histories, excluded, beam, recipe)
    for row in range(4):
        found = items[row][items[row] >= 0]
        assert len(found) == min(beam, 4) == len(set(found))
        assert not set(found) & set(excluded[row])
        assert np.allclose(scores[row, : len(found)], exact[row, found], atol=1e-4)
        assert (np.diff(scores[row, : len(found)]) <= 0).all()


def test_equal_scores_are_ranked_by_code_whatever_the_item_numbers():
    uniform = nnx.clone(MODELS["genrec"])
    for head in uniform.logits:
        head.kernel[...] = jnp.zeros_like(head.kernel[...])
    codes = catalogue(5, 20)
    read = encoded(codes, histories_of(np.random.default_rng(0), 2, 20), recipe="genrec")
    nothing = jnp.full((2, 1), -1, jnp.int32)
    items, scores = beam_search(uniform, build_trie(codes), read, blocking(nothing), beam=20)
    by_code = np.lexsort(codes.T[::-1])
    assert np.array_equal(items, np.stack([by_code, by_code]))
    assert np.allclose(scores, -np.log(SIZES).sum(), atol=1e-5)


def test_nothing_is_left_when_everything_is_excluded():
    codes = catalogue(1, 3)
    items, scores = search(codes, [[0, 1, -1, -1]], [[0, 1, 2]], beam=4)
    assert (items == -1).all()
    assert np.isneginf(scores).all()


@pytest.mark.parametrize("recipe", MODELS)
@pytest.mark.parametrize("padding", [0, 3])
def test_empty_positions_behind_a_history_change_nothing(padding, recipe):
    codes = catalogue(2, 12)
    history = [[3, 1, 7]]
    items, scores = search(codes, history, [[-1]], 5, recipe)
    padded = [history[0] + [-1] * padding]
    again, same = search(codes, padded, [[-1]], 5, recipe)
    assert np.array_equal(items, again)
    assert np.allclose(scores, same, atol=1e-5)
