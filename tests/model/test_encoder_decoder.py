"""The model against a plain NumPy forward pass, and what each position and level may depend on."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from genrec.model import Noise
from genrec.sequences.inputs import Catalogue, Inputs
from small import small_model

SIZES = (5, 4, 3)
NUM_ITEMS, WIDTH, HEADS = 11, 8, 2


OPTIONS = {
    "codes-only": {"item_embedding": False},
    "everything": {"content_dim": 5, "time_gaps": True, "head_dim": 3},
}


@pytest.fixture(scope="module", params=OPTIONS.values(), ids=list(OPTIONS))
def model(request):
    return small_model(SIZES, NUM_ITEMS, layers=2, dropout=0.3, **request.param)


RNG = np.random.default_rng(2)
CODES = np.stack([RNG.integers(0, size, NUM_ITEMS) for size in SIZES], axis=-1).astype(np.int32)
CONTENT = RNG.normal(size=(NUM_ITEMS, 5)).astype(np.float32)
CATALOGUE = Catalogue(CODES, CONTENT)


@pytest.fixture
def batch():
    rng = np.random.default_rng(2)
    items = rng.integers(0, NUM_ITEMS, (3, 6))
    targets = np.stack([rng.integers(0, size, (3, 6)) for size in SIZES], axis=-1)
    segments = np.array([[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0], [0, 1, 1, 2, -1, -1]])
    gaps = rng.integers(0, 33, (3, 6))
    items, targets, segments, gaps = (
        jnp.asarray(x, jnp.int32) for x in (items, targets, segments, gaps)
    )
    return Inputs(items, segments, gaps), targets


def forward(*arguments, **options):
    """States (B, S, D), and for each level its logits, as NumPy's."""
    return jax.device_get(traced(*arguments, **options))


@nnx.jit(static_argnames="every_position")
def traced(model, inputs, targets, seed=None, *, every_position=True):
    noise = None if seed is None else Noise(seed)
    encoded = model.encode(inputs, CATALOGUE, every_position=every_position, noise=noise)
    return encoded.states, model.decode(targets, encoded, noise)


@nnx.jit
def read(model, inputs, catalogue=CATALOGUE):
    return model.encode(inputs, catalogue, every_position=True)


@nnx.jit
def item_vectors(model, catalogue):
    return model.item_vectors(jnp.arange(NUM_ITEMS), catalogue)


def norm(module, x):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * np.asarray(module.scale[...])


def linear(module, x):
    return x @ np.asarray(module.kernel[...])


def embedded(table, ids):
    return np.asarray(table.embedding[...])[np.asarray(ids)] * np.sqrt(WIDTH)


def attention(query, key, value, bias=None):
    """One query (D,) over keys and values (S, D), head by head."""
    heads = [np.split(x, HEADS, axis=-1) for x in (query, key, value)]
    out = []
    for head, (q, k, v) in enumerate(zip(*heads, strict=True)):
        score = k @ q / np.sqrt(len(q)) + (0.0 if bias is None else bias[:, head])
        weight = np.exp(score - score.max())
        out.append(weight / weight.sum() @ v)
    return np.concatenate(out)


def feed_forward(layer, x):
    up = linear(layer.feed_forward.up, norm(layer.feed_forward_norm, x))
    return linear(layer.feed_forward.down, np.maximum(up, 0))


def buckets(query, length, bidirectional):
    """T5's bucket of every key position, by its definition (Raffel et al. 2020), for distances up
    to 9: in a bidirectional encoder 8 and 9 share one."""
    if not bidirectional:
        return [query - key for key in range(length)]
    return [min(abs(query - key), 8) + (16 if key > query else 0) for key in range(length)]


def tokens(model, items, gaps, user=None):
    """The encoder's input (S, D) of one history."""
    codes = [embedded(table, CODES[items, level]) for level, table in enumerate(model.codes)]
    if not model.items_are_tokens:
        x = np.stack(codes, axis=1).reshape(-1, WIDTH)
        return x if user is None else np.concatenate([embedded(model.user, [user]), x])
    x = np.sum(codes, axis=0)
    if model.item is not None:
        x = x + embedded(model.item, items)
    if model.content is not None:
        x = x + linear(model.content, CONTENT[items])
    if model.gap is not None:
        x = x + embedded(model.gap, gaps)
    return x


