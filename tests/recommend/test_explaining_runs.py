"""What a run says of why, against its experts' features, computed one by one with NumPy."""

from dataclasses import replace

import numpy as np
import pytest

from genrec.errors import UserError
from genrec.graph import KINDS
from genrec.runs.loaded import load_run
from genrec.sequences.histories import Histories

HISTORY = [9, 1, 5, 21, 20, 22, 30]


@pytest.fixture(scope="module")
def run(recipe_run):
    return load_run(recipe_run("experts"))


def features(run, item):
    """Of all experts that look up, by name."""
    (graph, content, popularity), _ = run.recommender.experts
    found: dict[str, float] = dict.fromkeys(KINDS, 0.0)
    for age, other in enumerate(reversed(HISTORY)):
        for edge in range(graph.begins[other], graph.begins[other + 1]):
            if graph.items[edge] == item:
                for kind, name in enumerate(KINDS):
                    found[name] += 0.5**age * float(graph.weights[edge, kind])

    def cosine(mean):
        return float(mean @ content[item] / np.linalg.norm(mean))

    found["recent_content"] = cosine(
        sum(0.6**age * content[other] for age, other in enumerate(reversed(HISTORY[-5:])))
    )
    found["whole_content"] = cosine(content[HISTORY].sum(axis=0))
    return found | {"popularity": float(popularity[item]), "had": float(item in HISTORY)}


def test_each_contribution_is_what_the_expert_says_times_what_it_counts(run):
    ids, scores, why = run.explain([[run.item_ids[i] for i in HISTORY]], 20, exclude_history=False)
    histories = Histories.of([HISTORY])
    learned = {}
    for name, share in (("codes", 0.0), ("dense_head", 1.0)):
        items, points = run.recommender.ranked_by(share)(histories, 20, exclude_history=False)
        learned[name] = dict(zip(items[0].tolist(), points[0].tolist(), strict=True))
    weights = dict(zip(run.expert_names, run.recommender.experts[1].ranking, strict=True))
    compared = 0
    for name, score, told in zip(ids[0], scores[0], why[0], strict=True):
        item = run.item_ids.index(name)
        contributions = dict(told.contributions)
        assert list(contributions)[-1] == "all others compared"
        assert sum(contributions.values()) == pytest.approx(score, abs=1e-6)
        wanted = features(run, item)
        wanted |= {part: of[item] for part, of in learned.items() if item in of}
        compared += len(wanted)
        for expert, value in wanted.items():
            assert contributions[expert] == pytest.approx(weights[expert] * value, abs=2e-5), expert
        sizes = [abs(contributions[expert]) for expert in list(contributions)[:-1]]
        assert sizes == sorted(sizes, reverse=True)
    assert compared > 20 * len(wanted) - 30
    others = [told.contributions["all others compared"] for told in why[0]]
    np.testing.assert_allclose(others, others[0], atol=1e-5)


def test_recommend_gives_the_same_lists_and_nobody_is_forgotten(run):
    histories = [["i003"], [], ["Film 7", "i009"], ["i001"]]
    how = {"allow": [None, None, None, ["i002", "i003"]], "exclude": [[], ["i008"], [], []]}
    ids, scores, why = run.explain(histories, 6, **how)
    assert (ids, scores) == run.recommend(histories, 6, **how)
    assert [len(row) for row in why] == [6, 6, 6, 2]
    popular = why[1][0]
    assert popular.words == "one of the most popular items"
    assert popular.contributions["all others compared"] == scores[1][0]
    assert not any(popular.contributions[name] for name in run.expert_names)


def test_a_run_without_experts_says_how_to_get_them(tiny_run, run):
    fixed = replace(run.config.decoding, dense_share=0.5)
    for other in (load_run(tiny_run), load_run(run.folder, fixed)):
        assert other.expert_names == ()
        with pytest.raises(UserError, match=r"without experts, .*`genrec fuse RUN`, without decod"):
            other.explain([["i001"]])
