"""A decoder that sees the items that a code leads to, against one that has them in its weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from genrec.decoding import Recommender, SearchOptions
from genrec.model.look_ahead import candidates_on_path
from genrec.semantic_ids.trie import means_below
from genrec.sequences.histories import Histories
from genrec.sequences.inputs import Catalogue, Inputs
from genrec.sequences.packing import Batch
from genrec.training.loop import trie_of_targets
from small import small_model
from small_training import loss_of

SIZES, NUM_ITEMS, WIDTH = (4, 3, 2), 17, 8
EVERY = np.stack(np.meshgrid(*map(np.arange, SIZES), indexing="ij"), -1).reshape(-1, 3)
CODES = np.random.default_rng(1).permutation(EVERY)[:NUM_ITEMS].astype(np.int32)
CATALOGUE = Catalogue(CODES)
HISTORY = np.array([3, 11, 7])


@pytest.fixture(scope="module", params=[False, True], ids=["", "repeats"])
def model(request):
    options = {"item_head": True, "look_ahead": True, "repeats": request.param}
    return small_model(SIZES, NUM_ITEMS, **options)


@nnx.jit
def encoded(model, history=HISTORY, catalogue=CATALOGUE):
    inputs = Inputs(history[None].astype(np.int32), np.zeros((1, len(history)), np.int32))
    return model.encode(inputs, catalogue, every_position=False)


@nnx.jit
def decoded(model, codes, read):
    return model.decode(codes, read)


def blind(model, level, vectors, repeated):
    """A model that does not look ahead, but has what is to be seen there in its output layer.

    The score of a code is linear in the decoder's state, so that what a code leads to, float (K, D)
    `vectors` and float (K,) shares of items `repeated`, can be added to the code's row.
    """
    other = nnx.clone(model)
    query, rows = other.queries_ahead[level - 1], other.logits[level]
    rows.kernel[...] += query.kernel[...] @ vectors.T / np.sqrt(WIDTH)
    if other.ahead_again is not None:
        rows.kernel[...] += other.ahead_again[level - 1].kernel[...] @ repeated[None]
    other.queries_ahead = other.ahead_again = None
    return other


def by_dense_head(model):
    """float (N,): each item's log-probability after HISTORY by the dense head."""
    read = encoded(model)
    scores = np.array(
        model.score_vectors(read.start, model.item_vectors(jnp.arange(NUM_ITEMS), CATALOGUE))[0, 0]
    )
    if model.item_again is not None:
        scores[HISTORY] += np.asarray(model.item_again(read.start))[0, 0, 0]
    return np.asarray(jax.nn.log_softmax(scores), float)


def brute_force(model, catalogue=CATALOGUE, existing=None, counted=None):
    """float (N,): each item's log-probability after HISTORY, code by code.

    Only codes of the items `existing` exist; means are of the items `counted`. None: all.
    """
    every = np.arange(NUM_ITEMS)
    existing, counted = (every if x is None else x for x in (existing, counted))
    vectors = np.asarray(model.item_vectors(jnp.asarray(every), catalogue))
    scores = np.full(NUM_ITEMS, -np.inf)
    for item in existing:
        scores[item] = 0.0
        for level, size in enumerate(SIZES):
            seen, exists = np.zeros((size, WIDTH), np.float32), np.zeros(size, bool)
            repeated = np.zeros(size, np.float32)
            for code in range(size):
                below = (CODES[:, : level + 1] == [*CODES[item, :level], code]).all(axis=1)
                exists[code] = below[existing].any() or level == 0
                within = below & np.isin(every, counted)
                if level and below[existing].any():
                    repeated[code] = np.isin(existing, HISTORY)[below[existing]].mean()
                if level and below.any():
                    seen[code] = vectors[within if within.any() else below].mean(axis=0)
            told = blind(model, level, seen, repeated) if level else nnx.clone(model)
            told.queries_ahead = told.ahead_again = None
            read = encoded(told, HISTORY, catalogue)
            logits = decoded(told, jnp.asarray(CODES[item])[None, None], read)
            logits = np.where(exists, np.asarray(logits[level][0, 0], float), -np.inf)
            scores[item] += logits[CODES[item, level]] - np.log(np.exp(logits).sum())
    return scores


@pytest.fixture(scope="module")
def scores(model):
    return brute_force(nnx.clone(model))


