"""--quiet, --verbose and --json of the commands, called in this process."""

import json
import re
import shutil

import jax
import pyarrow.parquet as pq
import pytest

import genrec

ONE_SHAPE = ("--decoding.batch-size", "1")


@pytest.fixture
def run(tiny_run, tmp_path):
    """A run that may be changed."""
    return shutil.copytree(tiny_run, tmp_path / "run")


@pytest.fixture
def document(command):
    """What a command prints with --json, and what it says beside it."""

    def run(*arguments):
        shown, complaints = command(*map(str, arguments), "--json")
        return json.loads(shown), complaints

    return run


def test_a_run_is_its_stages_and_its_figures(document, run):
    found, said = document("run", run)
    assert [stage["stage"] for stage in found["stages"]] == [
        *("prepare", "embed", "tokenize", "train", "graph", "fuse", "evaluate", "report")
    ]
    entries = json.loads((run / "manifest.json").read_text())["stages"]
    for stage in found["stages"]:
        assert stage["skipped"] is True
        assert stage["summary"] == entries[stage["stage"]]["summary"]
        assert stage["seconds"] >= 0
    assert found["metrics"] == json.loads((run / "metrics.json").read_text())
    assert set(found["files"]) >= {"metrics.json", "report.html"}
    # People see the same as ever, on the other stream.
    assert said[0].startswith("prepare ") and "done before" in said[0]


def test_a_stage_has_the_figures_that_it_shows(document, run):
    assert document("tokenize", run)[0]["health"] == json.loads(
        (run / "tokenizer/health.json").read_text()
    )
    assert document("prepare", run)[0]["counts"] == json.loads(
        (run / "dataset/counts.json").read_text()
    )
    found, _ = document("embed", run)
    assert set(found) == {"run", "stages"} and found["run"] == str(run)


def test_lists_are_those_of_python(document, tiny_run):
    config = genrec.load_config(tiny_run / "config.yaml", "decoding.batch_size=1")
    loaded = genrec.load_run(tiny_run, config.decoding)
    (ids,), (scores,) = loaded.recommend([["i001", "i002"]], 3)
    wanted = ("--history", "i001", "i002", "--k", "3", "--codes", *ONE_SHAPE)
    (found,) = document("recommend", tiny_run, *wanted)[0]["lists"]
    assert found["user_id"] is None
    assert [item["item_id"] for item in found["items"]] == ids
    assert [item["score"] for item in found["items"]] == pytest.approx(list(map(float, scores)))
    codes = pq.read_table(tiny_run / "tokenizer/semantic_ids.parquet")["codes"].to_pylist()
    for item in found["items"]:
        assert item["title"] == loaded.titles[item["item_id"]]
        assert item["codes"] == codes[loaded.item_ids.index(item["item_id"])]


def test_lists_in_a_file_are_named(document, tiny_run, tmp_path):
    out = tmp_path / "lists.parquet"
    found, _ = document("recommend", tiny_run, "--history", "i001", "--out", out, *ONE_SHAPE)
    assert found == {"users": 1, "k": 10, "out": str(out)}
    examples, _ = document("recommend", tiny_run, "--k", "2")
    assert [len(each["item_ids"]) for each in examples["examples"]] == [2, 2, 2]


def test_the_tree_of_semantic_ids(document, run):
    found, _ = document("tokenize", run, "--show", "--top", "2")
    codes = pq.read_table(run / "tokenizer/semantic_ids.parquet")["codes"].to_pylist()
    for branch in found["branches"]:
        assert branch["items"] == sum(each[:1] == branch["codes"] for each in codes)
    assert len(found["branches"]) == 2
    assert found["smaller"] == len({each[0] for each in codes}) - 2
    change, _ = document("tokenize", run, "--remove", "i001")
    assert (change["removed"], change["items"], change["added"]) == (1, 39, 0)


def test_a_page_and_a_bundle_are_named_with_their_size(document, run, tmp_path):
    page, bundle = tmp_path / "page.html", tmp_path / "bundle"
    found, _ = document("report", run, "--out", page)
    assert found == {"file": str(page), "bytes": page.stat().st_size}
    assert document("report", run)[0]["file"] == str(run / "report.html")
    found, _ = document("export", run, "--out", bundle, "--no-newcomers")
    assert found["items"] == 40 and found["format"] == "bundle"
    files = json.loads((bundle / "manifest.json").read_text())["files"].values()
    assert found["bytes"] == sum(file["bytes"] for file in files)
    change, _ = document("update", bundle, "--remove", "i001", "i002")
    assert (change["bundle"], change["removed"], change["items"]) == (str(bundle), 2, 38)
    weights, _ = document("export", run, "--out", tmp_path / "w", "--format", "safetensors")
    assert weights["format"] == "safetensors" and weights["summary"]


def test_a_mistake_leaves_no_document(command, tmp_path):
    shown, (line,) = command("recommend", str(tmp_path), "--json", status=2)
    assert shown == "" and "is not a run" in line


def test_quiet_is_silent_but_for_errors_and_the_document(command, tiny_run):
    history = ("--history", "--k", "3", *ONE_SHAPE)  # which warns: nothing is known of somebody
    loud = command("recommend", str(tiny_run), *history)
    assert loud[0] and loud[1]
    assert command("recommend", str(tiny_run), *history, "--quiet") == ("", [])
    assert command("evaluate", str(tiny_run), "-q") == ("", [])
    shown, complaints = command("recommend", str(tiny_run), *history, "--quiet", "--json")
    assert json.loads(shown)["lists"] and not complaints
    _, complaints = command("recommend", str(tiny_run), "--k", "99", "--quiet", status=2)
    assert len(complaints) == 1
    # The next command in the same process speaks again.
    assert command("recommend", str(tiny_run), *history) == loud


def test_verbose_says_why_a_stage_is_done_or_skipped(command, run):
    _, said = command("embed", str(run), "--verbose")
    assert any("embed: done before" in line for line in said)
    assert sum("settings of" in line for line in said) == 1
    assert any(re.search(r"embed reads dataset, sha256 [0-9a-f]{64}", line) for line in said)
    assert all(re.match(r"genrec \d\d:\d\d:\d\d genrec\.", line) for line in said)
    (run / "embeddings.npy").write_bytes(b"")
    _, said = command("embed", str(run), "--verbose")
    assert any("embeddings.npy was changed since" in line for line in said)
    _, said = command("report", str(run), "-v", status=0)
    assert not any("Traceback" in line for line in said)
    shutil.rmtree(run / "checkpoints")
    _, said = command("embed", str(run), "-v", "--embedding.dim", "8")
    assert any("other settings: embedding.dim was 16" in line for line in said)
    _, said = command("embed", str(run), "-v", "--embedding.dim", "0", status=2)
    assert any("Traceback" in line for line in said)


def test_verbose_tells_what_is_compiled(command, tiny_run, monkeypatch):
    jax.clear_caches()  # another test may have compiled the same
    monkeypatch.setattr("genrec.cli.console._SLOW_COMPILATION", 0.0)
    _, said = command("recommend", str(tiny_run), "--history", "i001", "-v", *ONE_SHAPE)
    assert any(re.search(r"compiled .+ in \d+\.\d s", line) for line in said)
    before = len(said)
    _, said = command("recommend", str(tiny_run), "--history", "i001", *ONE_SHAPE)
    assert before and said == []


def test_colours_are_for_terminals(command, tiny_run, monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    assert "\x1b" not in command("evaluate", str(tiny_run))[0]
