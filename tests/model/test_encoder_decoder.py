"""The model against a plain NumPy forward pass, and what each position and level may depend on."""

import jax.numpy as jnp
import numpy as np
import pytest
from small import randomised, small_model

from genrec.model import Noise, causal_mask

SIZES = (5, 4, 3)
NUM_ITEMS, WIDTH, HEADS = 11, 8, 2


@pytest.fixture(scope="module", params=[True, False], ids=["item-embedding", "codes-only"])
def model(request):
    return randomised(
        small_model(SIZES, NUM_ITEMS, layers=2, dropout=0.3, item_embedding=request.param)
    )


@pytest.fixture
def batch():
    rng = np.random.default_rng(2)
    items = rng.integers(0, NUM_ITEMS, (3, 6))
    codes = np.stack([rng.integers(0, size, (3, 6)) for size in SIZES], axis=-1)
    targets = np.stack([rng.integers(0, size, (3, 6)) for size in SIZES], axis=-1)
    segments = np.array([[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0], [0, 1, 1, 2, -1, -1]])
    return tuple(jnp.asarray(x, jnp.int32) for x in (items, codes, targets, segments))


def forward(model, items, codes, targets, segments, noise=None):
    mask = causal_mask(segments)
    states = model.encode(items, codes, mask, noise)
    return states, model.decode(targets, states, mask, noise)


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
        score = k @ q / np.sqrt(WIDTH / HEADS) + (0.0 if bias is None else bias[:, head])
        weight = np.exp(score - score.max())
        out.append(weight / weight.sum() @ v)
    return np.concatenate(out)


def feed_forward(layer, x):
    up = linear(layer.feed_forward.up, norm(layer.feed_forward_norm, x))
    return linear(layer.feed_forward.down, np.maximum(up, 0))


def numpy_forward(model, items, codes, targets):
    """States (T, D) of one history, and logits (T, K) of every level, by loops."""
    x = np.zeros((len(items), WIDTH))
    for level, table in enumerate(model.codes):
        x = x + embedded(table, codes[:, level])
    if model.item is not None:
        x = x + embedded(model.item, items)
    table = np.asarray(model.relative_positions.bias.embedding[...])
    for layer in model.encoder:
        q, k, v = np.split(linear(layer.query_key_value, norm(layer.attention_norm, x)), 3, axis=-1)
        read = [
            attention(q[t], k[: t + 1], v[: t + 1], table[np.arange(t, -1, -1)])
            for t in range(len(x))
        ]
        x = x + linear(layer.output, np.stack(read))
        x = x + feed_forward(layer, x)
    states = norm(model.encoder_norm, x)
    logits = [np.zeros((len(x), size)) for size in SIZES]
    for t in range(len(x)):
        y = np.stack([states[t] + embedded(model.begin, level) for level in range(len(SIZES))])
        for level in range(1, len(SIZES)):
            y[level] += embedded(model.codes[level - 1], targets[t, level - 1])
        for layer in model.decoder:
            q, k, v = np.split(linear(layer.query_key_value, norm(layer.self_norm, y)), 3, axis=-1)
            read = [attention(q[i], k[: i + 1], v[: i + 1]) for i in range(len(y))]
            y = y + linear(layer.self_output, np.stack(read))
            q = linear(layer.query, norm(layer.cross_norm, y))
            k, v = np.split(linear(layer.key_value, states[: t + 1]), 2, axis=-1)
            y = y + linear(layer.cross_output, np.stack([attention(row, k, v) for row in q]))
            y = y + feed_forward(layer, y)
        for level in range(len(SIZES)):
            logits[level][t] = linear(model.logits[level], norm(model.decoder_norm, y[level]))
    return states, logits


def test_forward_pass_agrees_with_numpy_on_every_packed_history(model, batch):
    items, codes, targets, segments = batch
    states, logits = forward(model, *batch)
    for row in range(len(items)):
        for segment in np.unique(segments[row]):
            if segment < 0:
                continue
            slots = np.flatnonzero(segments[row] == segment)
            arguments = (np.asarray(x[row])[slots] for x in (items, codes, targets))
            expected_states, expected_logits = numpy_forward(model, *arguments)
            assert np.allclose(states[row, slots], expected_states, atol=1e-4)
            for got, expected in zip(logits, expected_logits, strict=True):
                assert np.allclose(got[row, slots], expected, atol=1e-4)


def test_the_past_does_not_see_the_future(model, batch):
    items, codes, targets, segments = batch
    later = codes.at[1, 4].set((codes[1, 4] + 1) % jnp.array(SIZES))
    states, logits = forward(model, *batch)
    changed_states, changed_logits = forward(
        model, items.at[1, 4].add(1) % NUM_ITEMS, later, targets, segments
    )
    assert jnp.array_equal(states[1, :4], changed_states[1, :4])
    assert not jnp.allclose(states[1, 4:], changed_states[1, 4:])
    for before, after in zip(logits, changed_logits, strict=True):
        assert jnp.array_equal(before[1, :4], after[1, :4])
        assert not jnp.allclose(before[1, 4:], after[1, 4:])


def test_packed_users_do_not_see_each_other(model, batch):
    items, codes, targets, segments = batch
    other = codes.at[0, :3].set((codes[0, :3] + 1) % jnp.array(SIZES)[None])
    states, logits = forward(model, *batch)
    changed_states, changed_logits = forward(model, items, other, targets, segments)
    assert jnp.allclose(states[0, 3:], changed_states[0, 3:], atol=1e-6)
    assert not jnp.allclose(states[0, :3], changed_states[0, :3])
    for before, after in zip(logits, changed_logits, strict=True):
        assert jnp.allclose(before[0, 3:], after[0, 3:], atol=1e-6)


def test_a_level_sees_only_the_codes_before_it(model, batch):
    items, codes, targets, segments = batch
    _, logits = forward(model, *batch)
    changed = targets.at[..., 1].set((targets[..., 1] + 1) % SIZES[1])
    _, after = forward(model, items, codes, changed, segments)
    assert jnp.array_equal(logits[0], after[0])
    assert jnp.array_equal(logits[1], after[1])
    assert not jnp.allclose(logits[2], after[2])


def test_noise_changes_the_output_and_its_seed_decides_how(model, batch):
    (a, _), (b, _), (c, _) = (forward(model, *batch, noise=Noise(jnp.uint32(s))) for s in (0, 0, 1))
    quiet, _ = forward(model, *batch)
    assert jnp.array_equal(a, b)
    assert not jnp.allclose(a, c)
    assert not jnp.allclose(a, quiet)


def test_slots_without_an_item_stay_finite(model, batch):
    states, logits = forward(model, *batch)
    assert all(bool(jnp.isfinite(x).all()) for x in (states, *logits))