def recommender(model, catalogue=CATALOGUE, **options):
    options = SearchOptions(**{"beam": NUM_ITEMS, "batch_size": 2, **options})
    return Recommender(*nnx.split(model, nnx.Param), catalogue, max_history=8, options=options)


def one_list(recommend):
    items, points = recommend(Histories.of([HISTORY]), NUM_ITEMS, exclude_history=False)
    count = int((items[0] >= 0).sum())
    return items[0, :count], points[0, :count]


def test_beam_search_ranks_as_brute_force_does(model, scores):
    items, points = one_list(recommender(model))
    assert items.tolist() == np.argsort(-scores).tolist()
    assert np.allclose(points, scores[items], atol=1e-4)


def test_candidates_of_the_dense_head_get_the_score_that_the_search_would_give(model, scores):
    share = 0.4
    total = (1 - share) * scores + share * by_dense_head(model)
    recommend = recommender(model, beam=3, dense_share=share)
    items, points = recommend(Histories.of([HISTORY]), 3, exclude_history=False)
    assert np.allclose(points[0], total[items[0]], atol=1e-4)


def test_a_part_of_the_catalogue_is_seen_as_in_the_whole(model):
    some = np.array([1, 4, 5, 9, 16])
    items, points = one_list(recommender(model).only(some))
    expected = brute_force(nnx.clone(model), existing=some)
    assert items.tolist() == np.argsort(-expected)[: len(some)].tolist()
    assert np.allclose(points, expected[items], atol=1e-4)


def test_items_never_seen_do_not_change_what_stands_for_the_others(model):
    seen = np.arange(NUM_ITEMS) % 3 > 0
    catalogue = CATALOGUE._replace(seen=seen)
    items, points = one_list(recommender(model, catalogue))
    expected = brute_force(nnx.clone(model), catalogue, counted=np.flatnonzero(seen))
    assert np.allclose(points, expected[items], atol=1e-3)


def test_the_loss_is_the_searchs_score(model, scores):
    inputs = Inputs(HISTORY[None].astype(np.int32), np.zeros((1, 3), np.int32))
    wanted = np.array([[False, False, True]])
    for target in (0, 5, 12):
        batch = Batch(inputs, np.full((1, 3), target, np.int32), wanted)
        for catalogue in (CATALOGUE, CATALOGUE._replace(seen=np.ones(NUM_ITEMS, bool))):
            trie = trie_of_targets(catalogue)
            found = loss_of(model, catalogue, batch, None, every_prefix=True, trie=trie)
            assert np.isclose(found.codes, -scores[target], atol=1e-4)


def test_distillation_asks_for_the_dense_heads_distribution(model, scores):
    """With nothing but soft targets, the loss is the cross-entropy of all items, level by level."""
    inputs = Inputs(HISTORY[None].astype(np.int32), np.zeros((1, 3), np.int32))
    target, trie = 5, jax.device_put(trie_of_targets(CATALOGUE))
    batch = Batch(inputs, np.full((1, 3), target, np.int32), np.array([[False, False, True]]))
    options = {"every_prefix": True, "trie": trie, "item_loss": 1e-9, "distillation": 1.0}
    found = loss_of(model, CATALOGUE, batch, None, **options)
    head, read = np.exp(by_dense_head(model)), encoded(model)
    means = means_below(trie, model.item_vectors(jnp.arange(NUM_ITEMS), CATALOGUE))
    leaf = trie.leaf[np.array([[target]])]
    candidates, _ = candidates_on_path(trie, means, leaf, 3, read.history_items)
    logits = model.decode(jnp.asarray(CODES[target])[None, None], read, candidates=candidates)
    expected = 0.0
    for level, size in enumerate(SIZES):
        prefix = (CODES[:, :level] == CODES[target, :level]).all(axis=1)
        codes = range(size) if level == 0 else sorted(set(CODES[prefix, level].tolist()))
        mass = np.array([head[prefix & (CODES[:, level] == code)].sum() for code in codes])
        log_p = np.asarray(jax.nn.log_softmax(logits[level][0, 0]))[: len(mass)]
        expected -= (mass / mass.sum() * log_p).sum()
    assert np.isclose(found.total, expected, rtol=1e-4)


def test_it_does_not_write_without_candidate_codes(model):
    with pytest.raises(AssertionError, match="looks ahead"):
        model.decode(jnp.asarray(CODES[:1])[None], encoded(model))
