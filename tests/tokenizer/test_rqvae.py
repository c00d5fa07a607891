"""The RQ-VAE's functions against NumPy and against a case worked by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from genrec.tokenizer import rqvae
from genrec.tokenizer.rqvae import Objective, RqVae, averages, codebook_of, follow

# Compiled as a whole: operation by operation takes ten times as long.
quantize = jax.jit(rqvae.quantize, static_argnums=2)
balanced = jax.jit(rqvae.balanced, static_argnums=1)
losses = nnx.jit(rqvae.losses, static_argnums=2)
revive, rotated = jax.jit(rqvae.revive), jax.jit(rqvae.rotated)


@pytest.mark.parametrize("sizes", [(7,), (5, 8), (4, 4, 4, 9)])
def test_quantize_is_the_nearest_code_level_by_level(sizes):
    rng = np.random.default_rng(len(sizes))
    codebooks = [rng.normal(size=(size, 6)).astype(np.float32) for size in sizes]
    z = rng.normal(size=(50, 6)).astype(np.float32)
    found = quantize([jnp.asarray(codebook) for codebook in codebooks], jnp.asarray(z))
    left, total = z.astype(np.float64), np.zeros_like(z)
    for level, codebook in enumerate(codebooks):
        np.testing.assert_allclose(found.residuals[level], left, atol=1e-5)
        code = ((left[:, None] - codebook[None]) ** 2).sum(-1).argmin(1)
        assert np.array_equal(found.codes[:, level], code)
        left, total = left - codebook[code], total + codebook[code]
    np.testing.assert_allclose(found.residuals[-1], left, atol=1e-5)
    np.testing.assert_allclose(found.total, total, atol=1e-5)
    assert found.codes.dtype == jnp.int32


def test_the_first_of_equal_codes_wins():
    found = quantize([jnp.array([[5.0], [1.0], [1.0], [-1.0]])], jnp.array([[1.0], [0.0]]))
    assert found.codes.tolist() == [[1], [1]]


def worked_case():
    """x = (1, 2), an identity encoder, a decoder that doubles, two levels of two codes."""
    model = RqVae(2, 2, (), (2, 2), rngs=nnx.Rngs(0))
    params = nnx.as_pure(nnx.state(model, nnx.Param))
    params["encoder"]["linear"]["kernel"] = jnp.eye(2)
    params["decoder"]["linear"]["kernel"] = 2 * jnp.eye(2)
    params["codebooks"][0] = jnp.array([[1.0, 0.0], [0.0, 1.5]])
    params["codebooks"][1] = jnp.array([[0.5, 0.25], [-1.0, -1.0]])
    return nnx.graphdef(model), params, jnp.array([[1.0, 2.0]])


@functools.partial(jax.jit, static_argnums=(0, 1, 4))
def gradients_of(term, graph, params, x, objective):
    def value(params):
        return getattr(rqvae.losses(nnx.merge(graph, params), x, objective)[0], term)

    return jax.grad(value)(params)


def test_loss_terms_worked_by_hand():
    # Level 0 takes code 1 (distance 1 + .25), leaving (1, .5); level 1 takes code 0 (distance
    # .25 + .0625). The quantized latent is (.5, 1.75), the reconstruction (1, 3.5).
    graph, params, x = worked_case()
    terms, found = losses(nnx.merge(graph, params), x, Objective(0.25))
    assert found.codes.tolist() == [[1, 0]] and found.total.tolist() == [[0.5, 1.75]]
    assert float(terms.reconstruction) == 2.25  # summed over dimensions: 0 + 1.5²
    assert float(terms.codebook) == float(terms.commitment) == 1.5625
    assert float(terms.loss) == 2.25 + 1.5625 + 0.25 * 1.5625


def test_gradients_worked_by_hand():
    graph, params, x = worked_case()
    grads = gradients_of("loss", graph, params, x, Objective(0.25))
    # The reconstruction's gradient reaches z as if the quantizer were the identity: 2 (0, 1.5)
    # through the decoder is (0, 6). The commitment adds 2 β ((1, .5) + (.5, .25)) = (.75, .375).
    dz = np.array([0.75, 6.375])
    np.testing.assert_allclose(grads["encoder"]["linear"]["kernel"], np.outer([1, 2], dz))
    np.testing.assert_allclose(
        grads["decoder"]["linear"]["kernel"], np.outer([0.5, 1.75], [0, 3.0])
    )
    # A code moves towards the residual that chose it, 2 (e - r), and by nothing else.
    np.testing.assert_allclose(grads["codebooks"][0], [[0, 0], [-2, -1]])
    np.testing.assert_allclose(grads["codebooks"][1], [[-1, -0.5], [0, 0]])


@pytest.mark.parametrize(
    ("term", "moved"),
    [
        ("reconstruction", {"encoder", "decoder"}),
        ("codebook", {"codebooks"}),
        ("commitment", {"encoder"}),
    ],
)
def test_each_term_reaches_only_its_own_parameters(term, moved):
    graph, params, x = worked_case()
    grads = gradients_of(term, graph, params, x, Objective(0.25))
    assert {k for k, part in grads.items() if any(np.any(g) for g in jax.tree.leaves(part))} == (
        moved
    )


def test_the_loss_is_a_mean_over_the_batch():
    graph, params, x = worked_case()
    once, _ = losses(nnx.merge(graph, params), x, Objective(0.25))
    thrice, _ = losses(nnx.merge(graph, params), jnp.repeat(x, 3, axis=0), Objective(0.25))
    assert [float(value) for value in thrice] == [float(value) for value in once]


def test_dead_codes_move_to_the_worst_served_residuals():
    codebook = jnp.array([[0.0, 0], [9, 9], [1, 1], [8, 8], [7, 7]])
    counts = jnp.array([4, 0, 1, 0, 0])
    before = jnp.array([[2.0, 0], [0, 3], [0.5, 0], [1, 1]])
    after = before - jnp.array([[0.0, 0], [0, 0], [0, 0], [1, 1]])
    moved = revive(codebook, counts, before, after)
    assert moved.tolist() == [[0, 0], [0, 3], [1, 1], [2, 0], [0.5, 0]]


def test_no_code_moves_to_an_item_that_is_served():
    codebook = jnp.array([[1.0], [9.0]])
    served = revive(codebook, jnp.array([2, 0]), jnp.ones((2, 1)), jnp.zeros((2, 1)))
    assert served.tolist() == codebook.tolist()


def test_more_dead_codes_than_items():
    moved = revive(
        jnp.full((4, 1), 9.0), jnp.zeros(4, jnp.int32), jnp.array([[1.0]]), jnp.array([[1.0]])
    )
    assert moved.tolist() == [[1], [9], [9], [9]]


def test_sinkhorn_shares_codes_out_evenly_and_far_less_so_with_a_small_epsilon():
    rng = np.random.default_rng(0)
    # Two heaps of items near two of four codes: by distance the other two get nothing.
    z = jnp.asarray(np.r_[rng.normal(size=(32, 3)) + 4, rng.normal(size=(32, 3)) - 4], jnp.float32)
    codebook = jnp.asarray([[4.0] * 3, [-4.0] * 3, [5.0] * 3, [-5.0] * 3], jnp.float32)
    counts = {
        epsilon: np.bincount(quantize([codebook], z, epsilon).codes[:, 0], minlength=4)
        for epsilon in (0.0, 0.05)
    }
    assert counts[0.05].max() - counts[0.05].min() <= 4
    assert counts[0.0].max() - counts[0.0].min() > 12


def test_the_balanced_plan_is_that_of_sinkhorn_in_plain_numbers():
    distances = np.random.default_rng(0).random((6, 3)) * 4
    middle = (distances.max() + distances.min()) / 2
    plan = np.exp(-(distances - middle) / (distances.max() - middle + 1e-5) / 0.5)
    for _ in range(500):  # rows are items, of equal weight; columns are codes, likewise
        plan /= plan.sum(axis=0, keepdims=True) * 3
        plan /= plan.sum(axis=1, keepdims=True) * 6
    found = np.exp(balanced(jnp.asarray(distances, jnp.float32), 0.5))
    np.testing.assert_allclose(found, plan, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=0), 1 / 3, atol=1e-5)


def test_only_the_last_level_is_balanced():
    rng = np.random.default_rng(0)
    books = [jnp.asarray(rng.normal(size=(8, 2)), jnp.float32) for _ in range(3)]
    z = jnp.asarray(rng.normal(size=(64, 2)) * 3, jnp.float32)
    usual, even = quantize(books, z), quantize(books, z, 0.1)
    assert np.array_equal(usual.codes[:, :2], even.codes[:, :2])
    spread = [np.bincount(found.codes[:, 2], minlength=8).std() for found in (usual, even)]
    assert spread[1] < 0.5 * spread[0]


def test_the_rotation_trick_turns_gradients_as_the_latent_was_turned():
    rng = np.random.default_rng(0)
    z, to, grad = (rng.normal(size=(20, 5)) for _ in range(3))
    value, pull = jax.vjp(lambda v: rotated(v, jnp.asarray(to, jnp.float32)), jnp.asarray(z))
    np.testing.assert_allclose(value, to, rtol=1e-6)
    (found,) = pull(jnp.asarray(grad, value.dtype))
    for row in range(20):
        a, b = z[row] / np.linalg.norm(z[row]), to[row] / np.linalg.norm(to[row])
        # The rotation in the plane of a and b, from its definition: by the angle between them.
        across = b - (a @ b) * a
        across /= np.linalg.norm(across)
        cos, sin = a @ b, np.sqrt(1 - (a @ b) ** 2)
        plane = np.stack([a, across], 1)
        turn = np.eye(5) - plane @ plane.T + plane @ np.array([[cos, -sin], [sin, cos]]) @ plane.T
        np.testing.assert_allclose(turn @ a, b, atol=1e-9)
        scale = np.linalg.norm(to[row]) / np.linalg.norm(z[row])
        np.testing.assert_allclose(found[row], scale * turn.T @ grad[row], rtol=1e-3, atol=1e-4)


def test_rotating_nothing_and_the_opposite_stays_finite():
    z = jnp.array([[0.0, 0], [1, 0], [1, 0]])
    to = jnp.array([[1.0, 0], [0, 0], [-2, 0]])
    value, pull = jax.vjp(lambda v: rotated(v, to), z)
    np.testing.assert_allclose(value, to)
    assert np.isfinite(pull(jnp.ones_like(z))[0]).all()


@pytest.mark.parametrize("gradient", ["straight-through", "rotation"])
def test_the_ways_back_differ_in_nothing_but_the_gradient(gradient):
    graph, params, x = worked_case()
    terms, _ = losses(nnx.merge(graph, params), x, Objective(0.25, gradient))
    assert float(terms.loss) == 2.25 + 1.5625 + 0.25 * 1.5625


def test_codebooks_that_follow_averages_get_no_gradient():
    graph, params, x = worked_case()
    objective = Objective(0.25, ema_decay=0.9)
    grads = gradients_of("loss", graph, params, x, objective)
    assert not any(np.any(book) for book in jax.tree.leaves(grads["codebooks"]))
    assert any(np.any(leaf) for leaf in jax.tree.leaves(grads["encoder"]))


def test_moving_averages_worked_by_hand():
    books = {0: jnp.array([[1.0, 0.0], [0.0, 2.0]])}
    average = averages(books, 4)  # each code stands for two residuals
    assert np.array_equal(codebook_of(average[0]), books[0])
    found = quantize([books[0]], jnp.array([[3.0, 0], [1, 0], [2, 0], [0, 4]]))
    after = follow(average, found, 0.5)[0]
    # Code 0: count 0.5·2 + 0.5·3, total 0.5·2·(1, 0) + 0.5·(6, 0); code 1: 1.5, (0, 2) + (0, 2).
    assert after.count.tolist() == [2.5, 1.5]
    np.testing.assert_allclose(codebook_of(after), [[4 / 2.5, 0], [0, 4 / 1.5]])


def test_without_an_encoder_the_vectors_are_the_latents():
    model = RqVae(3, 3, None, (2, 2), rngs=nnx.Rngs(0))
    x = jnp.ones((2, 3))
    assert np.array_equal(model.encode(x), x) and np.array_equal(model.decode(x), x)
    with pytest.raises(ValueError, match="as wide as the vectors"):
        RqVae(3, 2, None, (2, 2), rngs=nnx.Rngs(0))


def test_without_hidden_layers_encoder_and_decoder_are_linear():
    model = RqVae(3, 2, (), (2, 2), rngs=nnx.Rngs(0))
    a, b = jnp.array([[1.0, 2, 3]]), jnp.array([[0.5, -1, 4]])
    np.testing.assert_allclose(
        model.encode(2 * a + b), 2 * model.encode(a) + model.encode(b), atol=1e-5
    )
    assert len(jax.tree.leaves(nnx.state(model.encoder))) == 1


def test_noise_is_on_the_encoders_input_alone():
    graph, params, x = worked_case()
    objective, key = Objective(0.25, noise=0.1), jax.random.key(3)
    without, _ = losses(nnx.merge(graph, params), x, objective)
    assert float(without.loss) == 2.25 + 1.5625 + 0.25 * 1.5625
    terms, found = losses(nnx.merge(graph, params), x, objective, key)
    noise = 0.1 * np.asarray(jax.random.normal(key, x.shape))
    np.testing.assert_allclose(found.residuals[0], x + noise, rtol=1e-6)
    assert found.codes.tolist() == [[1, 0]] and float(terms.reconstruction) == 2.25
    assert float(terms.codebook) != 1.5625
