"""A bundle answers as its run does, in a process that has neither the model's code nor Flax."""

import filecmp
import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import genrec
from bare import BLOCKER
from genrec.bundle.storage import manifest_text
from genrec.config import DecodingConfig
from genrec.errors import UserError
from genrec.export import export_bundle
from genrec.export.export import named_widths
from genrec.recommend.requests import Requests
from genrec.runs.loaded import load_run
from small_run import ITEMS, trained

IDS = [f"i{n:03}" for n in range(ITEMS)]
SASREC = ("model.codes=false", "model.item_head=true", "decoding.dense_share=1.0")


@pytest.fixture(
    scope="module",
    params=["codes", "fused", "tiger", pytest.param("sasrec", marks=pytest.mark.soak)],
)
def pair(request, tiny_run, tiny_bundle, recipe_run, tmp_path_factory):
    """A run of every recipe, and its bundle."""
    if request.param == "codes":
        return load_run(tiny_run), tiny_bundle
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sasrec":
        made = trained(tiny_run, folder / "run", *SASREC)
    else:
        made = recipe_run(request.param)
    run = load_run(made)
    export_bundle(run, folder / "bundle")
    return run, folder / "bundle"


def same(found, expected):
    assert found[0] == expected[0]
    for points, wanted in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(points, wanted, atol=1e-5)


def drawn(count, most, seed):
    rng = np.random.default_rng(seed)
    return [rng.choice(IDS, rng.integers(1, most + 1)).tolist() for _ in range(count)]


def test_lists_are_those_of_the_run(pair):
    run, folder = pair
    bundle = genrec.load_bundle(folder)
    histories = drawn(9, 20, seed=0)
    requests: list[dict[str, Any]] = [
        {},
        {"exclude_history": False, "k": 20},
        {"exclude": drawn(9, 5, 1), "allow": [None, *drawn(8, 15, 2)], "k": 3},
        {"user_ids": [f"u{n}" for n in range(9)]},
        {"timestamps": [[1000 * n for n in range(len(row))] for row in histories]},
    ]
    for how in requests:
        same(bundle.recommend(histories, **how), run.recommend(histories, **how))
    # Nine at a time, so that no other shape is compiled.
    by_title = [[], *histories[2:], ["Film 3", "film 7"], ["Film 3"]]
    same(bundle.recommend(by_title), run.recommend(by_title))
    part = bundle.restricted(allow=IDS[5:25], exclude=["Film 9"])
    expected = run.restricted(allow=IDS[5:25], exclude=["Film 9"])
    same(part.recommend(histories), expected.recommend(histories))
    # What `restricted` made left the whole as it was.
    same(bundle.recommend(histories), run.recommend(histories))


@pytest.mark.parametrize("pair", ["codes"], indirect=True)
def test_who_exports_again_elsewhere_writes_the_same_bytes(pair, tmp_path):
    run, bundle = pair
    command = [sys.executable, "-m", "genrec", "export", str(run.folder), "--out", "other"]
    seeded = {**os.environ, "PYTHONHASHSEED": "1"}
    subprocess.run(command, check=True, cwd=tmp_path, env=seeded, capture_output=True)
    names = [path.relative_to(bundle) for path in bundle.rglob("*") if path.is_file()]
    _, differing, missing = filecmp.cmpfiles(bundle, tmp_path / "other", names, shallow=False)
    assert not differing and not missing
    sources = str(Path(genrec.__file__).parent).encode()
    assert not any(sources in path.read_bytes() for path in bundle.rglob("*.bin"))


@pytest.mark.parametrize("pair", ["fused"], indirect=True)
def test_the_program_is_for_any_catalogue_that_fits(pair, tmp_path, caplog):
    """Fewer items need no new compilation."""
    _, folder = pair
    bundle = genrec.load_bundle(folder)
    bundle.recommend([["i001", "i002"]])
    with jax.log_compiles():
        bundle.restricted(allow=IDS[3:9]).recommend([["i004", "i002"]], k=4)
    assert not [each for each in caplog.messages if "recommend" in each and "ompil" in each]


