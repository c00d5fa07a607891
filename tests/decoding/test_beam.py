"""Beam search against brute force: every item scored by itself."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.decoding.beam import Normalise, Sampling, beam_search, guided_beam_search
from genrec.decoding.filters import Filters
from genrec.decoding.guide import Guide, guide_on_path, log_masses
from genrec.model import Encoded, EncoderDecoder
from genrec.semantic_ids.trie import build_trie
from genrec.sequences.inputs import Catalogue, Inputs
from small import small_model
from small_codes import device_trie

SIZES = (6, 5, 4)
LENGTH, EXCLUDED = 4, 5


def model(**options):
    return small_model(SIZES, 1, item_embedding=False, **options)


MODELS = {"genrec": model(), "tiger": model(tokens="codes", encoder="bidirectional")}


def catalogue(seed, count):
    every = np.stack(np.meshgrid(*map(np.arange, SIZES), indexing="ij"), -1).reshape(-1, len(SIZES))
    return np.random.default_rng(seed).choice(every, count, replace=False).astype(np.int32)


# Smaller catalogues take its shapes, so that one program serves them all.
LARGEST = build_trie(catalogue(0, 60)).shapes


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
    return Filters(items, np.zeros(len(items), bool))


@functools.partial(jax.jit, static_argnames=("beam", "recipe", "normalise", "scored"))
def jitted(
    trie,
    read,
    filters,
    *,
    beam,
    recipe,
    normalise: Normalise = "codes",
    scored=None,
    sampling=None,
):
    return beam_search(
        MODELS[recipe],
        trie,
        read,
        filters,
        beam=beam,
        normalise=normalise,
        scored=scored,
        sampling=sampling,
    )


def search(codes, histories, excluded, beam, recipe="genrec", **options):
    """`excluded` may also be `Filters`, and `codes` a trie and the codes to read histories by."""
    trie, codes = codes if isinstance(codes, tuple) else (build_trie(codes, like=LARGEST), codes)
    read = encoded(codes, np.asarray(histories, np.int32), recipe=recipe)
    if not isinstance(excluded, Filters):
        excluded = blocking(np.asarray(excluded, np.int32))
    items, scores = jitted(trie, read, excluded, beam=beam, recipe=recipe, **options)
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


def test_an_allow_list_gives_its_items_alone_and_a_block_list_beside_it_all_others():
    rng = np.random.default_rng(3)
    codes, histories = catalogue(3, 40), histories_of(rng, 4, 40)
    named = np.stack([rng.permutation(40)[:6] for _ in range(4)])
    named[0] = -1  # an allow list of nothing
    allow = np.array([True, True, False, True])
    exact = brute_force(codes, histories, "genrec")
    items, scores = search(codes, histories, Filters(named, allow), 40)
    for row in range(4):
        wanted = [item for item in range(40) if (item in named[row]) == allow[row]]
        found = items[row][items[row] >= 0]
        best = sorted(wanted, key=lambda item: -exact[row, item])
        assert found.tolist() == best
        assert np.allclose(scores[row, : len(best)], exact[row, best], atol=1e-4)


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), count=st.sampled_from([5, 40]))
def test_probabilities_over_the_allowed_codes_sum_to_one_over_the_permitted_items(seed, count):
    rng = np.random.default_rng(seed)
    codes, histories = catalogue(seed, count), histories_of(rng, 3, count)
    excluded = rng.integers(-1, count, (3, EXCLUDED))
    items, scores = search(codes, histories, excluded, 64, normalise="allowed")
    logits = [np.asarray(x) for x in raw_logits(codes, histories)]
    for row in range(3):
        left = [item for item in range(count) if item not in excluded[row]]
        for item, points in zip(items[row], scores[row], strict=True):
            if item < 0:
                continue
            expected = 0.0
            for level in range(len(SIZES)):
                # The codes that follow the item's prefix in some item that is left.
                after = {
                    codes[other, level]
                    for other in left
                    if np.array_equal(codes[other, :level], codes[item, :level])
                }
                here = logits[level][row, item]
                rivals = [here[code] for code in after]
                expected += here[codes[item, level]] - np.log(np.exp(rivals).sum())
            assert points == pytest.approx(expected, abs=1e-4)
        assert np.exp(scores[row]).sum() == pytest.approx(float(len(left) > 0), abs=1e-4)


@functools.partial(jax.jit, static_argnames="beam")
def guided(trie, read, filters, log_p, own, other, *, beam):
    guide = Guide(log_masses(trie, log_p), own, other)
    return guided_beam_search(MODELS["genrec"], trie, read, filters, guide, beam=beam)


OWN, OTHER = np.array([0.3, 0.0, -0.2], np.float32), np.array([0.7, 1.5, 1.0], np.float32)


def weighed(codes, item, logits, log_p):
    """For each level the children of the item's prefix, what the guided search weighs of them, and
    the item's own: codes, float (2, R), its code."""
    levels = []
    for level in range(len(SIZES)):
        below = [c for c in range(len(codes)) if (codes[c, :level] == codes[item, :level]).all()]
        after = sorted({int(codes[c, level]) for c in below})
        masses = [
            np.exp(log_p[[c for c in below if codes[c, level] == code]]).sum() for code in after
        ]
        own = [logits[level][item, code] for code in after]
        levels.append((after, np.stack([own, np.log(masses)]), int(codes[item, level])))
    return levels


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), count=st.sampled_from([1, 9, 40]))
def test_a_guided_search_ranks_as_brute_force_does(seed, count):
    rng = np.random.default_rng(seed)
    codes, histories = catalogue(seed, count), histories_of(rng, 3, count)
    log_p = np.asarray(jax.nn.log_softmax(3 * rng.normal(size=(3, count))), np.float32)
    read = encoded(codes, np.asarray(histories, np.int32), recipe="genrec")
    trie, excluded = build_trie(codes, like=LARGEST), rng.integers(-1, count, (3, EXCLUDED))
    room = np.pad(log_p, [(0, 0), (0, LARGEST.items - count)], constant_values=-np.inf)
    found = guided(trie, read, blocking(excluded.astype(np.int32)), room, OWN, OTHER, beam=64)
    items, ranks, scores = map(np.asarray, found)
    logits = [np.asarray(x) for x in raw_logits(codes, histories)]
    plain = brute_force(codes, histories, "genrec")
    for row in range(3):
        expected = {}
        for item in set(range(count)) - set(excluded[row].tolist()):
            expected[item] = sum(
                _log_softmax(np.array([OWN[level], OTHER[level]]) @ said)[after.index(code)]
                for level, (after, said, code) in enumerate(
                    weighed(codes, item, [x[row] for x in logits], log_p[row])
                )
            )
        kept = items[row] >= 0
        assert set(items[row][kept]) == set(expected)
        assert (np.diff(ranks[row][kept]) <= 0).all()
        for item, rank, score in zip(
            items[row][kept], ranks[row][kept], scores[row][kept], strict=True
        ):
            assert rank == pytest.approx(expected[item], abs=1e-3)
            assert score == pytest.approx(plain[row, item], abs=1e-4)


