"""What somebody wrote into a bundle, with checksums that are right, is not believed."""

import copy
import gzip
import json
import os
from typing import Any

import numpy as np
import pytest

from genrec.bundle.checks import check_experts, check_items, check_manifest, check_tokenizer
from genrec.bundle.storage import manifest_text, pack_names, read_bundle, unpack_names
from genrec.errors import UserError

NEWCOMERS = {
    "files": ["content.safetensors"],
    "width": 5,
    "codebook_sizes": [4, 4],
    "cooccurrence": 1.0,
    "collisions": "code",
}
EXPERTS = ["codes", "transitions", "two_hops", "together", "relayed", "popularity"]
MANIFEST: dict[str, Any] = {
    "format": "genrec bundle",
    "schema": 4,
    "checksum": "x",
    "items": 3,
    "added": 0,
    "answers": {
        "beam": 10,
        "batch_size": 8,
        "max_history": 12,
        "unknown_items": "refuse",
        "users": False,
        "look_ahead": True,
        "experts": {"names": EXPERTS, "most": 2},
        "named": [8, 64],
        "shapes": {"items": 64, "codes": [[64, "|u1"], [64, "<u2"]], "fan_out": [4, 4]},
    },
    "newcomers": NEWCOMERS,
    "files": {"programs/a.bin": {"sha256": "x", "bytes": 5}},
}
TABLES = {
    "codes": np.array([[0, 1], [0, 2], [1, 0]], np.int32),
    "counts": np.array([3, 0, 1], np.int64),
    "seen": np.array([True, False, True]),
    "open": np.array([0, 2], np.int32),
    "vectors": np.ones((3, 4), np.float32),
}
WEIGHTS = {"codes.0.embedding": np.ones((2, 4), np.float32), "norm": np.array(1, np.float32)}
NAMES = ["a", "b", "c"]
TENSORS = {
    "content.mean": np.zeros(5, np.float32),
    "content.norm": np.array(1, np.float32),
    "consumed.mean": np.zeros(4, np.float32),
    "consumed.norm": np.array(1, np.float32),
    "input.mean": np.zeros(9, np.float32),
    "input.scale": np.array(2, np.float32),
    "lenders": np.array([0, 2], np.int32),
}

LOOKED_UP = {
    "begins": np.array([0, 2, 2, 3], np.int32),
    "items": np.array([1, 2, 0], np.int32),
    "weights": np.ones((3, 4), np.float16),
    "content": np.ones((3, 5), np.float16),
    "popularity": np.ones(3, np.float32),
    "retrieval": np.ones(5, np.float32),
    "own": np.ones(2, np.float32),
    "other": np.ones(2, np.float32),
    "ranking": np.ones(6, np.float32),
}


