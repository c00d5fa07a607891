"""The stages graph and fuse: what they leave, and runs that have none of it."""

import json
import shutil

import numpy as np
import pytest

import genrec
from genrec.config import DecodingConfig
from genrec.errors import UserError
from genrec.pipeline.fuse import _measured, _reliability
from genrec.runs.folder import config_of


@pytest.fixture(scope="module")
def run(recipe_run):
    return recipe_run("experts")


@pytest.fixture
def copy(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def forget(run, *stages):
    manifest = json.loads((run / "manifest.json").read_text())
    for stage in stages:
        del manifest["stages"][stage]
    (run / "manifest.json").write_text(json.dumps(manifest))


def lists(recommender, histories):
    return recommender(histories, 10, exclude_history=True)[0]


def test_every_expert_has_a_weight_its_error_and_what_it_is_worth(run):
    fusion = json.loads((run / "fusion.json").read_text())
    names = list(fusion["fitted"]["ranking"])
    assert names[:2] == ["codes", "dense_head"] and len(names) == 10
    assert list(fusion["fitted"]["retrieval"]) == names[1:]
    measured = fusion["measured"]
    for part in (fusion["fitted"]["standard_errors"], measured["without"], measured["alone"]):
        assert list(part) == names
    # Users go round the items in a fixed order: what followed says all of it.
    alone = {name: figures["ndcg@10"] for name, figures in measured["alone"].items()}
    assert alone["transitions"] > 0.8 > alone["popularity"]
    assert measured["all"]["ndcg@10"] > 0.8
    assert fusion["fitted"]["ranking"]["transitions"] > 0
    assert 0 < fusion["fitted"]["standard_errors"]["transitions"] < 5


def test_what_is_promised_comes_true_on_average(run):
    rows = json.loads((run / "fusion.json").read_text())["measured"]["reliability"]
    candidates = np.array([row["candidates"] for row in rows])
    promised, came = (
        np.array([row[name] for row in rows]) * candidates for name in ("promised", "came_true")
    )
    assert promised.sum() == pytest.approx(came.sum(), rel=0.2)
    assert promised[0] == pytest.approx(promised.sum() / len(rows), rel=0.3)


def test_reliability_is_that_of_a_hand_worked_case():
    from genrec.decoding.candidates import ExpertWeights
    from genrec.decoding.fitting import Fitted
    from genrec.decoding.fusion import Choices

    none = np.zeros(0)
    weights = ExpertWeights(none, none, none, np.array([1.0]))
    scores = np.log(np.array([[[0.75, 0.25], [0.75, 0.25]]], np.float32))
    choices = Choices(scores, np.array([0, -1]), np.ones((2, 2), bool))
    rows = _reliability(Fitted(weights, choices, none, np.log(np.array([1.0, 0.5]))))
    assert sum(row["candidates"] for row in rows) == 4
    total = sum(row["candidates"] * row["promised"] for row in rows)
    assert total == pytest.approx(1.5)  # 1 of the first user, 0.5 of the second
    assert sum(row["candidates"] * row["came_true"] for row in rows) == 1


def test_an_expert_that_says_nothing_is_worth_nothing():
    from genrec.decoding.fusion import Choices

    users, width = 40, 20
    says = np.zeros((2, users, width), np.float32)
    chosen = np.arange(users) % width
    says[1, np.arange(users), chosen] = 1
    choices = Choices(says, chosen, np.ones((users, width), bool))
    assert _measured(choices, [0])["recall@10"] == 0
    assert _measured(choices, [1])["ndcg@10"] == _measured(choices, [0, 1])["ndcg@10"] == 1


def test_the_same_run_is_fused_alike_again(copy):
    before = [(copy / name).read_bytes() for name in ("fusion.json", "graph/weights.npy")]
    forget(copy, "graph", "fuse", "evaluate")
    for stage in ("graph", "fuse"):
        assert not genrec.run_stage(stage, config_of(copy), copy).skipped
    assert before == [(copy / name).read_bytes() for name in ("fusion.json", "graph/weights.npy")]


def test_a_run_made_before_there_were_experts_answers_as_it_did(copy):
    histories = genrec.load_run(copy).dataset.held_out("test").histories
    fused = genrec.load_run(copy).recommender
    alone = lists(fused.ranked_by(0.0), histories)
    assert not np.array_equal(lists(fused, histories), alone)
    forget(copy, "graph", "fuse", "evaluate")
    shutil.rmtree(copy / "graph")
    (copy / "fusion.json").unlink()
    before = genrec.load_run(copy).recommender
    assert before.experts is None
    assert np.array_equal(lists(before, histories), alone)
    with pytest.raises(UserError, match="graph is not done; run `genrec graph"):
        genrec.run_stage("evaluate", config_of(copy), copy)


def test_a_share_of_the_dense_head_leaves_the_experts_out(run):
    histories = genrec.load_run(run).dataset.held_out("test").histories
    shared = genrec.load_run(run, DecodingConfig(beam=20, dense_share=0.5)).recommender
    assert shared.experts is None
    expected = genrec.load_run(run).recommender.ranked_by(0.5)
    assert np.array_equal(lists(shared, histories), lists(expected, histories))
    drawn = genrec.load_run(run, DecodingConfig(beam=20, temperature=(1.0,))).recommender
    assert drawn.experts is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda fusion: fusion["fitted"]["ranking"].pop("codes"), "of other experts"),
        (lambda fusion: fusion["fitted"]["guide"]["logits"].pop(), "of other codes"),
        (lambda fusion: fusion["fitted"].pop("ranking"), "has no ranking"),
    ],
)
def test_weights_that_do_not_fit_the_model_are_refused(copy, change, says):
    from genrec.runs.experts import experts_of
    from genrec.runs.items import load_items

    fusion = json.loads((copy / "fusion.json").read_text())
    change(fusion)
    (copy / "fusion.json").write_text(json.dumps(fusion))
    names = tuple(fusion["measured"]["alone"])
    with pytest.raises(UserError, match=f"{says}.*run genrec fuse again"):
        experts_of(config_of(copy), copy, load_items(copy), names, 3)