def test_what_a_guide_is_fitted_on_is_what_the_search_weighs():
    codes, histories = catalogue(3, 20), histories_of(np.random.default_rng(2), 4, 20)
    log_p = np.asarray(
        jax.nn.log_softmax(np.random.default_rng(3).normal(size=(4, 20))), np.float32
    )
    trie, items = jax.device_put(build_trie(codes)), jnp.array([0, 7, 19, 4])
    read = encoded(codes, np.asarray(histories, np.int32), recipe="genrec")
    logits = [np.asarray(x) for x in raw_logits(codes, histories)]
    room = np.pad(log_p, [(0, 0), (0, len(trie.leaf) - 20)], constant_values=-np.inf)
    masses = log_masses(trie, jnp.asarray(room))
    wanted = jnp.asarray(codes)[items]
    found = guide_on_path(MODELS["genrec"], read, trie, items, wanted, masses)
    for row, item in enumerate(items.tolist()):
        expected = weighed(codes, item, [x[row] for x in logits], log_p[row])
        for (scores, chosen, valid), (after, said, code) in zip(found, expected, strict=True):
            assert valid[row].sum() == len(after)
            assert chosen[row] == after.index(code)
            np.testing.assert_allclose(scores[:, row, : len(after)], said, atol=1e-4)


def _log_softmax(values):
    return values - np.log(np.exp(values).sum())


