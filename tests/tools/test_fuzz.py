"""Damaged and hostile files are read, or refused in one line: by the thousand, and by hand."""

import gzip
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genrec.cli.failures import report
from genrec.config.parsing import load_config
from genrec.data import load_dataset
from genrec.data.locations import find_files
from genrec.decoding import read_lists
from genrec.embedding import embed_file, load_vectors
from genrec.errors import UserError
from genrec.recommend.request_files import read_requests
from genrec.runs.folder import config_of, require
from genrec.runs.manifest import read_manifest
from genrec.semantic_ids.collisions import SemanticIds
from genrec.semantic_ids.parquet import load_semantic_ids, save_semantic_ids
from genrec.storage.files import parse_json, sha256

TOOLS = Path(__file__).parents[2] / "tools"


def python(*arguments):
    """In a process of its own, because a worker is forked from one without threads."""
    path = os.pathsep.join([str(TOOLS), str(TOOLS.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


FUZZ = """
import sys
import fuzz_readers
from fuzz import file_readers, run_readers

readers = *file_readers.READERS, *run_readers.READERS
sys.argv += ["--readers", *(each.name for each in readers)]
fuzz_readers.main()
"""


@pytest.mark.parametrize("inputs", [3, pytest.param(15, marks=pytest.mark.soak)])
def test_every_reader_reads_or_refuses_what_is_damaged(inputs, tiny_run, tmp_path):
    found = tmp_path / "found.json"
    flags = ["--inputs", str(inputs), "--run", str(tiny_run), "--json", str(found)]
    python("-c", FUZZ, *flags)
    tallies = json.loads(found.read_text())
    assert {"tables .csv", "page of a run"} <= tallies.keys()
    for name, told in tallies.items():
        assert told["inputs"] == told["read"] + told["refused"] == inputs, name


MISBEHAVING = """
import asyncio, ctypes, os, pickle, sys, time
from pathlib import Path
from fuzz import workers
from fuzz.workers import Reader, fuzz
from genrec.errors import UserError

workers.CPU_SECONDS = 2.0
workers.MEMORY = 64  # what a slow machine can fill well within those seconds, twice over

def make(folder):
    folder.mkdir(exist_ok=True)
    (folder / "a.txt").write_text("valid")

def reads(how):
    def read(folder):
        if (folder / "a.txt").read_text() != "valid":
            how(folder)
    return Reader("r", make, read, ("a.txt",), mutate=lambda rng, name, contents: b"other")

def refuse(text):
    raise UserError(text)

def spin(folder):
    while True:
        pass

def leave_a_task(folder):
    async def fail():
        raise ValueError
    async def start():
        kept = [asyncio.ensure_future(fail())]
        kept.append(kept)  # until garbage is collected
        await asyncio.sleep(0)
    asyncio.run(start())

class Harm:
    def __reduce__(self):
        return os.getcwd, ()

WAYS = {
    "read": lambda folder: None,
    "refused": lambda folder: refuse("a.txt is not valid"),
    "exception": lambda folder: {}["x"],
    "complaint": lambda folder: refuse("x" * 1000 + " \\n"),
    "complaint, traceback": leave_a_task,
    "crash": lambda folder: ctypes.string_at(0),
    "hang": spin,
    "memory": lambda folder: bytes(b"x" * (128 << 20)),
    "memory, all": lambda folder: bytearray(1 << 45),
    "escape, read": lambda folder: (folder / "../outside.json").read_text(),
    "escape, write": lambda folder: (folder / "../../x").write_text(""),
    "escape, run": lambda folder: os.system("true"),
    "escape, pickle": lambda folder: pickle.loads(pickle.dumps(Harm())),
    "escape, payload": lambda folder: (folder / "genrec_fuzz_payload_ran").write_text(""),
}
for name, how in WAYS.items():
    found = fuzz(reads(how), 2, 0)
    kinds = [kind for _, kind, _ in found.faults]
    seen = kinds or ["read"] * found.read + ["refused"] * found.refused
    assert seen == [name.split(",")[0]] * 2 or name == "complaint", (name, found)
"""


@pytest.mark.soak
def test_what_a_reader_does_wrong_is_noticed():
    python("-c", MISBEHAVING)


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def npy(path, header, data):
    """A .npy file with any header."""
    head = header.encode() + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + data)


def told(descr, shape):
    return f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"


HEADERS = {
    "claims much": (told("<f4", (10**12, 4)), "no sound .npy file"),
    "claims less": (told("<f4", (2, 4)), "it holds 96 bytes, but should be float32 of shape"),
    "negative": (told("<f4", (-6, -4)), "no sound .npy file"),
    "overflows": (told("<f4", (2**63, 2)), "no sound .npy file"),
    "code": ("__import__('os').system('touch ran')", "no sound .npy file"),
    "nested": ("(" * 3000, "no sound .npy file"),
    "no end": ("{'descr': '<f4', ", "no sound .npy file"),
    "a large number": ("9" * 6000, "no sound .npy file"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_of_npy_that_lies_is_refused_before_memory_is_taken(tmp_path, name, monkeypatch):
    header, complaint = HEADERS[name]
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "vectors.npy"
    npy(path, header, np.ones((6, 4), np.float32).tobytes())
    with pytest.raises(UserError, match=complaint):
        embed_file(path, np.arange(6), 6)
    with pytest.raises(UserError, match=f"vectors.npy cannot be read: .*{complaint}"):
        load_vectors(path, 6)
    assert [each.name for each in tmp_path.iterdir()] == ["vectors.npy"]


def test_a_pickled_array_is_refused_and_its_payload_does_not_run(tmp_path, tiny_run):
    marker, path = tmp_path / "ran", tmp_path / "vectors.npy"
    payload = pickle.dumps(np.array([Bomb(marker)], object), protocol=2)
    npy(path, told("|O", (1,)), payload)
    pickle.loads(payload)  # noqa: S301 - it would run
    assert marker.exists()
    marker.unlink()
    with pytest.raises(UserError, match="pickled objects, which could run code"):
        embed_file(path, np.arange(1), 1)
    with pytest.raises(UserError, match="pickled objects, which could run code"):
        load_vectors(path, 1)
    dataset = shutil.copytree(tiny_run / "dataset", tmp_path / "dataset")
    shutil.copy(path, dataset / "histories" / "items.npy")
    with pytest.raises(UserError, match=r"items.npy cannot be read: it holds pickled objects"):
        load_dataset(dataset)
    path.write_bytes(pickle.dumps(Bomb(marker)))
    with pytest.raises(UserError, match=r"no sound \.npy file"):
        embed_file(path, np.arange(1), 1)
    assert not marker.exists()


def test_vectors_of_a_run_that_are_not_finite_are_refused(tmp_path):
    np.save(tmp_path / "v.npy", np.array([[1, 2], [np.nan, 0]], np.float32))
    with pytest.raises(UserError, match="a vector is not finite; run genrec embed again"):
        load_vectors(tmp_path / "v.npy", 2)
    with pytest.raises(UserError, match="it has 2 vectors for 3 items"):
        load_vectors(tmp_path / "v.npy", 3)


ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefghijklm", "bcdefghijklmn", strict=True)
)
NESTED = ", ".join(
    [
        "&a [x, x, x]",
        *(
            f"&{new} [{', '.join([f'*{old}'] * 9)}]"
            for old, new in zip("abcdefghi", "bcdefghij", strict=True)
        ),
    ]
)
SETTINGS = {
    "a tag": (
        "seed: !!python/object/apply:os.system ['touch ran']",
        "not determine a constructor",
    ),
    "a name": ("seed: !!python/name:os.system", "could not determine a constructor"),
    "aliases": (ALIASES, "unknown setting a; the nearest is"),
    "aliases of aliases": (f"seed: [{NESTED}]", "seed should be a whole number, but is a list"),
    "aliases in place": (
        f"tokenizer: {{hidden: [{NESTED}]}}",
        "tokenizer.hidden[0] should be a whole number, but is a list",
    ),
    "nested": ("data: " + "[" * 3000, "it is nested too deeply"),
    "nested maps": ("data: " + "{a: " * 3000, "it is nested too deeply"),
    "its own part": ("data: &d {columns: *d}", "unknown setting data.columns.columns"),
    "a large number": ("seed: " + "9" * 6000, "can't be read: Exceeds the limit"),
    "no number": ("seed: !!int ''", "can't be read: string index out of range"),
    "no name": ("{? [a, b] : 1}", "can't be read"),
    "a number for a name": ("3: 1", "3 is no name of a setting"),
    "a long name": ("a" * 300 + ": 1", "is no name of a setting"),
    "bytes": ("seed: !!binary gIGCgw==", "seed should be a whole number, but is a bytes"),
    "a set": ("seed: !!set {1}", "seed should be a whole number, but is a set"),
    "a long number": ("seed: 0x" + "f" * 9000, "seed should be a whole number, but is a number"),
    "a long number in a text": ("data: {text: 0x" + "f" * 9000 + "}", "of very many digits"),
    "a long number for a name": ("? 0x" + "f" * 9000 + "\n: 1", "is no name of a setting"),
    "large": ("# " + "x" * 2**18, "is larger than 256 KiB"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_hostile_settings_are_refused_in_one_line(name, tmp_path, monkeypatch):
    text, complaint = SETTINGS[name]
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_config(path)
    message = str(error.value)
    assert message.startswith(str(path))
    assert complaint in message
    assert "\n" not in message
    assert len(message) < 1000
    assert [each.name for each in tmp_path.iterdir()] == ["config.yaml"]


@pytest.fixture
def run(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "run")


OUTSIDE = ["../secret", "/etc/passwd", "dataset/../../secret", "", ".", "a\0b", "\ud800"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_manifest_that_names_files_outside_of_the_run_is_refused(run, name):
    (run.parent / "secret").write_text("secret")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["stages"]["prepare"]["outputs"][name] = sha256(run.parent / "secret")
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="is not a manifest of genrec"):
        require(run, config_of(run), "prepare")


MANIFESTS = {
    '{"schema": 1, "stages": ' + "[" * 100_000: "it is nested too deeply",
    '{"schema": ' + "9" * 6000 + ', "stages": {}}': "Exceeds the limit",
    '{"schema": NaN, "stages": {}}': "NaN is no number",
    '{"schema": 1e999, "stages": {}}': "1e999 is no number",
    '{"schema": true, "stages": {}}': "schema is True",
    '{"schema": 1, "stages": []}': "stages is a list",
    '{"schema": 1, "stages": {"prepare": null}}': "prepare is a NoneType",
    '{"schema": 1, "stages": {"prepare": {}}}': "prepare has no config",
    '{"schema": 1}': "it has no stages",
    "[]": "it is a list",
}


@pytest.mark.parametrize("text", MANIFESTS)
def test_a_manifest_that_is_none_is_refused_by_what_is_wrong(text, tmp_path):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match="is not a manifest of genrec") as error:
        read_manifest(tmp_path)
    assert MANIFESTS[text] in str(error.value)


def test_json_is_read_as_strictly_as_it_is_written():
    assert parse_json('{"a": [1, -2.5e3, "x", null, true]}') == {"a": [1, -2500, "x", None, True]}
    for text in ("NaN", "[Infinity]", "-1e400", "[" * 100_000, "9" * 5000, b"\xff"):
        with pytest.raises(ValueError):
            parse_json(text)


LISTS = {
    "user_id": pa.array(["a", "b"]),
    "item_id": pa.array([["i1", "i2"], ["i3"]]),
    "score": pa.array([[0.5, 0.25], [0.125]], pa.list_(pa.float32())),
}
WRONG_LISTS = {
    "no column score": {"score": None},
    "no column user_id of type string": {"user_id": pa.array([1, 2])},
    "it has gaps": {"item_id": pa.array([["i1", None], ["i3"]])},
    "not every item has a score": {"score": pa.array([[0.5], [0.1]], pa.list_(pa.float32()))},
    "a score is not finite": {"score": pa.array([[0.5, np.inf], [0.1]], pa.list_(pa.float32()))},
    "Invalid UTF8": {
        "user_id": pa.Array.from_buffers(pa.string(), 2, pa.array([b"a", b"\xff"]).buffers())
    },
}


@pytest.mark.parametrize("complaint", WRONG_LISTS)
def test_lists_of_another_form_are_refused(complaint, tmp_path):
    path = tmp_path / "recommendations.parquet"
    pq.write_table(pa.table(LISTS), path)
    assert read_lists(path).to_pylist() == pa.table(LISTS).to_pylist()
    wrong = {name: each for name, each in {**LISTS, **WRONG_LISTS[complaint]}.items() if each}
    pq.write_table(pa.table(wrong), path)
    with pytest.raises(UserError, match=f"{complaint}.*; run genrec evaluate again"):
        read_lists(path)


def test_what_a_file_says_does_not_reach_the_terminal_as_it_is(capsys):
    assert report(UserError("a\nb\x1b[31m\x00 \u202e" + "x" * 10**6), verbose=False) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("genrec: a b\ufffd[31m\ufffd \ufffdxxx")
    assert line.endswith("x …")
    assert len(line) < 2000


@pytest.mark.parametrize("sizes", ["[4, 0]", "[4, 99999999999]", "[" * 3000, "[4, NaN]", "4"])
def test_semantic_ids_of_impossible_sizes_are_refused(tmp_path, sizes):
    path = tmp_path / "semantic_ids.parquet"
    save_semantic_ids(path, SemanticIds(np.array([[0, 1], [2, 3]], np.int32), (4, 4)))
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"codebook_sizes": sizes}), path)
    with pytest.raises(UserError, match=r"are not positive int32|does not hold semantic IDs"):
        load_semantic_ids(path)


def test_a_compressed_table_that_is_one_endless_line_takes_little_memory(tmp_path):
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"x" * (1 << 20)) * 64)
    with pytest.raises(UserError, match="a line is longer than 2 MiB"):
        find_files(path).header(str(path), ",")


@pytest.mark.parametrize(
    "row", ["[" * 100_000, '{"user_id": "a", "items": ' + "[" * 100_000, "1e999"]
)
def test_histories_that_are_no_json_are_told_by_their_line(row, tmp_path):
    path = tmp_path / "histories.jsonl"
    path.write_text('{"user_id": "a", "items": ["i1"]}\n' + row + "\n")
    with pytest.raises(UserError, match=r"histories.jsonl should be .*: line 2 is no"):
        list(read_requests(path, 10))


def test_items_with_a_column_twice_are_refused(tiny_run, tmp_path):
    dataset = shutil.copytree(tiny_run / "dataset", tmp_path / "dataset")
    items = pq.read_table(dataset / "items.parquet")
    pq.write_table(items.append_column("genre", items["genre"]), dataset / "items.parquet")
    with pytest.raises(UserError, match=r"items.parquet has a column twice"):
        load_dataset(dataset)
