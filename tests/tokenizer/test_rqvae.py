"""The RQ-VAE's functions against NumPy and against a case worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from genrec.tokenizer.rqvae import RqVae, losses, quantize, revive


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


def test_loss_terms_worked_by_hand():
    # Level 0 takes code 1 (distance 1 + .25), leaving (1, .5); level 1 takes code 0 (distance
    # .25 + .0625). The quantized latent is (.5, 1.75), the reconstruction (1, 3.5).
    graph, params, x = worked_case()
    terms, found = losses(nnx.merge(graph, params), x, 0.25)
    assert found.codes.tolist() == [[1, 0]] and found.total.tolist() == [[0.5, 1.75]]
    assert float(terms.reconstruction) == 2.25  # summed over dimensions: 0 + 1.5²
    assert float(terms.codebook) == float(terms.commitment) == 1.5625
    assert float(terms.loss) == 2.25 + 1.5625 + 0.25 * 1.5625


def test_gradients_worked_by_hand():
    graph, params, x = worked_case()
    grads = jax.grad(lambda p: losses(nnx.merge(graph, p), x, 0.25)[0].loss)(params)
    # The reconstruction's gradient reaches z as if the quantizer were the identity: 2 (0, 1.5)
    # through the decoder is (0, 6). The commitment adds 2 β ((1, .5) + (.5, .25)) = (.75, .375).
    dz = np.array([0.75, 6.375])
    np.testing.assert_allclose(grads["encoder"]["out"]["bias"], dz)
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
    grads = jax.grad(lambda p: getattr(losses(nnx.merge(graph, p), x, 0.25)[0], term))(params)
    assert {k for k, part in grads.items() if any(np.any(g) for g in jax.tree.leaves(part))} == (
        moved
    )


def test_the_loss_is_a_mean_over_the_batch():
    graph, params, x = worked_case()
    once, _ = losses(nnx.merge(graph, params), x, 0.25)
    thrice, _ = losses(nnx.merge(graph, params), jnp.repeat(x, 3, axis=0), 0.25)
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