def raw_logits(codes, histories):
    """For each level (B, N, K): logits of its codes after each history and each item's prefix."""
    return _raw_logits(encoded(codes, histories, recipe="genrec"), codes)


@jax.jit
def _raw_logits(read, codes):
    count = len(codes)
    queries = Encoded(
        read.states, jnp.repeat(read.mask, count, 1), jnp.repeat(read.start, count, 1)
    )
    targets = jnp.broadcast_to(codes[None], (len(read.states), *codes.shape))
    return MODELS["genrec"].decode(targets, queries)


def test_items_that_share_their_codes_come_in_their_order_and_no_score_is_added():
    rng = np.random.default_rng(0)
    distinct = catalogue(8, 12)
    owner = np.concatenate([np.arange(12), rng.integers(0, 12, 10)])  # 22 items, 12 tuples
    places = np.array([(owner[:item] == owner[item]).sum() for item in range(22)])
    codes = distinct[owner]
    trie = build_trie(np.column_stack([codes, places]))
    histories = histories_of(rng, 3, 22)
    exact = brute_force(codes, histories, "genrec")
    excluded = rng.integers(0, 22, (3, EXCLUDED))
    for beam in (22, 7):
        items, scores = search((trie, codes), histories, excluded, beam)
        for row in range(3):
            left = np.setdiff1d(np.arange(22), excluded[row])
            best = sorted(left, key=lambda item: (-exact[row, owner[item]], places[item]))
            found = items[row][items[row] >= 0]
            assert len(found) == min(beam, len(left))
            assert np.allclose(scores[row, : len(found)], exact[row, found], atol=1e-4)
            if beam == 22:
                assert found.tolist() == best


def test_a_level_without_a_say_adds_nothing_to_a_score():
    codes, histories = catalogue(4, 30), histories_of(np.random.default_rng(1), 2, 30)
    items, scores = search(codes, histories, np.full((2, 1), -1), 30, scored=2)
    logits = [np.asarray(jax.nn.log_softmax(x)) for x in raw_logits(codes, histories)]
    for row in range(2):
        assert sorted(items[row]) == list(range(30))
        for item, points in zip(items[row], scores[row], strict=True):
            expected = sum(logits[level][row, item, codes[item, level]] for level in range(2))
            assert points == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 2.5, 0.4])
def test_a_single_draw_has_the_models_own_probabilities_at_its_temperature(temperature):
    codes, excluded = catalogue(6, 9), np.array([[4, 7]])
    history = histories_of(np.random.default_rng(2), 1, 9)
    draws = 4000
    filters = Filters(np.repeat(excluded, draws, 0), np.zeros(draws, bool))
    sampling = Sampling(np.full(3, temperature, np.float32), np.arange(draws, dtype=np.uint32))
    read = encoded(codes, history, recipe="genrec")
    many = jax.tree.map(lambda x: np.repeat(x, draws, 0), read)
    items, _ = jitted(build_trie(codes), many, filters, beam=1, recipe="genrec", sampling=sampling)
    share = np.bincount(np.asarray(items)[:, 0], minlength=9) / draws
    logits = [np.asarray(x)[0] for x in raw_logits(codes, history)]
    left = [item for item in range(9) if item not in excluded[0]]
    for item in range(9):
        probability = float(item in left)
        for level in range(3 if item in left else 0):
            prefix = codes[item, :level]
            after = [o for o in left if np.array_equal(codes[o, :level], prefix)]
            rivals = np.exp(logits[level][item, np.unique(codes[after, level])] / temperature)
            probability *= np.exp(logits[level][item, codes[item, level]] / temperature)
            probability /= rivals.sum()
        assert share[item] == pytest.approx(probability, abs=4 * np.sqrt(0.25 / draws))