@pytest.mark.parametrize("pair", ["codes"], indirect=True)
def test_items_that_went_and_came(pair, tmp_path):
    from genrec.runs.catalog_updates import append_items, remove_items
    from genrec.runs.folder import config_of

    run, old = pair
    folder = shutil.copytree(run.folder, tmp_path / "run")
    config = config_of(folder)
    (tmp_path / "new.csv").write_text("item_id,title,genre\nn1,New film,genre2\nn2,Newer,genre3\n")
    append_items(config, folder, tmp_path / "new.csv")
    remove_items(config, folder, ["i003", "Film 4"])
    changed = load_run(folder)
    shutil.copytree(old, tmp_path / "updated")
    export_bundle(changed, tmp_path / "updated", update=True)
    export_bundle(changed, tmp_path / "fresh")
    histories = [["n1", "i001"], ["i003", "i009"], ["Newer"]]
    for name in ("updated", "fresh"):
        bundle = genrec.load_bundle(tmp_path / name)
        found = bundle.recommend(histories, k=20)
        same(found, changed.recommend(histories, k=20))
        assert not {"i003", "i004"} & {item for row in found[0] for item in row}
    for program in (old / "programs").iterdir():
        assert (
            tmp_path / "updated" / "programs" / program.name
        ).read_bytes() == program.read_bytes()


@pytest.mark.parametrize("pair", ["codes"], indirect=True)
def test_bundles_that_are_not_updated(pair, tmp_path):
    run, old = pair
    folder = shutil.copytree(old, tmp_path / "bundle")
    with pytest.raises(UserError, match=r"was made with another beam: export without --update"):
        narrower = load_run(run.folder, replace(run.config.decoding, beam=9))
        export_bundle(narrower, folder, update=True)
    with pytest.raises(UserError, match=r"was made with another dtype"):
        export_bundle(run, folder, dtype="bfloat16", update=True)
    other = load_run(run.folder)
    other.recommender.params = jax.tree.map(lambda x: x + 1, other.recommender.params)
    with pytest.raises(UserError, match=r"was made from another model"):
        export_bundle(other, folder, update=True)


@pytest.mark.parametrize("pair", ["codes"], indirect=True)
def test_a_bundle_without_room_is_not_updated(pair, tmp_path):
    from genrec.runs.catalog_updates import append_items
    from genrec.runs.folder import config_of

    run, old = pair
    folder = shutil.copytree(run.folder, tmp_path / "run")
    lines = [f"n{n},New film {n},genre{n % 5}" for n in range(40)]
    (tmp_path / "new.csv").write_text("\n".join(["item_id,title,genre", *lines]))
    append_items(config_of(folder), folder, tmp_path / "new.csv")
    bundle = shutil.copytree(old, tmp_path / "bundle")
    with pytest.raises(UserError, match=r"has no room for 80 items: export without --update"):
        export_bundle(load_run(folder), bundle, update=True)
    same(genrec.load_bundle(bundle).recommend([["i001"]]), run.recommend([["i001"]]))


ANSWER = """
import json
bundle = genrec.load_bundle(sys.argv[1])
print(json.dumps(bundle.recommend([["i001", "Film 7"], ["i003"]], k=10)))
"""


@pytest.mark.parametrize("pair", ["fused"], indirect=True)
def test_a_fresh_process_needs_neither_flax_nor_the_models_code(pair):
    run, folder = pair
    command = [sys.executable, "-c", BLOCKER + ANSWER, str(folder)]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    expected = run.recommend([["i001", "Film 7"], ["i003"]], k=10)
    same(json.loads(answer.stdout), expected)


@pytest.mark.parametrize("pair", ["fused"], indirect=True)
def test_bfloat16_is_about_the_same_and_half_the_size(pair, tmp_path):
    run, folder = pair
    export_bundle(run, tmp_path / "half", dtype="bfloat16")
    sizes = [(each / "weights.safetensors").stat().st_size for each in (folder, tmp_path / "half")]
    assert sizes[1] < 0.6 * sizes[0]
    histories = drawn(9, 12, seed=3)
    _, scores = genrec.load_bundle(tmp_path / "half").recommend(histories, k=5)
    np.testing.assert_allclose(scores, run.recommend(histories, k=5)[1], atol=0.1)


@pytest.mark.parametrize("pair", ["codes"], indirect=True)
def test_every_changed_byte_is_noticed(pair, tmp_path):
    _, folder = pair
    folder = shutil.copytree(folder, tmp_path / "bundle")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    rng = random.Random(0)
    for _ in range(60):
        path = rng.choice(files)
        before = path.read_bytes()
        after = bytearray(before)
        after[rng.randrange(len(after))] ^= 1 << rng.randrange(8)
        path.write_bytes(after)
        with pytest.raises(UserError):
            genrec.load_bundle(folder)
        path.write_bytes(before)
    genrec.load_bundle(folder)


