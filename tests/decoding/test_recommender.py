import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from genrec.decoding import Recommender, SearchOptions
from genrec.decoding.search import search
from genrec.sequences.histories import Histories
from genrec.sequences.inputs import Catalogue, Inputs
from small import small_model

NUM_ITEMS = 30
CODES = np.stack([np.arange(NUM_ITEMS) % 6, np.arange(NUM_ITEMS) // 6], axis=1).astype(np.int32)


def recommender():
    model = small_model((6, 5), NUM_ITEMS, dropout=0.5)
    graph, params = nnx.split(model, nnx.Param)
    return Recommender(graph, params, Catalogue(CODES), max_history=8, options=SearchOptions(12, 4))


def tiger_recommender():
    model = small_model(
        (6, 5),
        NUM_ITEMS,
        item_embedding=False,
        tokens="codes",
        encoder="bidirectional",
        user_tokens=4,
    )
    graph, params = nnx.split(model, nnx.Param)
    return Recommender(graph, params, Catalogue(CODES), max_history=8, options=SearchOptions(12, 4))


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
    model = small_model((6, 5), NUM_ITEMS, time_gaps=True)
    recommend = Recommender(
        *nnx.split(model, nnx.Param), Catalogue(CODES), max_history=8, options=SearchOptions(12, 4)
    )

    def scores(timestamps):
        known = Histories.of([[4, 9, 2]], timestamps=timestamps)
        return recommend(known, 5, exclude_history=False)[1]

    soon, late = scores([[0, 5, 9]]), scores([[0, 5, 90_000]])
    assert not np.allclose(soon, late)
    assert np.array_equal(soon, scores([[100, 105, 109]]))
    assert not np.allclose(soon, scores(None))


def dense_recommender(sizes=(6, 5), **options):
    model = small_model(sizes, NUM_ITEMS, item_head=True)
    return model, Recommender(
        *nnx.split(model, nnx.Param),
        Catalogue(CODES),
        max_history=8,
        options=SearchOptions(**options),
    )


def both_scores(model, history):
    """float (N,) twice: the log-probability of every item by its codes and by the dense head."""
    return by_codes(model, history), by_dense_head(model, history)


def by_dense_head(model, history):
    return np.array(dense_scores(model, last_items(history)))


@nnx.jit
def dense_scores(model, inputs):
    read = reading(model, inputs)
    dense = model.score_vectors(
        read.start, model.item_vectors(jnp.arange(NUM_ITEMS), Catalogue(CODES))
    )[0, 0]
    return jax.nn.log_softmax(dense)


def last_items(history):
    """One row of 8 slots for any history, so that nothing is compiled for its length."""
    recent = history[-8:]
    items, segments = np.zeros((1, 8), np.int32), np.full((1, 8), -1, np.int32)
    items[0, : len(recent)], segments[0, : len(recent)] = recent, 0
    return Inputs(items, segments)


def reading(model, inputs):
    return model.encode(inputs, Catalogue(CODES), every_position=False)


def by_codes(model, history):
    """float (N,): the log-probability of every item's codes."""
    return np.array(code_scores(model, last_items(history)))


@nnx.jit
def code_scores(model, inputs):
    read = reading(model, inputs)

    def score(codes):
        logits = model.decode(codes[None, None], read)
        return sum(jax.nn.log_softmax(x)[0, 0, code] for x, code in zip(logits, codes, strict=True))

    return jax.vmap(score)(jnp.asarray(CODES))


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_fused_score_is_the_weighted_sum_over_the_candidates_of_both(share):
    model, recommend = dense_recommender(beam=5, batch_size=4, dense_share=share)
    histories = some_histories(5)
    items, scores = recommend(histories, 5, exclude_history=True)
    plain, _ = dense_recommender(beam=5, batch_size=4)[1](histories, 5, exclude_history=True)
    for history, row, points, beams in zip(histories, items, scores, plain, strict=True):
        decoder, dense = both_scores(model, history)
        dense_alone = dense.copy()
        dense_alone[history] = -np.inf
        dense_alone[beams] = -np.inf
        candidates = np.concatenate([beams, np.argsort(-dense_alone)[:5]])
        total = (1 - share) * decoder + share * dense
        best = candidates[np.argsort(-total[candidates])][:5]
        assert row.tolist() == best.tolist()
        assert np.allclose(points, total[best], atol=1e-4)


@pytest.mark.parametrize("sizes", [(6, 5), ()], ids=["with a share of one", "without codes"])
def test_the_dense_head_alone_ranks(sizes):
    model, recommend = dense_recommender(sizes, beam=12, batch_size=4, dense_share=1.0)
    histories = some_histories(6)
    for exclude_history in (False, True):
        items, scores = recommend(histories, 12, exclude_history=exclude_history)
        for history, row, points in zip(histories, items, scores, strict=True):
            expected = by_dense_head(model, history)
            if exclude_history:
                expected[history] = -np.inf
            best = np.argsort(-expected, kind="stable")[:12]
            assert row.tolist() == best.tolist()
            assert np.allclose(points, expected[best], atol=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_another_share_of_the_dense_head_is_another_recommender(share):
    _, recommend = dense_recommender(beam=5, batch_size=4, dense_share=0.6)
    histories = some_histories(5)
    before = recommend(histories, 5, exclude_history=True)
    found = recommend.ranked_by(share)(histories, 5, exclude_history=True)
    _, fresh = dense_recommender(beam=5, batch_size=4, dense_share=share)
    after = recommend(histories, 5, exclude_history=True)
    for a, b in zip(found + before, fresh(histories, 5, exclude_history=True) + after, strict=True):
        assert np.array_equal(a, b)


NEW = np.array([2, 3, 11, 17, 23, 28])
SEEN = ~np.isin(np.arange(NUM_ITEMS), NEW)


@pytest.mark.parametrize(("share", "k", "count"), [(0.2, 10, 2), (0.5, 5, 2), (0.01, 9, 0)])
def test_new_items_get_their_share_of_a_list_by_the_codes_that_describe_them(share, k, count):
    model = small_model((6, 5), NUM_ITEMS, item_embedding=False)
    recommend = Recommender(
        *nnx.split(model, nnx.Param),
        Catalogue(CODES, seen=SEEN),
        max_history=8,
        options=SearchOptions(10, 4, unseen_share=share),
    )
    histories = some_histories(6)
    items, scores = recommend(histories, k, exclude_history=False)
    for history, row, points in zip(histories, items, scores, strict=True):
        total = by_codes(model, history) + np.log(1 - share)
        # The last code only tells an item from others, so that the first says all there is.
        first = raw_first_codes(model, history)
        rivals = np.exp(first[np.unique(CODES[NEW, 0])]).sum()
        total[NEW] = first[CODES[NEW, 0]] - np.log(rivals) + np.log(share)
        new, others = NEW, np.flatnonzero(SEEN)
        best = [ids[np.argsort(-total[ids], kind="stable")] for ids in (new, others)]
        chosen = np.concatenate([best[0][:count], best[1][: k - count]])
        assert np.isin(row, NEW).sum() == count
        assert len(set(row.tolist())) == k
        assert np.allclose(points, np.sort(total[chosen])[::-1], atol=1e-4)
        assert np.allclose(points, total[row], atol=1e-4)


def raw_first_codes(model, history):
    """float (K,): the logit of every first code."""
    return np.array(first_logits(model, last_items(history)))


@nnx.jit
def first_logits(model, inputs):
    return model.decode(jnp.zeros((1, 1, 2), jnp.int32), reading(model, inputs))[0][0, 0]


def test_new_items_fill_a_list_that_the_others_leave_short():
    model = small_model((6, 5), NUM_ITEMS, item_embedding=False)
    recommend = Recommender(
        *nnx.split(model, nnx.Param),
        Catalogue(CODES, seen=SEEN),
        max_history=8,
        options=SearchOptions(10, 4, unseen_share=0.1),
    )
    some = recommend.only(np.array([0, 1, 2, 3, 11, 17]))
    items, _ = some(some_histories(3), 6, exclude_history=False)
    assert np.array_equal(np.sort(items, axis=1), np.tile([0, 1, 2, 3, 11, 17], (3, 1)))
    nothing_else = recommend.only(NEW)
    items, _ = nothing_else(some_histories(3), 6, exclude_history=False)
    assert np.array_equal(np.sort(items, axis=1), np.tile(NEW, (3, 1)))


def test_lists_to_block_and_to_allow_are_each_historys_own():
    histories = some_histories(6)
    rng = np.random.default_rng(1)
    exclude = [rng.integers(0, NUM_ITEMS, n) for n in (0, 3, 20, 1, 9, 2)]
    allow = [None, np.array([4, 9, 9, 21]), None, np.arange(15), np.array([7]), np.array([], int)]
    whole, _ = Recommender(
        *nnx.split(small_model((6, 5), NUM_ITEMS, dropout=0.5), nnx.Param),
        Catalogue(CODES),
        max_history=8,
        options=SearchOptions(NUM_ITEMS, 4),
    )(histories, NUM_ITEMS, exclude_history=False)
    items, scores = recommender()(histories, 12, exclude_history=True, exclude=exclude, allow=allow)
    for row in range(6):
        out = {*histories[row].tolist(), *exclude[row].tolist()}
        only = set(range(NUM_ITEMS)) if allow[row] is None else set(allow[row].tolist())
        expected = [item for item in whole[row].tolist() if item in only - out][:12]
        found = items[row][items[row] >= 0].tolist()
        assert len(found) == len(expected)
        if len(only - out) <= 12:  # then the beam is as wide as brute force
            assert found == expected
        assert set(found) <= only - out
        assert np.isneginf(scores[row, len(found) :]).all()


def compilations():
    return search._cache_size()  # pyright: ignore[reportAttributeAccessIssue, reportFunctionMemberAccess]


def test_a_part_of_the_catalogue_is_searched_by_what_was_compiled_for_all_of_it():
    recommend = recommender()
    histories = some_histories(4)
    recommend(histories, 5, exclude_history=True)
    compiled = compilations()
    part = recommend.only(np.arange(0, NUM_ITEMS, 2))
    items, _ = part(histories, 5, exclude_history=True)
    assert (items % 2 == 0).all()
    exclude = [np.array([1, 2]), np.array([], int), np.array([3]), np.array([4])]
    recommend(histories, 3, exclude_history=True, exclude=exclude)
    recommend(histories, 3, exclude_history=False)
    assert compilations() == compiled
    again, _ = recommend(histories, 5, exclude_history=True)
    assert (again % 2 == 1).any()


def test_samples_repeat_by_seed_and_differ_by_history_and_temperature():
    histories = Histories.of([[3, 1]] * 5)

    def draw(seed, temperature):
        model = small_model((6, 5), NUM_ITEMS)
        recommend = Recommender(
            *nnx.split(model, nnx.Param),
            Catalogue(CODES),
            max_history=8,
            options=SearchOptions(12, 4, temperature=temperature, seed=seed),
        )
        return recommend(histories, 6, exclude_history=False)[0]

    first = draw(0, (2.0,))
    assert np.array_equal(first, draw(0, (2.0, 2.0)))
    assert not np.array_equal(first, draw(1, (2.0,)))
    assert len(np.unique(first, axis=0)) > 1
    model = small_model((6, 5), NUM_ITEMS)
    whole, parts = (
        Recommender(
            *nnx.split(model, nnx.Param),
            Catalogue(CODES),
            max_history=8,
            options=SearchOptions(12, 4, temperature=(2.0,)),
        )
        for _ in range(2)
    )
    once = whole(histories, 6, exclude_history=False)[0]
    two, three = (histories.select(np.arange(*part)) for part in ((0, 2), (2, 5)))
    again = [parts(some, 6, exclude_history=False)[0] for some in (two, three)]
    assert np.array_equal(once, np.concatenate(again))
    # Next to no temperature takes the best, as the search without one does.
    cold = draw(0, (1e-4,))
    assert (cold == cold[0]).all()
    assert np.array_equal(cold[0], recommender_of_all(6))


def recommender_of_all(k):
    model = small_model((6, 5), NUM_ITEMS)
    recommend = Recommender(
        *nnx.split(model, nnx.Param), Catalogue(CODES), max_history=8, options=SearchOptions(12, 4)
    )
    return recommend(Histories.of([[3, 1]]), k, exclude_history=False)[0][0]


def test_a_model_without_a_dense_head_does_not_pretend_to_have_one():
    for without in (recommender(), tiger_recommender()):
        without.options = SearchOptions(12, 4, dense_share=0.5)
        with pytest.raises(ValueError, match="no dense head"):
            without(some_histories(2), 5, exclude_history=False)
