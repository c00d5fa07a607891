"""A bundle of a run that ranks by experts answers as the run does, and says why as it does."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import genrec
from bare import BLOCKER
from genrec.bundle.storage import manifest_text
from genrec.errors import UserError
from genrec.export import export_bundle
from genrec.runs.catalog_updates import append_items, remove_items
from genrec.runs.folder import config_of
from genrec.runs.loaded import LoadedRun, load_run
from small_run import ITEMS

IDS = [f"i{n:03}" for n in range(ITEMS)]
HISTORIES = [["i001", "Film 7"], ["i003"], ["i009", "i001", "i005", "i021", "i020", "i022"], []]


@pytest.fixture(scope="module")
def run(recipe_run) -> LoadedRun:
    return load_run(recipe_run("experts"))


@pytest.fixture(scope="module")
def bundle(experts_bundle) -> Path:
    """Nobody may change it."""
    return experts_bundle


def same(found, expected):
    """Content and the graph's weights are of half precision in the run too."""
    assert found[0] == expected[0]
    for points, scores in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(points, scores, atol=1e-4)


def test_lists_are_those_of_the_run(run, bundle):
    loaded = genrec.load_bundle(bundle)
    assert loaded.expert_names == run.expert_names == run.recommender.expert_names
    for how in (
        {},
        {"exclude_history": False, "k": 20},
        {"exclude": [["i004"], [], IDS[:3], []], "allow": [None, IDS[3:30], None, IDS[:9]], "k": 3},
    ):
        same(loaded.recommend(HISTORIES, **how), run.recommend(HISTORIES, **how))
    part = loaded.restricted(allow=IDS[5:25], exclude=["Film 9"])
    expected = run.restricted(allow=IDS[5:25], exclude=["Film 9"])
    same(part.recommend(HISTORIES), expected.recommend(HISTORIES))


def test_both_say_the_same_of_why(run, bundle):
    found, expected = (each.explain(HISTORIES, 5) for each in (genrec.load_bundle(bundle), run))
    same(found[:2], expected[:2])
    assert found[0] == expected[0]
    pairs = [
        pair for rows in zip(found[2], expected[2], strict=True) for pair in zip(*rows, strict=True)
    ]
    for one, other in pairs:
        assert one.contributions == pytest.approx(other.contributions, abs=1e-4)
        assert one.words == other.words


def test_another_catalogue_needs_no_new_compilation(run, bundle, tmp_path, caplog):
    loaded = genrec.load_bundle(bundle)
    loaded.recommend([["i001", "i002"]])
    with jax.log_compiles():
        loaded.restricted(allow=IDS[3:9]).recommend([["i004", "i002"]], k=4)
    assert not [each for each in caplog.messages if "recommend" in each and "ompil" in each]


def test_items_that_went_and_came_in_the_run(run, bundle, tmp_path):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    (tmp_path / "new.csv").write_text("item_id,title,genre\nn1,New film,genre2\nn2,Newer,genre3\n")
    append_items(config_of(folder), folder, tmp_path / "new.csv")
    remove_items(config_of(folder), folder, ["i003", "Film 4"])
    changed = load_run(folder)
    updated = shutil.copytree(bundle, tmp_path / "updated")
    export_bundle(changed, updated, update=True)
    histories = [["n1", "i001"], ["i003", "i009"], ["Newer"]]
    found = genrec.load_bundle(updated).recommend(histories, k=20)
    same(found, changed.recommend(histories, k=20))
    assert not {"i003", "i004"} & {item for row in found[0] for item in row}
    for program in (bundle / "programs").iterdir():
        assert (updated / "programs" / program.name).read_bytes() == program.read_bytes()


def test_a_bundle_of_other_experts_is_not_updated(run, bundle, tmp_path):
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    memory, weights = run.recommender.experts
    other = load_run(run.folder)
    other.recommender.experts = memory, weights._replace(ranking=weights.ranking + 1)
    with pytest.raises(UserError, match="was made with other experts: export without --update"):
        export_bundle(other, folder, update=True)
    alone = load_run(run.folder, replace(run.config.decoding, dense_share=0.0))
    with pytest.raises(UserError, match="was made with another experts: export without --update"):
        export_bundle(alone, folder, update=True)


def test_a_fresh_process_needs_neither_flax_nor_the_models_code(run, bundle):
    code = """
import json
bundle = genrec.load_bundle(sys.argv[1])
ids, scores, why = bundle.explain([["i001", "Film 7"], ["i003"]], k=10)
print(json.dumps([ids, scores, [each.words for row in why for each in row]]))
"""
    command = [sys.executable, "-c", BLOCKER + code, str(bundle)]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    *lists, words = json.loads(answer.stdout)
    same(lists, run.recommend([["i001", "Film 7"], ["i003"]], k=10))
    assert len(words) == 20 and all(words)


def test_without_experts_nothing_is_said_of_them(tiny_bundle, bundle, tmp_path):
    loaded = genrec.load_bundle(tiny_bundle)
    assert loaded.manifest["answers"]["experts"] is None and loaded.expert_names == ()
    assert "experts" not in loaded.state and "experts.safetensors" not in loaded.contents
    with pytest.raises(UserError, match=r"ranks without experts, .* fit them with `genrec fuse"):
        loaded.explain([["i001"]])
    # As bundles of before have it.
    old = shutil.copytree(tiny_bundle, tmp_path / "old")
    manifest = json.loads((old / "manifest.json").read_text()) | {"schema": 3}
    del manifest["answers"]["experts"]
    (old / "manifest.json").write_text(manifest_text(manifest))
    assert genrec.load_bundle(old).recommend(HISTORIES) == loaded.recommend(HISTORIES)
