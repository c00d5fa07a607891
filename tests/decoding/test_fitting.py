"""The fit of the experts' weights, on a tiny run, against a search for better ones."""

import numpy as np
import pytest
from scipy.special import log_softmax

import genrec
from genrec.decoding.candidates import Experts, ExpertWeights
from genrec.decoding.fitting import fit_experts


@pytest.fixture(scope="module")
def run(recipe_run):
    return genrec.load_run(recipe_run("experts"))


@pytest.fixture(scope="module")
def fitted(run):
    model, validation = run.recommender, run.dataset.held_out("validation")
    nothing = ExpertWeights(*[np.zeros(0, np.float32)] * 4)
    experts = Experts(model.experts[0], nothing, model.vectors())
    plain = model.ranked_by(0.0)
    return fit_experts(plain, experts, validation.histories, validation.targets)


def test_no_other_ranking_makes_the_targets_more_probable(fitted):
    choices, weights = fitted.choices, np.asarray(fitted.weights.ranking, np.float64)
    counted = choices.chosen >= 0
    assert counted.sum() > 50

    def likelihood(weights):
        total = np.where(choices.there, np.tensordot(weights, choices.scores, 1), -np.inf)
        log_p = log_softmax(total, axis=1)[np.arange(len(total)), choices.chosen]
        return log_p[counted].sum() - 0.05 * np.sum(weights**2)

    rng = np.random.default_rng(0)
    best = likelihood(weights)
    for _ in range(30):
        assert likelihood(weights + 0.2 * rng.normal(size=len(weights))) < best


def test_candidates_are_distinct_and_hold_most_targets(run, fitted):
    targets = run.dataset.held_out("validation").targets
    for row, target in zip(fitted.items, targets, strict=True):
        there = row[row >= 0].tolist()
        assert len(set(there)) == len(there)
        assert (target in there) or len(there) < run.dataset.num_items
    found = (fitted.items == targets[:, None]).any(axis=1)
    assert np.array_equal(found, fitted.choices.chosen >= 0) and found.mean() > 0.9
    assert (fitted.log_reached <= 1e-4).all()


def test_the_run_has_the_weights_that_were_fitted(run, fitted):
    # Those of the run were fitted on the same users, drawn in another order.
    _, weights = run.recommender.experts
    for ours, theirs in zip(weights, fitted.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=0.05)


def test_scores_are_log_probabilities_and_what_experts_add_sums_up_to_them(run):
    test = run.dataset.held_out("test")
    items, scores, added = run.recommender.explained(test.histories, 20, exclude_history=False)
    rest = scores - added.sum(axis=2)
    np.testing.assert_allclose(rest, np.repeat(rest[:, :1], 20, axis=1), atol=1e-3)
    assert (np.exp(scores).sum(axis=1) < 1 + 1e-4).all()
    assert added.shape == (*items.shape, len(run.recommender.expert_names))


def test_experts_beat_each_part_alone_where_they_know_more(run):
    test = run.dataset.held_out("test")
    lists = run.recommender.in_parts(test.histories, 10, exclude_history=True)
    assert set(lists) == {"whole", "guided_codes", "codes", "dense_head"}
    recall = {
        name: (items[:, :1] == test.targets[:, None]).mean() for name, (items, _) in lists.items()
    }
    assert recall["whole"] >= max(recall["codes"], recall["dense_head"]) - 0.02
