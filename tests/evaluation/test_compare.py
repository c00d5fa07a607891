"""Runs beside each other."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import bootstrap

from genrec.errors import UserError
from genrec.evaluation import compare
from genrec.evaluation.compare import (
    METRICS,
    RecommenderResults,
    difference,
    load_recommenders,
    verdict,
)
from genrec.runs.folder import config_of


def having(name, *runs):
    """A recommender whose users have these values in every metric, a row for each seed."""
    per_user = {metric: np.array(runs, float) for metric in METRICS}
    return RecommenderResults(name, list(range(len(runs))), per_user)


def test_differences_are_those_of_a_paired_bootstrap():
    rng = np.random.default_rng(0)
    a = rng.random((2, 500)) < 0.3
    b = a | (rng.random((2, 500)) < 0.05)
    gap = difference(having("a", *a), having("b", *b), "ndcg@10")
    gains = b.mean(axis=0) - a.mean(axis=0)
    theirs = bootstrap((gains,), np.mean, method="percentile", n_resamples=9999, rng=0)
    low, high = theirs.confidence_interval
    assert gap.mean == pytest.approx(gains.mean())
    np.testing.assert_allclose([gap.low, gap.high], [low, high], atol=0.06 * (high - low))
    assert gap.significant and gap.p < 0.01
    # Unpaired, the noise of the users would hide it.
    assert high - low < 0.5 * 1.96 * 2 * np.sqrt(a.mean(0).var() / 500 + b.mean(0).var() / 500)


def test_no_difference_is_significant_where_there_is_none():
    rng = np.random.default_rng(1)
    significant = [
        difference(
            having("a", rng.random(200) < 0.3), having("b", rng.random(200) < 0.3), "recall@10"
        ).significant
        for _ in range(60)
    ]
    assert np.mean(significant) < 0.17  # 5 % of them are expected


def test_verdicts():
    def line(a, b):
        return verdict(a, b, "ndcg@10", difference(a, b, "ndcg@10"))

    low, high = [0.0, 0.1] * 200, [0.2, 0.1] * 200
    a, b = having("a", low), having("b", high)
    assert "b is better than a by NDCG@10: +0.1000 [" in line(a, b)
    assert "a is worse than b" in line(b, a)
    assert line(b, a).endswith("of one seed each, so another might say otherwise")
    assert "b and b cannot be told apart" in line(b, b)
    sure, unsure = having("sure", low, low), having("unsure", high, [0.15] * 400, [0.0] * 400)
    assert "better than sure" in line(sure, unsure)
    assert "less than seeds differ" in line(sure, unsure)
    assert "seed" not in line(sure, having("c", high, high))


def test_runs_are_read_as_they_were_measured(tiny_run):
    measured = json.loads((tiny_run / "metrics.json").read_text())["test"]
    for protocol in ("unfiltered", "filtered"):
        (only,) = load_recommenders([tiny_run], protocol)
        assert only.seeds == [0] and only.name == tiny_run.name
        for metric in METRICS:
            assert only.mean(metric) == pytest.approx(measured[protocol][metric])
            assert only.spread(metric) is None


def test_runs_of_other_seeds_are_one_recommender(tiny_run, monkeypatch):
    config = config_of(tiny_run)
    wider = replace(config, decoding=replace(config.decoding, beam=30))
    configs = iter([config, replace(config, seed=7), wider])
    monkeypatch.setattr(compare, "config_of", lambda _: next(configs))
    monkeypatch.setattr(compare, "require", lambda *_: {})
    two, other = load_recommenders([tiny_run] * 3, "filtered")
    assert (two.seeds, other.seeds) == ([0, 7], [0])
    assert two.spread("ndcg@10") == 0


def test_runs_of_other_data_are_refused(tiny_run, monkeypatch):
    users, targets, metrics = compare._measured(tiny_run, "filtered")
    answers = iter([(users, targets, metrics), (users, targets[::-1], metrics)])
    monkeypatch.setattr(compare, "_measured", lambda *_: next(answers))
    with pytest.raises(UserError, match="has other test users or items than"):
        load_recommenders([tiny_run, tiny_run], "filtered")


def test_the_command(command, tiny_run, tmp_path):
    run, image = str(tiny_run), tmp_path / "plot.svg"
    shown, _ = command("compare", run, run, "--plot", str(image))
    assert "filtered, test items" in shown and "ndcg @ 10" in shown and "0, 0" in shown
    measured = json.loads((tiny_run / "metrics.json").read_text())["test"]["filtered"]
    figures, complaints = command("compare", run, run, "--json")
    results = json.loads(figures)["recommenders"][tiny_run.name]
    assert "ndcg @ 10" in "\n".join(complaints)
    assert results["ndcg@10"]["mean"] == pytest.approx(measured["ndcg@10"])
    assert image.read_text().startswith("<?xml")
    for arguments, message in [
        ((run,), "name at least two runs"),
        ((run, str(tmp_path)), "is not a run"),
        ((run, run, "--plot", str(tmp_path / "plot.txt")), "cannot be drawn"),
    ]:
        _, (line,) = command("compare", *arguments, status=2)
        assert message in line
