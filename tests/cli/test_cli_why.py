"""`genrec recommend --why`, against what Python says."""

import json
from dataclasses import replace

import pytest

from genrec.runs.loaded import load_run

ASKED = ("--history", "i001", "Film 7", "--k", "4", "--why", "--decoding.batch-size", "1")


@pytest.fixture(scope="module")
def run(recipe_run):
    settings = load_run(recipe_run("experts")).config.decoding
    return load_run(recipe_run("experts"), replace(settings, batch_size=1))


def test_every_item_has_its_words(command, run):
    shown, complaints = command("recommend", str(run.folder), *ASKED, columns="300")
    assert complaints == []
    (ids,), (scores,), (why,) = run.explain([["i001", "Film 7"]], 4)
    assert "why" in shown.splitlines()[1]
    for place, (name, score, told) in enumerate(zip(ids, scores, why, strict=True), 1):
        line = [str(place), *run.titles[name].split(), name, f"{score:.3f}", *told.words.split()]
        assert " ".join(line) in " ".join(shown.split())


def test_the_document_has_the_contributions(command, run):
    shown, _ = command("recommend", str(run.folder), *ASKED, "--json")
    (answer,) = json.loads(shown)["lists"]
    _, _, (why,) = run.explain([["i001", "Film 7"]], 4)
    assert len(answer["items"]) == 4
    for item, told in zip(answer["items"], why, strict=True):
        assert item["why"]["words"] == told.words
        assert item["why"]["contributions"] == pytest.approx(told.contributions, abs=1e-6)
        assert list(item["why"]["contributions"]) == list(told.contributions)
    shown, _ = command("recommend", str(run.folder), *ASKED[:5], *ASKED[6:], "--json")
    assert all("why" not in item for item in json.loads(shown)["lists"][0]["items"])
