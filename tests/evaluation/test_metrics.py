import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from genrec.evaluation import mrr_at, ndcg_at, recall_at, summarise, target_ranks


def test_metrics_by_hand():
    recommended = np.array([[7, 3, 9], [2, 1, 0], [4, 5, -1], [6, -1, -1]], np.int32)
    ranks = target_ranks(recommended, np.array([7, 0, 5, 8], np.int32))
    assert ranks.dtype == np.int64
    assert ranks.tolist() == [0, 2, 1, 3]
    assert recall_at(ranks, 2, 3).tolist() == [1, 0, 1, 0]
    np.testing.assert_allclose(ndcg_at(ranks, 3, 3), [1, 1 / 2, 1 / np.log2(3), 0])
    np.testing.assert_allclose(mrr_at(ranks, 3, 3), [1, 1 / 3, 1 / 2, 0])
    assert summarise(ranks, (1, 2), 3) == {
        **{f"{metric}@1": 1 / 4 for metric in ("recall", "ndcg", "mrr", "hit_rate")},
        "recall@2": 2 / 4,
        "ndcg@2": pytest.approx((1 + 1 / np.log2(3)) / 4),
        "mrr@2": (1 + 1 / 2) / 4,
        "hit_rate@2": 2 / 4,
    }


@st.composite
def ranked_lists(draw):
    """A catalogue, full lists of distinct items from it, one target each, and a cut-off."""
    width = draw(st.integers(1, 8))
    num_items = draw(st.integers(width + 1, 15))
    users = draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    recommended = np.stack([rng.permutation(num_items)[:width] for _ in range(users)])
    targets = rng.integers(num_items, size=users).astype(np.int32)
    return num_items, recommended.astype(np.int32), targets, draw(st.integers(1, width))


@given(ranked_lists())
@settings(deadline=None)
def test_metrics_agree_with_scikit_learn(case):
    num_items, recommended, targets, k = case
    users, width = recommended.shape
    relevance = np.eye(num_items)[targets]
    # The lists as scores over the whole catalogue, a target that is not listed behind everything.
    scores = np.zeros((users, num_items)) - relevance
    np.put_along_axis(scores, recommended, np.arange(width, 0.0, -1.0)[None, :], axis=1)
    # scikit-learn would average over ties; with `ignore_ties` it reads the order as it stands.
    expected = [
        ndcg_score(relevance[[u]], scores[[u]], k=k, ignore_ties=True) for u in range(users)
    ]
    ranks = target_ranks(recommended, targets)
    np.testing.assert_allclose(ndcg_at(ranks, k, width), expected)
    hits = [target in row[:k] for row, target in zip(recommended, targets, strict=True)]
    assert recall_at(ranks, k, width).tolist() == hits
    means = summarise(ranks, (k,), width)
    assert means[f"recall@{k}"] == means[f"hit_rate@{k}"] == pytest.approx(np.mean(hits))
    assert means[f"ndcg@{k}"] == pytest.approx(np.mean(expected))


@given(ranked_lists())
def test_metrics_agree_with_trec_eval(case):
    _, recommended, targets, k = case
    width = recommended.shape[1]
    wanted = {f"u{user}": {f"i{target}": 1} for user, target in enumerate(targets.tolist())}
    lists = {  # cut at k: its reciprocal rank has no cut-off
        f"u{user}": {f"i{item}": float(width - place) for place, item in enumerate(row[:k])}
        for user, row in enumerate(recommended.tolist())
    }
    names = {"recip_rank", f"ndcg_cut.{k}", f"recall.{k}", f"success.{k}"}
    scores = pytrec_eval.RelevanceEvaluator(wanted, names).evaluate(lists)
    means = summarise(target_ranks(recommended, targets), (k,), width)
    for name, theirs in {
        "mrr": "recip_rank",
        "ndcg": f"ndcg_cut_{k}",
        "recall": f"recall_{k}",
        "hit_rate": f"success_{k}",
    }.items():
        assert means[f"{name}@{k}"] == pytest.approx(np.mean([u[theirs] for u in scores.values()]))


def test_a_missing_target_is_no_hit_at_any_cut_off():
    ranks = target_ranks(np.array([[0, 1, -1]], np.int32), np.array([2], np.int32))
    assert recall_at(ranks, 3, 3).tolist() == [0]
    assert ndcg_at(ranks, 3, 3).tolist() == [0]


def test_users_who_are_missed_stay_in_the_average():
    recommended = np.array([[0, 1]] * 4, np.int32)
    ranks = target_ranks(recommended, np.array([0, 5, 6, 7], np.int32))
    assert set(summarise(ranks, (2,), 2).values()) == {0.25}


@pytest.mark.parametrize("k", [0, 4])
def test_a_cut_off_outside_the_list_is_refused(k):
    ranks = target_ranks(np.array([[0, 1, 2]], np.int32), np.array([9], np.int32))
    for measure in (recall_at, ndcg_at, mrr_at):
        with pytest.raises(ValueError, match="cut-off"):
            measure(ranks, k, 3)


@pytest.mark.parametrize(
    ("recommended", "targets", "why"),
    [
        ([[0, 1], [3, 3]], [0, 3], "user 1 names an item twice"),
        ([[4, 1, 4]], [0], "user 0 names an item twice"),
        ([[0, 1]], [0, 1], "do not fit"),
        ([0, 1], [0, 1], "do not fit"),
        ([[0, -1]], [-1], "negative target"),
    ],
)
def test_lists_that_cannot_be_ranked_are_refused(recommended, targets, why):
    with pytest.raises(ValueError, match=why):
        target_ranks(np.array(recommended, np.int32), np.array(targets, np.int32))


def test_padding_may_repeat():
    ranks = target_ranks(np.array([[3, -1, -1]], np.int32), np.array([3], np.int32))
    assert ranks.tolist() == [0]


def test_no_users_have_no_average():
    with pytest.raises(ValueError, match="no users"):
        summarise(np.zeros(0, np.int64), (5,), 10)