def numpy_forward(model, x, targets, ends):
    """States (S, D) of one history's tokens, and logits (Q, K) of every level, by loops.

    `ends` are the token positions after which each of the Q targets is predicted.
    """
    table = np.asarray(model.relative_positions.bias.embedding[...])
    for layer in model.encoder:
        q, k, v = np.split(linear(layer.query_key_value, norm(layer.attention_norm, x)), 3, axis=-1)
        read = []
        for t in range(len(x)):
            seen = t + 1 if model.causal else len(x)
            bias = table[buckets(t, seen, not model.causal)]
            read.append(attention(q[t], k[:seen], v[:seen], bias))
        x = x + linear(layer.output, np.stack(read))
        x = x + feed_forward(layer, x)
    states = norm(model.encoder_norm, x)
    level_bias = np.asarray(model.level_bias.embedding[...])
    logits = [np.zeros((len(ends), size)) for size in SIZES]
    for query, end in enumerate(ends):
        y = np.stack([embedded(model.begin, level) for level in range(len(SIZES))])
        if model.causal:
            y = y + states[end]
        for level in range(1, len(SIZES)):
            y[level] += embedded(model.codes[level - 1], targets[query, level - 1])
        seen = end + 1 if model.causal else len(x)
        for layer in model.decoder:
            q, k, v = np.split(linear(layer.query_key_value, norm(layer.self_norm, y)), 3, axis=-1)
            read = [
                attention(q[i], k[: i + 1], v[: i + 1], level_bias[np.arange(i, -1, -1)])
                for i in range(len(y))
            ]
            y = y + linear(layer.self_output, np.stack(read))
            q = linear(layer.query, norm(layer.cross_norm, y))
            k, v = np.split(linear(layer.key_value, states[:seen]), 2, axis=-1)
            y = y + linear(layer.cross_output, np.stack([attention(row, k, v) for row in q]))
            y = y + feed_forward(layer, y)
        for level in range(len(SIZES)):
            logits[level][query] = linear(model.logits[level], norm(model.decoder_norm, y[level]))
    return states, logits


def test_forward_pass_agrees_with_numpy_on_every_packed_history(model, batch):
    inputs, targets = batch
    states, logits = forward(model, inputs, targets)
    for row in range(len(inputs.items)):
        for segment in np.unique(inputs.segments[row]):
            if segment < 0:
                continue
            slots = np.flatnonzero(inputs.segments[row] == segment)
            items, gaps = np.asarray(inputs.items[row])[slots], np.asarray(inputs.gaps[row])[slots]
            expected_states, expected_logits = numpy_forward(
                model,
                tokens(model, items, gaps),
                np.asarray(targets[row])[slots],
                range(len(slots)),
            )
            assert np.allclose(states[row, slots], expected_states, atol=1e-4)
            for got, expected in zip(logits, expected_logits, strict=True):
                assert np.allclose(got[row, slots], expected, atol=1e-4)


@pytest.mark.parametrize("encoder", ["causal", "bidirectional"])
@pytest.mark.parametrize("token", ["items", "codes"])
def test_one_query_after_the_last_item_agrees_with_numpy(encoder, token):
    bidirectional = encoder == "bidirectional"
    users = 5 if bidirectional and token == "codes" else 0
    model = small_model(
        SIZES,
        NUM_ITEMS,
        layers=2,
        tokens=token,
        encoder=encoder,
        item_embedding=token == "items",
        user_tokens=users,
    )
    rng = np.random.default_rng(5)
    items = rng.integers(0, NUM_ITEMS, (2, 3)).astype(np.int32)
    segments = np.array([[0, 0, 0], [0, 0, -1]], np.int32)
    targets = rng.integers(0, 3, (2, 1, len(SIZES))).astype(np.int32)
    ids = np.array([7, 4], np.uint32)
    inputs = Inputs(items, segments, None, ids if users else None)
    states, logits = forward(model, inputs, jnp.asarray(targets), every_position=False)
    for row, length in enumerate([3, 2]):
        user = int(ids[row]) % 5 if users else None
        x = tokens(model, items[row, :length], None, user)
        expected_states, expected_logits = numpy_forward(model, x, targets[row], [len(x) - 1])
        assert np.allclose(states[row, : len(x)], expected_states, atol=1e-4)
        for got, expected in zip(logits, expected_logits, strict=True):
            assert np.allclose(got[row], expected, atol=1e-4)


