"""Training on packed prefixes against one prefix at a time, and each loss against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from genrec.sequences.histories import Histories
from genrec.sequences.inputs import Catalogue, Inputs, gap_buckets
from genrec.sequences.packing import Batch, Plan, epoch_batches
from genrec.training.loss import next_item_loss
from small import small_model
from small_training import loss_of

SIZES, NUM_ITEMS = (4, 3), 9
CATALOGUE = Catalogue(
    np.stack([np.arange(NUM_ITEMS) % 4, np.arange(NUM_ITEMS) // 4], axis=1).astype(np.int32),
    np.random.default_rng(1).normal(size=(NUM_ITEMS, 3)).astype(np.float32),
)
ROWS = [[0, 1, 2, 3], [4, 5], [6, 7, 8, 1, 0], [2, 6]]
TIMES = [[0, 10, 10, 700], [5, 6], [0, 1, 9, 99, 9999], [3, 3]]
HISTORIES = Histories.of(ROWS, timestamps=TIMES)


def packed_batch():
    plan = Plan(True, rows=2, row_length=8, max_history=6)
    (batch,) = epoch_batches(HISTORIES, plan, seed=0, epoch=0)
    return batch


def single_prefix(history, times, end):
    """A row of one prefix, made by hand, with its one target."""
    items, segments = np.zeros((1, 6), np.int32), np.full((1, 6), -1, np.int32)
    items[0, :end], segments[0, :end] = history[:end], 0
    gaps = np.zeros((1, 6), np.int32)
    gaps[0, :end] = gap_buckets(np.array(times[:end]))
    target = np.array([[history[end]]], np.int32)
    return Batch(Inputs(items, segments, gaps), target, np.ones((1, 1), bool))


@pytest.mark.parametrize(
    "options",
    [{}, {"content_dim": 3, "time_gaps": True, "item_head": True}, {"tokens": "codes"}],
    ids=["plain", "everything", "code-tokens"],
)
def test_packed_losses_and_gradients_equal_those_of_single_prefixes(options):
    # A layer that starts at zero would hide a wrong gradient of those before it.
    model = small_model(SIZES, NUM_ITEMS, item_embedding="tokens" not in options, **options)
    graph, params = nnx.split(model, nnx.Param)
    weight = 0.7 if "item_head" in options else 0.0

    def loss(params, batch, every_prefix):
        found = next_item_loss(
            nnx.merge(graph, params),
            CATALOGUE,
            batch,
            None,
            every_prefix=every_prefix,
            item_loss=weight,
            label_smoothing=0.1,
        )
        return found.total

    gradient_of = jax.jit(jax.value_and_grad(loss), static_argnames="every_prefix")
    packed = packed_batch()
    alone = {}
    for history, times in zip(ROWS, TIMES, strict=True):
        for end in range(1, len(history)):
            batch = single_prefix(history, times, end)
            alone[history[end - 1], history[end]] = gradient_of(params, batch, every_prefix=False)

    for row, slot in np.argwhere(packed.wanted):
        only = np.zeros_like(packed.wanted)
        only[row, slot] = True
        value, gradient = gradient_of(params, packed._replace(wanted=only), every_prefix=True)
        key = int(packed.inputs.items[row, slot]), int(packed.targets[row, slot])
        expected, expected_gradient = alone.pop(key)
        assert np.isclose(value, expected, rtol=1e-5)
        for got, want in zip(*map(jax.tree.leaves, (gradient, expected_gradient)), strict=True):
            assert np.allclose(got, want, atol=1e-4 * max(1.0, np.abs(want).max()))
    assert not alone


def test_no_user_s_loss_moves_with_another_one_s_history():
    model = small_model(SIZES, NUM_ITEMS)
    batch = packed_batch()
    items = np.array(batch.inputs.items)
    changed = (items[0] == 6) | (items[0] == 7) | (items[0] == 8)  # inputs of the third history
    row = 0 if changed.any() else 1
    segments = np.asarray(batch.inputs.segments)[row]
    victim = segments[np.flatnonzero(np.isin(items[row], [6, 7, 8]))[0]]
    other = items.copy()
    other[row, segments == victim] = 3
    for segment in set(segments.tolist()) - {victim, -1}:
        wanted = np.zeros_like(batch.wanted)
        wanted[row, segments == segment] = True
        before, after = (
            loss_of(
                model,
                CATALOGUE,
                Batch(batch.inputs._replace(items=inputs), batch.targets, wanted),
                None,
                every_prefix=True,
            ).total
            for inputs in (items, other)
        )
        assert np.isclose(before, after, rtol=1e-6)


@nnx.jit
def forward(model, inputs, codes):
    """For each level its logits, and the scores of every item."""
    encoded = model.encode(inputs, CATALOGUE, every_position=True)
    scores = model.score_vectors(
        encoded.start, model.item_vectors(jnp.arange(NUM_ITEMS), CATALOGUE)
    )
    return model.decode(codes, encoded), scores


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def test_losses_are_those_of_numpy():
    model = small_model(SIZES, NUM_ITEMS, item_head=True)
    batch = packed_batch()
    found = loss_of(
        model, CATALOGUE, batch, None, every_prefix=True, label_smoothing=0.2, item_loss=0.5
    )
    codes = CATALOGUE.codes[batch.targets]
    by_level, scores = forward(model, batch.inputs, codes)
    hard, soft = np.zeros(batch.targets.shape), np.zeros(batch.targets.shape)
    for level, logits in enumerate(by_level):
        p = softmax(np.asarray(logits, float))
        goal = 0.8 * np.eye(SIZES[level])[codes[..., level]] + 0.2 / SIZES[level]
        hard += -np.log((p * np.eye(SIZES[level])[codes[..., level]]).sum(-1))
        soft += -(goal * np.log(p)).sum(-1)
    p = softmax(np.asarray(scores))
    dense = -np.log(np.take_along_axis(p, np.asarray(batch.targets)[..., None], -1)[..., 0])
    wanted = batch.wanted
    assert found.targets == wanted.sum() == 9
    assert np.isclose(found.codes, hard[wanted].sum(), rtol=1e-4)
    assert np.isclose(found.total, (soft + 0.5 * dense)[wanted].sum(), rtol=1e-4)


def test_sampled_items_give_the_full_loss_when_they_are_all_the_others():
    model = small_model(SIZES, NUM_ITEMS, item_head=True)
    batch = packed_batch()

    def total(negatives):
        return loss_of(
            model,
            CATALOGUE,
            batch,
            None,
            every_prefix=True,
            item_loss=1.0,
            negatives=negatives,
        ).total

    # The target is among them, and must not be counted as its own negative.
    assert np.isclose(total(jnp.arange(NUM_ITEMS)), total(None), rtol=1e-5)
    assert total(jnp.array([0, 1])) < total(None)


@pytest.mark.parametrize("negatives", [None, jnp.arange(NUM_ITEMS)])
def test_items_never_seen_are_not_what_a_target_is_told_from(negatives):
    model = small_model(SIZES, NUM_ITEMS, item_head=True, item_embedding=False)
    batch = packed_batch()
    batch = batch._replace(targets=batch.targets % 5)
    seen = np.arange(NUM_ITEMS) % 7 < 5

    def total(catalogue, negatives):
        return loss_of(
            model, catalogue, batch, None, every_prefix=True, item_loss=1.0, negatives=negatives
        ).total

    expected = total(CATALOGUE, jnp.flatnonzero(seen))
    assert np.isclose(total(CATALOGUE._replace(seen=seen), negatives), expected, rtol=1e-5)
    assert not np.isclose(total(CATALOGUE, negatives), expected, rtol=1e-3)


def test_a_batch_without_targets_costs_nothing():
    batch = packed_batch()
    batch = batch._replace(wanted=np.zeros_like(batch.wanted))
    model = small_model(SIZES, NUM_ITEMS)
    found = loss_of(model, CATALOGUE, batch, None, every_prefix=True)
    assert (found.total, found.codes, found.targets) == (0.0, 0.0, 0.0)