@pytest.mark.parametrize("pair", ["codes"], indirect=True)
@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ({"schema": 99}, "was made by a newer genrec"),
        ({"format": "other"}, "it is not that of a bundle"),
        (
            {"more": {"../secret": {"sha256": "x", "bytes": 1}}},
            "names a file outside of the bundle",
        ),
        (
            {"more": {"/etc/passwd": {"sha256": "x", "bytes": 1}}},
            "names a file outside of the bundle",
        ),
        ({"more": {"gone.bin": {"sha256": "x", "bytes": 1}}}, r"gone.bin is missing"),
        ({"files": {}}, r"lists no content.safetensors"),
    ],
)
def test_bundles_that_are_not_read(pair, tmp_path, how, complaint):
    _, folder = pair
    folder = shutil.copytree(folder, tmp_path / "bundle")
    manifest = json.loads((folder / "manifest.json").read_text()) | how
    manifest["files"] |= manifest.pop("more", {})
    (folder / "manifest.json").write_text(manifest_text(manifest))
    with pytest.raises(UserError, match=complaint):
        genrec.load_bundle(folder)


def test_a_folder_that_is_no_bundle(tmp_path):
    with pytest.raises(UserError, match=r"manifest.json cannot be read as a bundle's manifest"):
        genrec.load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("items", "widths"),
    [(1, [64]), (64, [64]), (65, [64, 512]), (512, [64, 512]), (10**7, [64, 512, 4096])],
)
def test_no_program_takes_more_names_than_there_are_items(items, widths):
    assert named_widths(items) == widths


@pytest.mark.parametrize("pair", ["codes"], indirect=True)
def test_too_many_named_items_are_refused(pair):
    _, folder = pair
    bundle = genrec.load_bundle(folder)
    bundle.manifest["answers"]["named"] = [2, 9]
    requests = bundle.resolve(Requests(None, [["i001"] * 50, IDS[:12], IDS[:10]]))
    with pytest.raises(UserError, match="names 12 items to exclude or allow, its history includ"):
        bundle.recommend_items(requests)


@pytest.mark.parametrize("pair", ["codes"], indirect=True)
def test_what_is_not_exported(pair, tmp_path):
    run, _ = pair
    for how in (
        DecodingConfig(beam=20, temperature=(1.0,)),
        DecodingConfig(beam=20, unseen_share=0.2),
    ):
        with pytest.raises(UserError, match=r"leave out decoding\.temperature"):
            export_bundle(load_run(run.folder, how), tmp_path / "x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        export_bundle(run, tmp_path / "other")
    assert (tmp_path / "other" / "mine.txt").exists()


def test_the_command(command, tiny_run, tmp_path):
    (tmp_path / "some.txt").write_text("\n".join(IDS[:20]))
    out = str(tmp_path / "bundle")
    shown, complaints = command(
        "export", str(tiny_run), "--out", out, "--allow", str(tmp_path / "some.txt")
    )
    assert complaints == []
    assert "40 items, 0." in shown
    ids, _ = genrec.load_bundle(out).recommend([["i030"]], k=20)
    assert set(ids[0]) <= set(IDS[:20])
    # In place of the one that is there.
    command("export", str(tiny_run), "--out", out, "--decoding.beam", "5")
    with pytest.raises(UserError, match="between 1 and the beam width, 5"):
        genrec.load_bundle(out).recommend([["i030"]])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["{tmp}"], "is not a run: make one with `genrec run CONFIG`"),
        (["{run}", "--room", "-1"], "--room must lie between 0 and 64"),
        (["{run}", "--room", "inf"], "room should be a number, but is 'inf'"),
        (["{run}", "--dtype", "int8"], "dtype"),
    ],
)
def test_mistakes_are_told_in_one_line(command, tiny_run, tmp_path, arguments, complaint):
    given = [each.format(run=tiny_run, tmp=tmp_path) for each in arguments]
    _, complaints = command("export", *given, "--out", str(tmp_path / "b"), status=2)
    assert len(complaints) == 1
    assert complaint in complaints[0]
    assert not (tmp_path / "b").exists()
