"""Lists that experts rank, against the weighted sum of what each part says by itself."""

import numpy as np
import pytest
from flax import nnx
from scipy.special import log_softmax, logsumexp

from genrec.decoding import Recommender, SearchOptions
from genrec.decoding.candidates import ExpertWeights
from genrec.decoding.experts import LOOKED_UP, Memory, lookups, recent_items
from genrec.graph import build_graph
from genrec.sequences.histories import Histories
from genrec.sequences.inputs import Catalogue
from small import small_model

NUM_ITEMS = 30
CODES = np.stack([np.arange(NUM_ITEMS) % 6, np.arange(NUM_ITEMS) // 6], axis=1).astype(np.int32)
SEEN = np.arange(NUM_ITEMS) < 25
RNG = np.random.default_rng(0)
CONTENT = RNG.normal(size=(NUM_ITEMS, 5)).astype(np.float32)
CONTENT /= np.linalg.norm(CONTENT, axis=1, keepdims=True)
TRAINING = Histories.of([RNG.integers(0, 25, 9) for _ in range(40)])
ASKED = Histories.of([RNG.integers(0, 25, n) for n in (1, 3, 8, 5)])
MODELS = {
    "genrec": {"item_head": True},
    "tiger": {"tokens": "codes", "encoder": "bidirectional", "item_embedding": False},
    "sasrec": {"item_head": True, "codes": False},
}


def recommender(recipe, beam=NUM_ITEMS, **options):
    model = small_model((6, 5), NUM_ITEMS, **MODELS[recipe])
    graph, params = nnx.split(model, nnx.Param)
    whole = Recommender(
        graph,
        params,
        Catalogue(CODES, seen=SEEN),
        max_history=8,
        options=SearchOptions(beam, 4, dense_share=float(recipe == "sasrec"), **options),
    )
    memory = Memory(
        build_graph(TRAINING, CONTENT, most=6),
        CONTENT,
        np.log1p(TRAINING.counts(NUM_ITEMS)).astype(np.float32),
    )
    count, levels = len(whole.expert_names), 2 * whole.writes_codes
    rng = np.random.default_rng(1)
    weights = ExpertWeights(
        *(
            rng.normal(size=size).astype(np.float32)
            for size in (count - whole.writes_codes, levels, levels, count)
        )
    )
    whole.experts = (memory, weights)
    return whole


def memory_of(model):
    assert model.experts is not None
    return model.experts[0]


def weights_of(model):
    assert model.experts is not None
    return model.experts[1]


def by_itself(model, share):
    """float (B, N): the log-probability of every item, -inf for those of the history."""
    items, scores = model.ranked_by(share)(ASKED, NUM_ITEMS, exclude_history=True)
    values = np.full(items.shape, -np.inf)
    for row in range(len(items)):
        kept = items[row] >= 0
        values[row, items[row][kept]] = scores[row][kept]
    return values


def everything(model):
    """float (F, B, N): what each expert says of every item, and -inf of those of the history."""
    said = []
    if model.writes_codes:
        said.append(by_itself(model, 0.0))
    if model.has_dense_head:
        said.append(by_itself(model, 1.0))
    looked_up = np.asarray(lookups(memory_of(model), recent_items(ASKED, 8)))
    return np.concatenate([np.stack(said), looked_up]) if said else looked_up


@pytest.mark.parametrize("recipe", MODELS)
def test_scores_are_the_weighted_sum_of_what_every_expert_says(recipe):
    model = recommender(recipe)
    said, weights = everything(model), weights_of(model)
    items, scores, added = model.explained(ASKED, NUM_ITEMS, exclude_history=True)
    for row, history in enumerate(ASKED):
        left = np.setdiff1d(np.arange(NUM_ITEMS), history)
        total = np.tensordot(np.asarray(weights.ranking), said[:, row, left], 1)
        expected = log_softmax(total)
        order = np.argsort(-expected)
        count = len(left)
        assert set(items[row, :count]) == set(left) and (items[row, count:] == -1).all()
        np.testing.assert_allclose(scores[row, :count], expected[order], atol=1e-3)
        place = np.searchsorted(left, items[row, :count])
        each = np.asarray(weights.ranking)[:, None] * said[:, row, left][:, place]
        np.testing.assert_allclose(added[row, :count], each.T, atol=1e-3)


@pytest.mark.parametrize("recipe", MODELS)
def test_of_a_narrow_beam_the_candidates_are_those_of_the_search_and_of_the_retrieval(recipe):
    wide, narrow = recommender(recipe), recommender(recipe, beam=4)
    retrieval = np.asarray(weights_of(wide).retrieval)
    said = everything(wide)[wide.writes_codes :]
    ranking = np.asarray(weights_of(wide).ranking)
    lists = narrow._lists(ASKED, 4, exclude_history=True)
    for row, history in enumerate(ASKED):
        left = np.setdiff1d(np.arange(NUM_ITEMS), history)
        log_p = log_softmax(np.tensordot(retrieval, said[:, row, left], 1))
        best = left[np.argsort(-log_p)].tolist()
        found = lists["guided_codes"][0][row].tolist() if narrow.writes_codes else []
        candidates = found + [item for item in best if item not in found][:4]
        at = np.searchsorted(left, candidates)
        total = np.tensordot(ranking, everything(wide)[:, row, candidates], 1)
        expected = log_softmax(total) + logsumexp(log_p[at])
        order = np.argsort(-expected)[:4]
        assert lists["whole"][0][row].tolist() == [candidates[place] for place in order]
        np.testing.assert_allclose(lists["whole"][1][row], expected[order], atol=1e-3)


def test_new_items_may_have_a_share_of_their_own():
    model = recommender("genrec", beam=10, unseen_share=0.3)
    items, scores, added = model.explained(ASKED, 10, exclude_history=True)
    new = items >= 25
    assert (new.sum(axis=1) == 3).all()
    assert (np.diff(scores) <= 0).all()
    assert not added[new][:, model.expert_names.index("codes")].any()
    log_p = np.tensordot(
        np.asarray(weights_of(model).retrieval), everything(recommender("genrec"))[1:, :, 25:], 1
    )
    for row in range(len(items)):
        best = 25 + np.argsort(-log_p[row])[:3]
        assert items[row][new[row]].tolist() == best.tolist()


def test_names_tell_what_a_model_has():
    assert recommender("genrec").expert_names == ("codes", "dense_head", *LOOKED_UP)
    assert recommender("tiger").expert_names == ("codes", *LOOKED_UP)
    assert recommender("sasrec").expert_names == ("dense_head", *LOOKED_UP)
    plain = recommender("genrec")
    plain.experts = None
    with pytest.raises(ValueError, match="nothing to explain"):
        plain.explained(ASKED, 5, exclude_history=True)