def test_a_sample_of_several_items_is_one_without_replacement():
    codes = catalogue(6, 6)
    history = histories_of(np.random.default_rng(2), 1, 6)
    draws = 6000
    filters = Filters(np.full((draws, 1), -1), np.zeros(draws, bool))
    sampling = Sampling(np.ones(3, np.float32), np.arange(draws, dtype=np.uint32))
    read = encoded(codes, history, recipe="genrec")
    many = jax.tree.map(lambda x: np.repeat(x, draws, 0), read)
    options = {"beam": 2, "recipe": "genrec", "normalise": "allowed", "sampling": sampling}
    items, scores = map(np.asarray, jitted(build_trie(codes), many, filters, **options))
    order, exact = search(codes, history, [[-1]], 6, normalise="allowed")
    probability = dict(zip(order[0].tolist(), np.exp(exact[0]).tolist(), strict=True))
    assert (items[:, 0] != items[:, 1]).all()
    assert (np.diff(scores, axis=1) <= 0).all()
    for a in range(6):
        for b in range(a):
            found = ((items == a).any(1) & (items == b).any(1)).mean()
            p, q = probability[a], probability[b]
            # First one and then the other, from what is left.
            expected = p * q / (1 - p) + q * p / (1 - q)
            assert found == pytest.approx(expected, abs=4 * np.sqrt(0.25 / draws))


def test_equal_scores_are_ranked_by_code_whatever_the_item_numbers():
    uniform = nnx.clone(MODELS["genrec"])
    for head in uniform.logits:
        head.kernel[...] = jnp.zeros_like(head.kernel[...])
    codes = catalogue(5, 20)
    read = encoded(codes, histories_of(np.random.default_rng(0), 2, 20), recipe="genrec")
    nothing = np.full((2, 1), -1, np.int32)
    find = jax.jit(functools.partial(beam_search, uniform, beam=20))
    items, scores = find(device_trie(codes), read, blocking(nothing))
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


class Table(EncoderDecoder):
    """Stands in for a model of any depth: the logits of a code depend on the one before it."""

    def __init__(self, sizes, batch, seed):
        rng = np.random.default_rng(seed)
        before = (1, *sizes[:-1])
        self.codes = nnx.List(
            [
                nnx.Param(jnp.asarray(rng.normal(0, 2, (batch, above, size)), jnp.float32))
                for above, size in zip(before, sizes, strict=True)
            ]
        )

    def remember(self, states):
        return []

    def decode_level(self, level, previous, start, past, memory, mask, candidates):
        row = jnp.arange(len(mask))[:, None]
        before = jnp.zeros(mask.shape[:2], jnp.int32) if previous is None else previous
        return self.codes[level][...][row, before], []

    def score(self, request, codes):
        """The log-probability of some codes, one level after the other."""
        total, before = 0.0, 0
        for table, code in zip(self.codes, codes, strict=True):
            row = np.asarray(table[...])[request, before].astype(float)
            total += row[code] - np.log(np.exp(row).sum())
            before = code
        return total


@settings(max_examples=5)  # every shape is compiled
@given(data=st.data(), seed=st.integers(0, 10**6))
def test_any_depth_filter_and_collision_is_ranked_as_brute_force_does(data, seed):
    sizes = data.draw(st.lists(st.integers(2, 4), min_size=1, max_size=4))
    count = data.draw(st.integers(1, 14))
    rng = np.random.default_rng(seed)
    codes = np.stack([rng.integers(0, size, count) for size in sizes], axis=1)
    places = np.array(
        [sum(np.array_equal(codes[i], codes[item]) for i in range(item)) for item in range(count)]
    )
    named = np.array(
        data.draw(
            st.lists(st.lists(st.integers(-1, count - 1), min_size=4, max_size=4), min_size=1)
        )
    )
    batch = len(named)
    allow = rng.random(batch) < 0.5
    model = Table(tuple(sizes), batch, seed)
    read = Encoded(jnp.zeros((batch, 1, 1)), jnp.ones((batch, 1, 1), bool), None)
    trie = build_trie(np.column_stack([codes, places]))
    find = jax.jit(functools.partial(beam_search, model, beam=16))
    items, scores = find(trie, read, Filters(named, allow))
    for request in range(batch):
        exact = np.array([model.score(request, row) for row in codes.tolist()])
        left = [item for item in range(count) if (item in named[request]) == allow[request]]
        found = np.asarray(items)[request]
        found = found[found >= 0]
        assert sorted(found.tolist()) == left
        assert np.allclose(np.asarray(scores)[request, : len(found)], exact[found], atol=1e-4)
        assert (np.diff(exact[found]) <= 1e-4).all()
        for a, b in itertools.pairwise(found):
            if np.array_equal(codes[a], codes[b]):
                assert places[a] < places[b]