def paths(tree: Any, before: tuple[Any, ...] = ()):
    """The path of everything in a tree."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in pairs:
        yield (*before, key)
        if isinstance(value, dict | list):
            yield from paths(value, (*before, key))


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def test_what_export_writes_is_fine():
    check_manifest(MANIFEST)
    check_manifest(MANIFEST | {"newcomers": None})
    check_items(MANIFEST["answers"], 3, TABLES, WEIGHTS, NAMES, NAMES)
    check_tokenizer(NEWCOMERS, TENSORS, 3)
    for width in (5, None):
        check_experts(MANIFEST["answers"], 3, width, LOOKED_UP)


def test_bundles_made_before_there_were_experts_are_fine():
    answers = {name: of for name, of in MANIFEST["answers"].items() if name != "experts"}
    check_manifest(MANIFEST | {"answers": answers, "schema": 3})


@pytest.mark.parametrize("value", [None, -1, 1 << 70, 0.5, float("nan"), [[1]], {"a": 1}, "gone"])
def test_no_value_of_the_manifest_can_be_anything(value):
    """Those that may be this value are named here; all else is refused where it stands."""
    may = {
        None: {("newcomers",), ("answers", "experts")},
        0.5: {("newcomers", "cooccurrence")},
        "gone": {
            ("checksum",),
            ("answers", "unknown_items"),
            *(("answers", "experts", "names", n) for n in range(len(EXPERTS))),
            ("newcomers", "files", 0),
            ("files", "programs/a.bin", "sha256"),
        },
    }
    checked = [p for p in paths(MANIFEST) if p[0] not in ("format", "schema")]
    assert len(checked) > 35
    for path in checked:
        manifest = copy.deepcopy(MANIFEST)
        at(manifest, path[:-1])[path[-1]] = value
        if isinstance(value, float | str | None) and path in may.get(value, ()):
            check_manifest(manifest)
        else:
            with pytest.raises(ValueError):
                check_manifest(manifest)
                pytest.fail(f"{path} was {value}")


def test_nothing_of_the_manifest_can_be_missing():
    for path in paths(MANIFEST):
        if (
            path[0] in ("format", "schema")
            or path == ("answers", "experts")
            or isinstance(path[-1], int)
            or path[-1] == "programs/a.bin"
        ):
            continue
        manifest = copy.deepcopy(MANIFEST)
        del at(manifest, path[:-1])[path[-1]]
        with pytest.raises(ValueError):
            check_manifest(manifest)
            pytest.fail(f"without {path}")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("answers", "named"), []),
        (("answers", "named"), [64, 8]),
        (("answers", "named"), [8, 1 << 40]),
        (("answers", "max_history"), 1 << 40),
        (("answers", "shapes", "items"), 1 << 30),
        (("answers", "shapes", "items"), 2),
        (("answers", "shapes", "codes"), [[1 << 30, "|u1"], [64, "|u1"]]),
        (("answers", "shapes", "codes"), [[64, "O"], [64, "V9999999"]]),
        (("answers", "shapes", "fan_out"), [4]),
        (("answers", "experts", "names"), ["codes\n"]),
        (("answers", "experts", "most"), 1 << 31),
        (("files",), {"../x": {"sha256": "x", "bytes": 1}}),
        (("files",), {"a/../../x": {"sha256": "x", "bytes": 1}}),
        (("files",), {"/x": {"sha256": "x", "bytes": 1}}),
        (("files",), {"..\\x": {"sha256": "x", "bytes": 1}}),
        (("files",), {"x\0": {"sha256": "x", "bytes": 1}}),
        (("newcomers", "codebook_sizes"), [4] * 1000),
        (("newcomers", "collisions"), "other"),
    ],
)
def test_manifests_that_ask_for_the_impossible(path, value):
    manifest = copy.deepcopy(MANIFEST)
    at(manifest, path[:-1])[path[-1]] = value
    with pytest.raises(ValueError):
        check_manifest(manifest)


@pytest.mark.parametrize(
    "change",
    [
        {"codes": TABLES["codes"][:2]},
        {"codes": TABLES["codes"][:, :1].copy()},
        {"codes": TABLES["codes"].astype(np.int64)},
        {"codes": TABLES["codes"] - 1},
        {"codes": TABLES["codes"] + 1},  # there are two codes at level 0
        {"counts": TABLES["counts"] - 1},
        {"counts": np.zeros(3, np.float32)},
        {"seen": np.ones(4, bool)},
        {"open": np.array([2, 0], np.int32)},
        {"open": np.array([1, 1], np.int32)},
        {"open": np.array([-1], np.int32)},
        {"open": np.array([3], np.int32)},
        {"open": np.array(1, np.int32)},
        {"open": np.zeros(0, np.int32)},
        {"vectors": np.ones((4, 4), np.float32)},
        {"vectors": np.ones((3, 4), np.int32)},
        {"vectors": np.full((3, 4), np.inf, np.float32)},
    ],
)
def test_tables_that_do_not_fit(change):
    with pytest.raises(ValueError):
        check_items(MANIFEST["answers"], 3, TABLES | change, WEIGHTS, NAMES, NAMES)


@pytest.mark.parametrize(
    "change",
    [
        {"begins": np.array([0, 2, 3], np.int32)},
        {"begins": np.array([1, 2, 2, 3], np.int32)},
        {"begins": np.array([0, 2, 2, 2], np.int32)},
        {"begins": np.array([0, 3, 2, 3], np.int32)},
        {"begins": np.array([0, 3, 3, 3], np.int32)},  # more than two to an item
        {"begins": np.array([0, -(2**31), 2**31 - 1, 3], np.int32)},
        {"begins": LOOKED_UP["begins"].astype(np.int64)},
        {"items": np.array([1, 3, 0], np.int32)},
        {"items": np.array([1, -1, 0], np.int32)},
        {"items": np.array([[1], [2], [0]], np.int32)},
        {"items": np.array(1, np.int32)},
        {"weights": np.ones((3, 3), np.float16)},
        {"weights": np.ones((3, 4), np.float32)},
        {"weights": np.full((3, 4), np.inf, np.float16)},
        {"weights": np.full((3, 4), -1, np.float16)},
        {"content": np.ones((4, 5), np.float16)},
        {"content": np.ones((3, 6), np.float16)},
        {"content": np.ones(3, np.float16)},
        {"content": np.full((3, 5), np.nan, np.float16)},
        {"popularity": np.full(3, -1, np.float32)},
        {"retrieval": np.ones(6, np.float32)},
        {"own": np.ones(1, np.float32)},
        {"other": np.full(2, np.nan, np.float32)},
        {"ranking": np.ones((6, 1), np.float32)},
    ],
)
def test_experts_that_do_not_fit(change):
    for width in (5, None):
        if "content" in change and change["content"].shape == (3, 6) and width is None:
            continue  # nothing says how wide it should be
        with pytest.raises(ValueError):
            check_experts(MANIFEST["answers"], 3, width, LOOKED_UP | change)


@pytest.mark.parametrize(
    "names", [EXPERTS[:-2], [*EXPERTS[:-1], "codes"], [*EXPERTS[:1], *EXPERTS[:0:-1]]]
)
def test_experts_that_are_not_there_or_there_twice_or_in_another_order(names):
    answers = MANIFEST["answers"] | {"experts": {"names": names, "most": 2}}
    with pytest.raises(ValueError, match="there are no experts such as"):
        check_experts(answers, 3, 5, LOOKED_UP)


@pytest.mark.parametrize("name", list(LOOKED_UP))
def test_experts_of_which_a_part_is_missing(name):
    with pytest.raises(KeyError):
        tables = {each: LOOKED_UP[each] for each in LOOKED_UP if each != name}
        check_experts(MANIFEST["answers"], 3, 5, tables)


def test_names_and_weights_that_do_not_fit():
    def check(weights, ids, titles):
        check_items(MANIFEST["answers"], 3, TABLES, weights, ids, titles)

    for ids, titles in ((["a", "b", "a"], NAMES), (NAMES[:2], NAMES), (NAMES, NAMES[:2])):
        with pytest.raises(ValueError):
            check(WEIGHTS, ids, titles)
    with pytest.raises(ValueError, match="norm has numbers that are not finite"):
        check(WEIGHTS | {"norm": np.array(np.nan, np.float32)}, NAMES, NAMES)
    for name in ("codes", "counts", "seen", "open"):
        with pytest.raises(KeyError):
            tables = {each: TABLES[each] for each in TABLES if each != name}
            check_items(MANIFEST["answers"], 3, tables, WEIGHTS, NAMES, NAMES)


@pytest.mark.parametrize(
    "change",
    [
        {"content.mean": np.zeros(6, np.float32)},
        {"content.norm": np.array(0, np.float32)},
        {"content.norm": np.array(np.nan, np.float32)},
        {"consumed.norm": np.ones(2, np.float32)},
        {"consumed.mean": np.zeros(5, np.float32)},
        {"input.mean": np.zeros((3, 3), np.float32)},
        {"input.scale": np.array(1, np.int32)},
        {"lenders": np.array([2, 0], np.int32)},
        {"lenders": np.array([0, 3], np.int32)},
        {"lenders": np.zeros(0, np.int32)},
    ],
)
def test_tokenizers_that_do_not_fit(change):
    with pytest.raises(ValueError):
        check_tokenizer(NEWCOMERS, TENSORS | change, 3)


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"no gzip",
        pack_names(NAMES, NAMES)[:-4],
        gzip.compress(b"[]", mtime=0),
        gzip.compress(b'{"item_id": ["a"]}', mtime=0),
        gzip.compress(b'{"item_id": [1], "title": ["a"]}', mtime=0),
        gzip.compress(b'{"item_id": "abc", "title": ["a", "b", "c"]}', mtime=0),
        gzip.compress(b'{"item_id": ["\\ud800"], "title": ["a"]}', mtime=0),
        gzip.compress(b"[" * 900_000, mtime=0),
        gzip.compress(b" " * 50_000_000, mtime=0),  # 50 kB
    ],
    ids=lambda contents: f"{len(contents)} bytes",
)
def test_names_that_are_not_read(contents):
    with pytest.raises(UserError, match=r"items.json.gz cannot be read: "):
        unpack_names(contents)


def test_names_that_are_very_much_alike_are_kept():
    """Packed to a thousandth, they would be taken for a small file that unpacks to a large one."""
    names = ["a" * 2_000_000]
    assert unpack_names(pack_names(names, names)) == (names, names)


@pytest.mark.parametrize("name", ["manifest.json", "weights.safetensors"])
def test_a_pipe_in_a_files_place_is_not_waited_for(tmp_path, name):
    files = ("weights.safetensors", "items.safetensors", "items.json.gz")
    programs = ("programs/recommend-8.bin", "programs/recommend-64.bin")
    told = {each: {"sha256": "x", "bytes": 0} for each in (*files, *programs)}
    answers = MANIFEST["answers"] | {"experts": None}
    manifest = MANIFEST | {"newcomers": None, "answers": answers, "files": told}
    (tmp_path / "manifest.json").write_text(manifest_text(manifest))
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=f"{name} (is missing|cannot be read)"):
        read_bundle(tmp_path)


@pytest.mark.parametrize("text", [b"\xff", b"[" * 100_000, b"[]", b"{}", b'{"format": 5}'])
def test_what_is_no_manifest(tmp_path, text):
    (tmp_path / "manifest.json").write_bytes(text)
    with pytest.raises(UserError, match="cannot be read as a bundle's manifest"):
        read_bundle(tmp_path)


@pytest.mark.parametrize("schema", [None, "3", [], 2, 1.5])
def test_other_schemas_are_of_an_older_genrec(tmp_path, schema):
    (tmp_path / "manifest.json").write_text(manifest_text(MANIFEST | {"schema": schema}))
    with pytest.raises(UserError, match="made by an older genrec: export the bundle again"):
        read_bundle(tmp_path)
    assert json.loads((tmp_path / "manifest.json").read_text())["schema"] == schema
