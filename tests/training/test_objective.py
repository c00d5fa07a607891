"""Training on packed prefixes against one history, one prefix at a time."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from small import randomised, small_model

from genrec.data.histories import Histories
from genrec.training.objective import next_item_loss
from genrec.training.packing import Batch, epoch_batches

SIZES, NUM_ITEMS = (4, 3), 9
CODES = np.stack([np.arange(NUM_ITEMS) % 4, np.arange(NUM_ITEMS) // 4], axis=1).astype(np.int32)
HISTORIES = Histories.of([[0, 1, 2, 3], [4, 5], [6, 7, 8, 1, 0], [2, 6]])


def test_packed_loss_and_gradients_equal_those_of_single_prefixes():
    # A layer that starts at zero would hide a wrong gradient of those before it.
    graph, params = nnx.split(randomised(small_model(SIZES, NUM_ITEMS)), nnx.Param)
    (batch,) = epoch_batches(HISTORIES, rows=2, row_length=8, max_history=6, seed=0, epoch=0)

    def packed(params):
        return next_item_loss(nnx.merge(graph, params), jnp.asarray(CODES), batch, None)

    def one_by_one(params):
        """Each prefix in a row of its own, where only its last slot has a target."""
        total = jnp.zeros(())
        for history in HISTORIES:
            for end in range(1, len(history)):
                row = np.zeros((4, 1, 6), np.int32)
                row[0, 0, :end] = history[:end]
                row[1, 0, end - 1] = history[end]
                row[2, 0, end:] = -1
                row[3, 0, end - 1] = 1
                total += single(params, row)
        return total / sum(len(history) - 1 for history in HISTORIES)

    @jax.jit
    def single(params, row):
        model = nnx.merge(graph, params)
        return next_item_loss(
            model, jnp.asarray(CODES), Batch(row[0], row[1], row[2], row[3] == 1), None
        )

    value, gradient = jax.jit(jax.value_and_grad(packed))(params)
    expected, expected_gradient = jax.value_and_grad(one_by_one)(params)
    assert np.isclose(value, expected, rtol=1e-5)
    for got, want in zip(
        jax.tree.leaves(gradient), jax.tree.leaves(expected_gradient), strict=True
    ):
        assert np.allclose(got, want, atol=1e-5)


def test_a_batch_without_targets_costs_nothing():
    empty = jnp.zeros((1, 4), jnp.int32)
    none = jnp.zeros((1, 4), bool)
    model = small_model(SIZES, NUM_ITEMS)
    batch = Batch(empty, empty, empty - 1, none)
    assert next_item_loss(model, jnp.asarray(CODES), batch, None) == 0.0
