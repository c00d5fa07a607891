"""Items come to a bundle and go as they do in its run, without the run."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

import genrec
import small_run
from bare import BLOCKER
from genrec.bundle import add_items, allow_items, remove_items
from genrec.bundle.storage import manifest_text, read_manifest
from genrec.errors import UserError
from genrec.export import export_bundle
from genrec.runs.catalog_updates import append_items
from genrec.runs.folder import config_of
from genrec.runs.loaded import load_run
from small_run import ITEMS

NEW = ["n1", "n2", "n3", "n4"]
TITLES = ["New film 1", "New film 2", "Film 33 again", "New film 4"]
OPQ = ("tokenizer.collisions=none", "tokenizer.kind=opq", "model.content=true")


@pytest.fixture(
    scope="module", params=["code", "reassign", pytest.param("opq", marks=pytest.mark.soak)]
)
def trained(request, tiny_run, tiny_bundle, recipe_run, tmp_path_factory):
    """A run of every way with collisions, and its bundle."""
    if request.param == "code":
        return tiny_run, tiny_bundle
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "reassign":
            run = recipe_run("everything")
            # Eight bits let items that are equally like a new one change places.
            patch.setattr("genrec.recommend.similarity.STORED", "Flat")
        elif request.param == "none":
            run = recipe_run("fused")
        else:
            run = small_run.trained(tiny_run, folder / "run", *OPQ)
        export_bundle(load_run(run), folder / "bundle")
    return run, folder / "bundle"


@pytest.fixture
def bundle(trained, tmp_path):
    return shutil.copytree(trained[1], tmp_path / "bundle")


@pytest.fixture
def appended(trained, tmp_path):
    """The run with new items, which has made their vectors from their texts."""
    folder = shutil.copytree(trained[0], tmp_path / "run")
    rows = [
        f"{name},{title},genre{n}" for n, (name, title) in enumerate(zip(NEW, TITLES, strict=True))
    ]
    (tmp_path / "new.csv").write_text("\n".join(["item_id,title,genre", *rows]))
    append_items(config_of(folder), folder, tmp_path / "new.csv")
    return load_run(folder)


def test_items_that_come_are_those_of_the_run(trained, bundle, appended):
    content = np.asarray(appended.items.content)[ITEMS:]
    before = genrec.load_bundle(bundle)
    change = add_items(bundle, NEW, TITLES, content)
    assert (change.items, change.added, change.known) == (ITEMS + 4, 4, 0)
    after = genrec.load_bundle(bundle)
    levels = appended.codes.shape[1]
    assert np.array_equal(after.tables["codes"][:, :levels], appended.codes)
    assert np.array_equal(after.tables["codes"][:ITEMS], before.tables["codes"])
    assert after.titles["n3"] == "Film 33 again" and after.manifest["added"] == 4
    for name in before.contents:
        if name.startswith(("programs/", "weights", "tokenizer", "consumed")):
            assert after.contents[name] == before.contents[name]
    histories = [["n1", "i001"], ["i003", "i009", "n3"], ["New film 4"], ["i011"]]
    found = after.recommend(histories, k=20, exclude_history=False)
    expected = appended.recommend(histories, k=20, exclude_history=False)
    assert found[0] == expected[0]
    for points, wanted in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(points, wanted, atol=2e-5)
    assert any(name in row for row in found[0] for name in NEW)
    # A second time they are all there already.
    change = add_items(bundle, NEW, TITLES, content)
    assert (change.items, change.added, change.known) == (ITEMS + 4, 0, 4)
    assert read_manifest(bundle) == after.manifest


@pytest.mark.parametrize("trained", ["none"], indirect=True)
def test_items_that_share_their_codes_come_behind_those_there(bundle):
    """Hand-worked: twice the vector of one item gives two ranks behind it."""
    old = genrec.load_bundle(bundle)
    content = np.repeat(old.newcomers.index.reconstruct(7)[None], 2, axis=0)
    add_items(bundle, ["a", "b"], ["A", "B"], content)
    codes = genrec.load_bundle(bundle).tables["codes"]
    tuples, ranks = codes[ITEMS:, :-1], codes[ITEMS:, -1]
    assert (tuples == tuples[0]).all()
    shared = (codes[:ITEMS, :-1] == tuples[0]).all(axis=1).sum()
    assert ranks.tolist() == [shared, shared + 1]


@pytest.mark.parametrize("trained", ["code"], indirect=True)
def test_items_go_and_come_back(bundle):
    change = remove_items(bundle, ["i003", "Film 4"])
    assert (change.items, change.removed) == (ITEMS - 2, 2)
    assert remove_items(bundle, ["i003"]).removed == 0
    lists, _ = genrec.load_bundle(bundle).recommend([["i003", "i004"]], k=20, exclude_history=False)
    assert len(lists[0]) == 20 and not {"i003", "i004"} & set(lists[0])
    width = genrec.load_bundle(bundle).newcomers.width
    change = add_items(bundle, ["i003"], ["Film 3"], np.ones((1, width)))
    assert (change.items, change.known, change.returned) == (ITEMS - 1, 1, 1)

    in_stock = [f"i{n:03}" for n in range(4, 20)]
    change = allow_items(bundle, in_stock)
    assert (change.items, change.returned) == (16, 1)
    lists, _ = genrec.load_bundle(bundle).recommend([["i001"], []], k=20)
    assert all(set(row) == set(in_stock) for row in lists)
    assert allow_items(bundle, [f"i{n:03}" for n in range(ITEMS)]).items == ITEMS


@pytest.mark.parametrize("trained", ["reassign"], indirect=True)
def test_alike_are_those_of_the_greatest_cosine(trained, bundle):
    content = np.asarray(load_run(trained[0]).items.content, np.float64)
    towards = content - content.mean(axis=0)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    ids = load_run(trained[0]).item_ids
    loaded = genrec.load_bundle(bundle)
    for name in ("i005", "i021"):
        item = ids.index(name)
        cosines = towards @ towards[item]
        found, points = loaded.similar([name], k=5)
        assert name not in found[0] and len(found[0]) == 5
        np.testing.assert_allclose(points[0], [cosines[ids.index(i)] for i in found[0]], atol=0.05)
        cosines[item] = -2
        np.testing.assert_allclose(points[0], np.sort(cosines)[::-1][:5], atol=0.05)
    open_ones = [ids[n] for n in range(4)]
    part = loaded.restricted(allow=open_ones)
    assert set(part.similar(["Film 30"], k=9)[0][0]) == set(open_ones) - {"i030"}
    with pytest.raises(UserError, match="no item has the id or title 'Flim 3'"):
        loaded.similar(["Flim 3"])
    with pytest.raises(UserError, match="k is 0"):
        loaded.similar(["i001"], k=0)


@pytest.mark.parametrize("trained", ["code"], indirect=True)
def test_mistakes_change_nothing(trained, bundle, tmp_path):
    before = read_manifest(bundle)
    width = genrec.load_bundle(bundle).newcomers.width
    many = [f"n{n}" for n in range(60)]
    wrong = [
        ((["a"], ["A", "B"], np.ones((1, width))), "1 ids, 2 titles and 1 vectors do not fit"),
        ((["a"], ["A"], np.ones((1, 3))), r"have width 16, these have shape \(1, 3\)"),
        ((["a"], ["A"], np.full((1, width), np.nan)), "are not finite"),
        ((["a", "a"], ["A", "B"], np.ones((2, width))), "name 'a' twice"),
        (
            (many, many, np.random.default_rng(0).normal(size=(60, width))),
            "has no room for 100 items: export it again, with more --room",
        ),
    ]
    for arguments, complaint in wrong:
        with pytest.raises(UserError, match=complaint):
            add_items(bundle, *arguments)
    with pytest.raises(UserError, match="none of the 40 items is left"):
        remove_items(bundle, [f"i{n:03}" for n in range(ITEMS)])
    with pytest.raises(UserError, match="no item has the id or title 'x'"):
        allow_items(bundle, ["x"])
    assert read_manifest(bundle) == before
    export_bundle(load_run(trained[0]), tmp_path / "fixed", newcomers=False)
    with pytest.raises(UserError, match="export it with --newcomers"):
        add_items(tmp_path / "fixed", ["a"], ["A"], np.ones((1, width)))
    assert remove_items(tmp_path / "fixed", ["i001"]).items == ITEMS - 1
    (bundle / "manifest.json").write_text(manifest_text(before | {"schema": 1}))
    with pytest.raises(UserError, match="made by an older genrec: export the bundle again"):
        genrec.load_bundle(bundle)


@pytest.mark.parametrize("trained", ["reassign"], indirect=True)
def test_a_bare_process_takes_new_items(bundle):
    width = genrec.load_bundle(bundle).newcomers.width
    code = f"""
