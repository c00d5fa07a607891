"""New items in a bundle that ranks by experts, and what is not believed of its tables."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import genrec
from genrec.bundle import add_items
from genrec.bundle.bundle import Bundle
from genrec.bundle.storage import read_bundle, read_manifest, write_bundle
from genrec.errors import UserError
from genrec.runs.loaded import load_run
from genrec.storage.safetensors import pack_tensors
from small_run import ITEMS


@pytest.fixture
def bundle(experts_bundle, tmp_path) -> Path:
    return shutil.copytree(experts_bundle, tmp_path / "bundle")


def test_a_new_items_content_speaks_for_it_and_nothing_else_does(recipe_run, bundle):
    before = with_weight(bundle, "recent_content", 3.0)
    content = np.asarray(load_run(recipe_run("experts")).items.content)
    add_items(bundle, ["n1", "n2"], ["New film", "Newer"], content[[7, 9]] * 1.001)
    after = genrec.load_bundle(bundle)
    for name in before.contents:
        if name.startswith(("programs/", "weights", "tokenizer")):
            assert after.contents[name] == before.contents[name]
    assert after.experts is not None and before.experts is not None
    assert np.array_equal(after.experts["begins"][:-2], before.experts["begins"])
    np.testing.assert_allclose(
        after.experts["content"][ITEMS:], before.experts["content"][[7, 9]], atol=2e-3
    )
    shapes = {name: array.shape for name, array in before.state["experts"].items()}
    assert {name: array.shape for name, array in after.state["experts"].items()} == shapes
    like = after.item_ids[7]
    ids, scores, why = after.explain([[like]], 20, exclude_history=False)
    (told,) = (each for name, each in zip(ids[0], why[0], strict=True) if name == "n1")
    assert told.words.startswith(f"like {after.titles[like]} in content (1.00)")
    contributions = told.contributions
    assert contributions["recent_content"] == pytest.approx(3.0, abs=0.01)
    edges = ("transitions", "two_hops", "together", "relayed", "popularity", "had")
    assert all(contributions[name] == 0 for name in edges)
    assert sum(contributions.values()) == pytest.approx(scores[0][ids[0].index("n1")], abs=1e-6)
    # In a history they are followed by nothing, and what is like them is found.
    assert len(after.recommend([["n2", "n1"]], 20)[0][0]) == 20


def with_weight(folder: Path, name: str, weight: float) -> Bundle:
    """The bundle, in which an expert counts so much."""
    manifest, contents = read_bundle(folder)
    tables = dict(Bundle(manifest, contents).experts or {})
    expert = manifest["answers"]["experts"]["names"].index(name)
    tables["ranking"] = tables["ranking"].copy()
    tables["ranking"][expert] = weight
    write_bundle(folder, manifest, contents | {"experts.safetensors": pack_tensors(tables)})
    return genrec.load_bundle(folder)


def test_no_experts_file_no_bundle(bundle):
    (bundle / "experts.safetensors").unlink()
    with pytest.raises(UserError, match=r"experts.safetensors is missing: export the bundle again"):
        genrec.load_bundle(bundle)
    manifest, contents = read_manifest(bundle), {}
    for name in manifest["files"]:
        if name != "experts.safetensors":
            contents[name] = (bundle / name).read_bytes()
    write_bundle(bundle, manifest, contents)
    with pytest.raises(UserError, match=r"lists no experts.safetensors: export the bundle again"):
        genrec.load_bundle(bundle)


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        ("ranking", lambda x: x[:-1], r"ranking is float32\[9\]"),
        ("content", lambda x: x * np.float16("inf"), "content has numbers that are not finite"),
        ("items", lambda x: x + ITEMS, "an edge leads to no item"),
        ("begins", lambda x: x + 1, "begins does not share"),
        ("popularity", None, "there is no 'popularity'"),
    ],
)
def test_a_damaged_table_is_refused_in_one_line(experts_bundle, name, change, complaint):
    manifest, contents = read_bundle(experts_bundle)
    tables = dict(Bundle(manifest, contents).experts or {})
    if change is None:
        del tables[name]
    else:
        with np.errstate(invalid="ignore"):
            tables[name] = change(tables[name])
    packed = pack_tensors(tables)
    with pytest.raises(UserError, match=f"files do not fit each other: {complaint}") as raised:
        Bundle(manifest, contents | {"experts.safetensors": packed})
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match=r"experts.safetensors cannot be read"):
        Bundle(manifest, contents | {"experts.safetensors": packed[:-1]})
