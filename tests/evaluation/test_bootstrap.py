import numpy as np
import pytest
from scipy.stats import bootstrap

from genrec.evaluation import bootstrap as module
from genrec.evaluation import ndcg_at, recall_at
from genrec.evaluation.bootstrap import intervals


@pytest.mark.parametrize(("metric", "of"), [("recall", recall_at), ("ndcg", ndcg_at)])
def test_intervals_are_those_of_scipy(monkeypatch, metric, of):
    monkeypatch.setattr(module, "_SAMPLES", 9999)
    ranks = np.minimum(np.random.default_rng(0).geometric(0.08, 900) - 1, 20)
    ours = intervals(ranks, (5, 20), 20, seed=1)
    for k in (5, 20):
        theirs = bootstrap(
            (of(ranks, k, 20),), np.mean, method="percentile", n_resamples=9999, rng=0
        ).confidence_interval
        spread = theirs.high - theirs.low
        np.testing.assert_allclose(ours[f"{metric}@{k}"], theirs, atol=0.04 * spread)


def test_they_hold_the_mean_and_shrink_with_the_users():
    ranks = np.random.default_rng(0).integers(0, 11, 400)
    few, many = (intervals(users, (10,), 10, seed=0) for users in (ranks, np.tile(ranks, 100)))
    for name, (low, high) in few.items():
        assert low < many[name][0] < many[name][1] < high
        assert many[name][1] - many[name][0] < 0.15 * (high - low)
    assert intervals(ranks, (10,), 10, seed=0) == few != intervals(ranks, (10,), 10, seed=1)


def test_certainty_has_no_width():
    assert intervals(np.zeros(50, np.int64), (1,), 5, seed=0)["recall@1"] == [1, 1]
    assert intervals(np.full(50, 5), (5,), 5, seed=0)["mrr@5"] == [0, 0]