def test_an_unknown_user_leaves_no_trace_in_the_other_tokens():
    model = small_model(
        SIZES,
        NUM_ITEMS,
        tokens="codes",
        encoder="bidirectional",
        item_embedding=False,
        user_tokens=5,
    )
    inputs = Inputs(np.array([[3, 4]], np.int32), np.zeros((1, 2), np.int32))
    targets = jnp.zeros((1, 1, len(SIZES)), jnp.int32)
    known = inputs._replace(users=np.array([3], np.uint32))
    states, before = forward(model, inputs, targets, every_position=False)
    told, told_logits = forward(model, known, targets, every_position=False)
    assert not np.allclose(told[:, 1:], states[:, 1:])
    assert not np.allclose(told_logits[0], before[0])
    assert model.user is not None
    model.user.embedding[...] = model.user.embedding[...] + 1.0
    same, after = forward(model, inputs, targets, every_position=False)
    assert np.array_equal(states[:, 1:], same[:, 1:])
    assert all(map(np.array_equal, before, after))


def test_a_bidirectional_encoder_serves_no_query_before_the_end(batch):
    model = small_model(SIZES, NUM_ITEMS, encoder="bidirectional")
    with pytest.raises(AssertionError, match="one query a row"):
        forward(model, *batch)


def test_the_past_does_not_see_the_future(model, batch):
    inputs, targets = batch
    later = inputs._replace(items=inputs.items.at[1, 4].add(1) % NUM_ITEMS)
    states, logits = forward(model, inputs, targets)
    changed_states, changed_logits = forward(model, later, targets)
    assert np.array_equal(states[1, :4], changed_states[1, :4])
    assert not np.allclose(states[1, 4:], changed_states[1, 4:])
    for before, after in zip(logits, changed_logits, strict=True):
        assert np.array_equal(before[1, :4], after[1, :4])
        assert not np.allclose(before[1, 4:], after[1, 4:])


def test_packed_users_do_not_see_each_other(model, batch):
    inputs, targets = batch
    other = inputs._replace(items=inputs.items.at[0, :3].add(1) % NUM_ITEMS)
    states, logits = forward(model, inputs, targets)
    changed_states, changed_logits = forward(model, other, targets)
    assert np.allclose(states[0, 3:], changed_states[0, 3:], atol=1e-6)
    assert not np.allclose(states[0, :3], changed_states[0, :3])
    for before, after in zip(logits, changed_logits, strict=True):
        assert np.allclose(before[0, 3:], after[0, 3:], atol=1e-6)


def test_a_level_sees_only_the_codes_before_it(model, batch):
    inputs, targets = batch
    _, logits = forward(model, inputs, targets)
    changed = targets.at[..., 1].set((targets[..., 1] + 1) % SIZES[1])
    _, after = forward(model, inputs, changed)
    assert np.array_equal(logits[0], after[0])
    assert np.array_equal(logits[1], after[1])
    assert not np.allclose(logits[2], after[2])


def test_noise_changes_the_output_and_its_seed_decides_how(model, batch):
    (a, _), (b, _), (c, _) = (forward(model, *batch, seed=jnp.uint32(s)) for s in (0, 0, 1))
    quiet, _ = forward(model, *batch)
    assert np.array_equal(a, b)
    assert not np.allclose(a, c)
    assert not np.allclose(a, quiet)


@pytest.mark.parametrize("place", ["dropout", "attention_dropout", "decoder_dropout"])
def test_each_place_of_dropout_acts_alone(batch, place):
    rates: dict[str, Any] = {"dropout": 0.0, "decoder_dropout": 0.0, place: 0.5}
    model = small_model(SIZES, NUM_ITEMS, **rates)
    states, logits = forward(model, *batch)
    noisy_states, noisy_logits = forward(model, *batch, seed=jnp.uint32(0))
    assert np.allclose(states, noisy_states) == (place == "decoder_dropout")
    assert not np.allclose(logits[2], noisy_logits[2])