import numpy as np
from genrec.bundle import add_items
print(add_items(sys.argv[1], ["a", "b"], ["A", "B"], np.eye(2, {width})).items)
print(genrec.load_bundle(sys.argv[1]).similar(["a"], k=3)[0])
"""
    command = [sys.executable, "-c", BLOCKER + code, str(bundle)]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith(f"{ITEMS + 2}\n")
    assert "a" in genrec.load_bundle(bundle).titles


@pytest.mark.parametrize("trained", ["code"], indirect=True)
def test_the_command(command, bundle, tmp_path):
    width = genrec.load_bundle(bundle).newcomers.width
    (tmp_path / "new.csv").write_text("item_id,title,genre\na,A film,genre1\ni003,Film 3,genre3\n")
    (tmp_path / "stock.txt").write_text("a\nFilm 5\n")
    np.save(tmp_path / "new.npy", np.eye(2, width, dtype=np.float32))
    new = ("--append", str(tmp_path / "new.csv"), "--vectors", str(tmp_path / "new.npy"))
    said = [
        (("--remove", "i003", "Film 4"), "2 items removed", f"{ITEMS - 2} items may be"),
        (new, "1 items added; 1 were there already; 1 that had been removed are back", f"{ITEMS}"),
        (("--allow", str(tmp_path / "stock.txt")), "2 items may be recommended now"),
    ]
    for arguments, *expected in said:
        shown, complaints = command("update", str(bundle), *arguments)
        assert complaints == []
        assert all(words in shown for words in expected)
    lists, _ = genrec.load_bundle(bundle).recommend([["i009"]], k=2)
    assert set(lists[0]) == {"a", "i005"}
    for arguments, complaint in (
        ((), "give one of --append, --remove and --allow"),
        (("--remove", "i001", *new), "give one of --append, --remove and --allow"),
        (new[:2], "--append and --vectors go together"),
        (("--remove", "Flim 4"), "no item has the id or title 'Flim 4'"),
    ):
        _, complaints = command("update", str(bundle), *arguments, status=2)
        assert len(complaints) == 1 and complaint in complaints[0]
