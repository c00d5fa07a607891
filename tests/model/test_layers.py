import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.test_util import check_grads

from genrec.model import layers
from genrec.model.layers import Embedding, Linear, Noise, RelativePositions, dropout

attend = jax.jit(layers.attend)


def noise(seed=0):
    return Noise(jnp.uint32(seed))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_zeroes_its_share_and_keeps_the_mean(rate):
    x = jnp.ones((200, 1000))
    y = np.asarray(noise().dropout(x, rate))
    assert np.mean(y == 0) == pytest.approx(rate, abs=0.005)
    assert np.allclose(y[y != 0], 1 / (1 - rate))
    # No row or column is favoured: the shares scatter as those of independent draws do.
    spread = np.sqrt(rate * (1 - rate) / 1000)
    assert np.abs((y == 0).mean(axis=1) - rate).max() < 5 * spread


def test_dropout_masks_differ_by_use_and_by_seed_and_repeat_for_the_same_seed():
    x = jnp.ones((50, 50))
    first, again, other = noise(1), noise(1), noise(2)
    a, b = first.dropout(x, 0.5), first.dropout(x, 0.5)
    assert jnp.array_equal(a, again.dropout(x, 0.5))
    for different in (b, other.dropout(x, 0.5)):
        assert np.mean(np.asarray(a) == np.asarray(different)) == pytest.approx(0.5, abs=0.05)


def test_dropout_is_the_identity_without_noise_or_rate():
    x = jnp.arange(6.0)
    assert jnp.array_equal(dropout(x, 0.5, None), x)
    assert jnp.array_equal(noise().dropout(x, 0.0), x)


def test_attention_agrees_with_a_loop_over_queries():
    rng = np.random.default_rng(0)
    query, key, value = (rng.normal(size=(2, 3, 5, 4)).astype(np.float32) for _ in range(3))
    bias = rng.normal(size=(1, 3, 5, 5)).astype(np.float32)
    mask = np.tril(np.ones((5, 5), bool)) & (rng.random((2, 1, 5, 5)) < 0.7)
    mask |= np.eye(5, dtype=bool)
    expected = np.zeros_like(query)
    for b in range(2):
        for h in range(3):
            for q in range(5):
                keys = np.flatnonzero(mask[b, 0, q])
                score = key[b, h, keys] @ query[b, h, q] / 2 + bias[0, h, q, keys]
                weight = np.exp(score) / np.exp(score).sum()
                expected[b, h, q] = weight @ value[b, h, keys]
    got = attend(query, key, value, mask, bias)
    assert np.allclose(got, expected, atol=1e-5)


def test_a_query_that_sees_nothing_stays_finite_and_disturbs_nobody():
    """In value and in gradient; the other queries read what they read without it."""
    rng = np.random.default_rng(0)
    query, key, value = (rng.normal(size=(1, 2, 3, 4)).astype(np.float32) for _ in range(3))
    mask = np.array([[[[True, False, False], [False] * 3, [True, True, False]]]])

    found = np.asarray(attend(query, key, value, mask))
    assert np.isfinite(found).all()
    seen = np.array([0, 2])
    alone = attend(query[:, :, seen], key, value, mask[:, :, seen])
    np.testing.assert_array_equal(found[:, :, seen], alone)
    gradient = jax.jit(jax.grad(lambda q, k, v: attend(q, k, v, mask).sum(), (0, 1, 2)))
    gradients = jax.device_get(gradient(query, key, value))
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert not gradients[0][:, :, 1].any()


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 8), (8, 3)])
def test_a_linear_map_has_the_values_and_gradients_of_flax_own(inputs, outputs):
    ours = Linear(inputs, outputs, rngs=nnx.Rngs(0))
    flax = nnx.Linear(inputs, outputs, use_bias=False, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(1), (2, 5, inputs))

    def loss(linear, x):
        return (linear(x) ** 3).sum()

    for argument in (0, 1):
        got, expected = (
            nnx.jit(nnx.value_and_grad(loss, argnums=argument))(linear, x)
            for linear in (ours, flax)
        )
        pairs = zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True)
        assert all(np.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in pairs)


def test_attention_has_the_gradients_that_differences_show():
    rng = np.random.default_rng(0)
    query, key, value = (rng.normal(size=(3, 2, 4, 5)).astype(np.float32) for _ in range(3))
    bias = rng.normal(size=(1, 2, 4, 4)).astype(np.float32)
    mask = jnp.asarray(np.tril(np.ones((3, 1, 4, 4), bool)))

    def read(*arrays):
        query, key, value, bias = map(jnp.asarray, arrays)
        return attend(query, key, value, mask, bias)

    check_grads(read, (query, key, value, bias), order=1, modes=["rev"])


def test_relative_positions_share_a_bias_by_distance_as_t5_has_it():
    positions = RelativePositions(2, bidirectional=False, rngs=nnx.Rngs(0))
    positions.bias.embedding[...] = jnp.stack([jnp.arange(32.0), -jnp.arange(32.0)], axis=1)
    bias = np.asarray(positions(200))
    # Exact up to 15, then 16 · log(d / 16) / log(128 / 16) more, floored, and 31 from 128 on:
    # Raffel et al. 2020 with 32 buckets, one direction.
    buckets = {
        0: 0,
        1: 1,
        15: 15,
        16: 16,
        19: 17,
        20: 17,
        32: 21,
        64: 26,
        127: 31,
        128: 31,
        199: 31,
    }
    for distance, bucket in buckets.items():
        assert bias[0, 0, 199, 199 - distance] == bucket, distance
        assert bias[0, 1, 199, 199 - distance] == -bucket
    assert np.array_equal(bias[0, 0, 50, 10:50], bias[0, 0, 90, 50:90])


def test_a_bidirectional_encoder_has_half_of_the_buckets_for_the_future():
    positions = RelativePositions(2, bidirectional=True, rngs=nnx.Rngs(0))
    positions.bias.embedding[...] = jnp.stack([jnp.arange(32.0), -jnp.arange(32.0)], axis=1)
    bias = np.asarray(positions(300))[0, 0, 150]
    # Exact up to 7, then 8 · log(d / 8) / log(128 / 8) more, floored, and 15 from 128 on.
    buckets = {0: 0, 1: 1, 7: 7, 8: 8, 11: 8, 12: 9, 16: 10, 32: 12, 64: 14, 127: 15, 149: 15}
    for distance, bucket in buckets.items():
        assert bias[150 - distance] == bucket, distance
        assert bias[150 + distance] == bucket + (16 if distance else 0), distance
    jax.block_until_ready(bias)


def test_small_gradients_of_a_frequent_token_are_not_lost_in_bfloat16():
    table = Embedding(3, 4, dtype="bfloat16", rngs=nnx.Rngs(0))
    tokens = jnp.zeros(4096, jnp.int32).at[0].set(2)

    def total(params):
        found = nnx.merge(nnx.graphdef(table), params)(tokens)
        assert found.dtype == jnp.bfloat16
        return found.astype(jnp.float32).sum()

    (gradient,) = jax.tree.leaves(jax.grad(total)(nnx.state(table)))
    # The table's vectors are scaled by √4; bfloat16 cannot add 1 to 256.
    np.testing.assert_array_equal(gradient, 2.0 * np.array([[4095.0], [0], [1]]) * np.ones(4))