def test_bfloat16_is_near_float32_and_parameters_stay_float32(batch):
    exact = small_model(SIZES, NUM_ITEMS)
    rough = small_model(SIZES, NUM_ITEMS, dtype="bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(rough, nnx.Param))} == {
        jnp.dtype("float32")
    }
    states, logits = forward(rough, *batch)
    assert states.dtype == jnp.bfloat16
    for got, expected in zip(logits, forward(exact, *batch)[1], strict=True):
        assert got.dtype == jnp.float32
        assert np.allclose(got, expected, atol=0.1)
        assert not np.array_equal(got, expected)


def test_logits_are_not_rounded_to_bfloat16(batch):
    """Or many of a catalogue's items would be equal, and rank by their numbers."""
    settings: dict[str, Any] = {"item_head": True, "repeats": True}
    rough = small_model(SIZES, NUM_ITEMS, dtype="bfloat16", **settings)
    inputs, _ = batch
    every = jnp.arange(NUM_ITEMS)

    @jax.jit
    def scores(params):
        model = nnx.merge(nnx.graphdef(rough), params)
        encoded = model.encode(inputs, CATALOGUE, every_position=True)
        assert encoded.start is not None
        _, codes = traced(model, *batch)
        items = model.score_vectors(encoded.start, model.item_vectors(every, CATALOGUE))
        one = model.score_targets(encoded.start, inputs.items, CATALOGUE)
        return [*codes, items, one, model.with_repeat_bias(items, encoded)]

    params = nnx.state(rough, nnx.Param)
    for found in scores(params):
        assert found.dtype == jnp.float32
        assert jnp.mean(found == found.astype(jnp.bfloat16)) < 0.2

    @jax.jit
    @jax.grad
    def gradients(params):
        return sum(jnp.square(x).mean() for x in scores(params))

    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients(params)))


def test_the_dense_head_scores_items_by_their_vectors(batch):
    model = small_model(SIZES, NUM_ITEMS, content_dim=5, item_head=True)
    inputs, _ = batch
    start = read(model, inputs).start
    assert start is not None
    some = jnp.array([3, 1, 10])
    got = model.score_vectors(start, model.item_vectors(some, CATALOGUE))
    vectors = tokens(model, np.asarray(some), None)
    expected = linear(model.item_query, np.asarray(start)) @ vectors.T / np.sqrt(WIDTH)
    assert np.allclose(got, expected, atol=1e-3)
    targets = jnp.full(inputs.items.shape, 10)
    assert np.allclose(model.score_targets(start, targets, CATALOGUE), got[..., 2], atol=1e-4)


def test_an_item_never_seen_has_no_vector_of_its_own():
    model = small_model(SIZES, NUM_ITEMS, item_embedding=True)
    without = small_model(SIZES, NUM_ITEMS, item_embedding=True)
    assert without.item is not None
    without.item.embedding[...] = jnp.zeros_like(without.item.embedding[...])
    seen = np.arange(NUM_ITEMS) % 3 > 0
    got = item_vectors(model, CATALOGUE._replace(seen=seen))
    own, bare = (item_vectors(each, CATALOGUE) for each in (model, without))
    assert np.allclose(got, np.where(seen[:, None], own, bare))


def test_slots_without_an_item_stay_finite(model, batch):
    states, logits = forward(model, *batch)
    assert all(np.isfinite(x).all() for x in (states, *logits))


def test_without_codes_it_reads_items_alone_and_has_nothing_to_write(batch):
    model = small_model((), NUM_ITEMS, item_head=True)
    inputs, targets = batch
    encoded = read(model, inputs)
    assert model.decode(targets, encoded) == []
    other = CATALOGUE._replace(codes=CATALOGUE.codes[::-1])
    assert np.array_equal(read(model, inputs, other).states, encoded.states)
    names = {path[0] for path, _ in nnx.to_flat_state(nnx.state(model, nnx.Param))}
    assert not names & {"codes", "begin", "level_bias", "decoder", "decoder_norm", "logits"}
