import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from small import randomised, small_model

from genrec.data.histories import Histories
from genrec.decoding import Options, Recommender
from genrec.model import Catalogue, Inputs

NUM_ITEMS = 30
CODES = np.stack([np.arange(NUM_ITEMS) % 6, np.arange(NUM_ITEMS) // 6], axis=1).astype(np.int32)


def recommender():
    model = randomised(small_model((6, 5), NUM_ITEMS, dropout=0.5))
    graph, params = nnx.split(model, nnx.Param)
    return Recommender(graph, params, Catalogue(CODES), max_history=8, options=Options(12, 4))


def tiger_recommender():
    model = randomised(
        small_model(
            (6, 5),
            NUM_ITEMS,
            item_embedding=False,
            tokens="codes",
            encoder="bidirectional",
            user_tokens=4,
        )
    )
    graph, params = nnx.split(model, nnx.Param)
    return Recommender(graph, params, Catalogue(CODES), max_history=8, options=Options(12, 4))


def some_histories(count, longest=20, seed=0):
    rng = np.random.default_rng(seed)
    return Histories.of(
        [rng.integers(0, NUM_ITEMS, rng.integers(1, longest + 1)) for _ in range(count)]
    )


def test_a_users_list_does_not_depend_on_who_else_asks():
    histories = some_histories(11)
    recommend = recommender()
    items, scores = recommend(histories, 7, exclude_history=True)
    assert items.shape == scores.shape == (11, 7)
    for user in range(11):
        alone, its_scores = recommend(histories.select(np.array([user])), 7, exclude_history=True)
        assert np.array_equal(alone[0], items[user])
        assert np.allclose(its_scores[0], scores[user], atol=1e-5)


def test_lists_hold_distinct_items_and_nothing_of_the_history_when_it_is_excluded():
    histories = some_histories(9)
    items, scores = recommender()(histories, 12, exclude_history=True)
    for history, row, points in zip(histories, items, scores, strict=True):
        found = row[row >= 0]
        assert len(found) == min(12, NUM_ITEMS - len(set(history.tolist())))
        assert len(set(found.tolist())) == len(found)
        assert not set(found.tolist()) & set(history.tolist())
        assert (np.diff(points[: len(found)]) <= 0).all()
    everything, _ = recommender()(histories, 12, exclude_history=False)
    assert (everything >= 0).all()
    assert any(set(row) & set(h) for row, h in zip(everything.tolist(), histories, strict=True))


def test_only_the_most_recent_items_are_read():
    long = np.arange(20) % NUM_ITEMS
    recommend = recommender()
    whole, _ = recommend(Histories.of([long]), 5, exclude_history=False)
    recent, _ = recommend(Histories.of([long[-8:]]), 5, exclude_history=False)
    shorter, _ = recommend(Histories.of([long[-3:]]), 5, exclude_history=False)
    assert np.array_equal(whole, recent)
    assert not np.array_equal(whole, shorter)


@pytest.mark.parametrize("k", [0, 13])
def test_k_must_fit_the_beam(k):
    with pytest.raises(ValueError, match="between 1 and the beam width 12"):
        recommender()(some_histories(1), k, exclude_history=True)


def test_an_empty_history_is_refused_and_no_history_is_fine():
    with pytest.raises(ValueError, match="nothing to go on"):
        recommender()(Histories.of([[1], []]), 3, exclude_history=True)
    items, _ = recommender()(Histories.of([]), 3, exclude_history=True)
    assert items.shape == (0, 3)


def test_writing_freely_agrees_with_the_trie_where_every_tuple_is_an_item():
    histories = some_histories(7)
    recommend = recommender()
    items, scores = recommend(histories, 12, exclude_history=False)
    codes, written = recommend.write(histories, (6, 5))
    assert np.array_equal(codes, CODES[items])
    assert np.allclose(written, scores, atol=1e-5)


def test_whose_history_it_is_reaches_a_model_with_user_tokens():
    histories = some_histories(5)
    recommend = tiger_recommender()

    def scores(users):
        known = dataclasses.replace(histories, users=users)
        return recommend(known, 5, exclude_history=False)[1]

    users = np.array([3, 1, 2, 2, 0], np.uint32)
    assert np.allclose(scores(users), scores(users + np.uint32(4)), atol=1e-6)  # the same tokens
    others = scores(np.roll(users, 1))
    changed = [not np.allclose(a, b) for a, b in zip(scores(users), others, strict=True)]
    assert changed == [True, True, True, False, True]
    assert not np.allclose(scores(users), scores(None))


def test_times_reach_a_model_with_time_gaps():
    model = randomised(small_model((6, 5), NUM_ITEMS, time_gaps=True))
    recommend = Recommender(
        *nnx.split(model, nnx.Param), Catalogue(CODES), max_history=8, options=Options(12, 4)
    )

    def scores(timestamps):
        known = Histories.of([[4, 9, 2]], timestamps=timestamps)
        return recommend(known, 5, exclude_history=False)[1]

    soon, late = scores([[0, 5, 9]]), scores([[0, 5, 90_000]])
    assert not np.allclose(soon, late)
    assert np.array_equal(soon, scores([[100, 105, 109]]))
    assert not np.allclose(soon, scores(None))


def test_the_dense_head_ranks_all_items_but_those_excluded():
    model = randomised(small_model((6, 5), NUM_ITEMS, item_head=True))
    recommend = Recommender(
        *nnx.split(model, nnx.Param), Catalogue(CODES), max_history=8, options=Options(12, 4)
    )
    histories = some_histories(6)
    for exclude_history in (False, True):
        items, scores = recommend.rank(histories, 12, exclude_history=exclude_history)
        for history, row, points in zip(histories, items, scores, strict=True):
            recent = history[-8:]
            inputs = Inputs(recent[None], np.zeros((1, len(recent)), np.int32))
            start = model.encode(inputs, Catalogue(CODES), every_position=False).start
            assert start is not None
            logits = model.score_items(start, jnp.arange(NUM_ITEMS), Catalogue(CODES))[0, 0]
            expected = np.array(logits - jax.nn.logsumexp(logits))
            if exclude_history:
                expected[history] = -np.inf
            best = np.argsort(-expected, kind="stable")[:12]
            found = row[row >= 0]
            assert np.array_equal(found, best[np.isfinite(expected[best])])
            assert np.allclose(points[: len(found)], expected[found], atol=1e-4)


def test_a_model_without_a_dense_head_does_not_pretend_to_have_one():
    for without in (recommender(), tiger_recommender()):
        with pytest.raises(ValueError, match="no dense head"):
            without.rank(some_histories(2), 5, exclude_history=False)
