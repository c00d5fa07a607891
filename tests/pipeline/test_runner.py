"""One run from raw files to recommendations, on data with a structure that a model can learn."""

import contextlib
import csv
import io
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest

import genrec
from genrec.cli.main import main
from genrec.errors import UserError
from genrec.evaluation import recall_at, target_ranks
from small_run import SETTINGS, USERS, write_log


class Printed(NamedTuple):
    stdout: str
    stderr: str


def command(folder: Path, *arguments: str, status: int = 0) -> Printed:
    """Runs the command line in `folder`, but in this process, which has imported everything."""
    stdout, stderr, exited = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLUMNS", "100")
        patch.setattr(sys, "argv", ["genrec", *arguments])
        patch.setattr(logging.getLogger("genrec"), "handlers", [])
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            try:
                main()
            except SystemExit as stop:
                exited = stop.code
    assert exited == status, stderr.getvalue()
    return Printed(stdout.getvalue(), stderr.getvalue())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with log, config and a finished run in runs/tiny, and what the run printed."""
    folder = tmp_path_factory.mktemp("whole")
    write_log(folder)
    (folder / "tiny.yaml").write_text(SETTINGS)
    run = subprocess.run(  # in a process of its own, as a user would
        [sys.executable, "-m", "genrec", "run", "tiny.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert run.returncode == 0, run.stderr
    return folder, run.stdout


def metrics(run: Path):
    return json.loads((run / "metrics.json").read_text())


def test_the_model_learns_what_popularity_cannot_know(finished):
    figures = metrics(finished[0] / "runs/tiny")
    ours = figures["test"]
    popular = figures["baselines"]["most_popular"]["test"]
    assert ours["users"] == popular["users"] == USERS
    for protocol in ("unfiltered", "filtered"):
        assert ours[protocol]["ndcg@10"] > 2 * popular[protocol]["ndcg@10"]
    assert ours["filtered"]["recall@5"] > 0.4


def test_the_run_folder_keeps_its_contract(finished):
    run = finished[0] / "runs/tiny"
    items = pq.read_table(run / "dataset/items.parquet")
    assert items["item"].to_pylist() == list(range(items.num_rows))
    assert items["text"][0].as_py().endswith(items["genre"][0].as_py())
    sequences = pq.read_table(run / "dataset/sequences.parquet").to_pylist()
    vectors = np.load(run / "embeddings.npy")
    assert vectors.dtype == np.float32
    assert len(vectors) == items.num_rows
    codes = pq.read_table(run / "tokenizer/semantic_ids.parquet")["codes"].to_pylist()
    assert len(set(map(tuple, codes))) == items.num_rows
    assert (run / "tokenizer/health.json").exists()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert sorted({line["epoch"] for line in lines if "loss" in line}) == list(range(1, 13))
    assert [line["epoch"] for line in lines if "validation" in line] == [4, 8, 12]
    assert list((run / "tensorboard").iterdir())

    log: dict[str, list[str]] = {}
    with (finished[0] / "log.csv").open() as stream:
        for row in csv.DictReader(stream):
            log.setdefault(row["user_id"], []).append(row["item_id"])
    ids = items["item_id"].to_pylist()
    for sequence in sequences:
        assert [ids[i] for i in sequence["items"]] == log[sequence["user_id"]]


@pytest.mark.parametrize("name", ["recommendations", "recommendations_filtered"])
def test_every_user_gets_existing_items_once_and_the_lists_give_the_metrics(finished, name):
    run = finished[0] / "runs/tiny"
    items = pq.read_table(run / "dataset/items.parquet")["item_id"].to_pylist()
    index = {item_id: number for number, item_id in enumerate(items)}
    sequences = pq.read_table(run / "dataset/sequences.parquet").to_pylist()
    lists = pq.read_table(run / f"{name}.parquet").to_pylist()
    assert [row["user_id"] for row in lists] == [row["user_id"] for row in sequences]
    for row, sequence in zip(lists, sequences, strict=True):
        found = [index[item_id] for item_id in row["item_id"]]
        history = set(sequence["items"][:-1])
        left = len(items) - (len(history) if name.endswith("filtered") else 0)
        assert len(found) == len(set(found)) == min(20, left)
        assert row["score"] == sorted(row["score"], reverse=True)
        if name.endswith("filtered"):
            assert not history & set(found)
    ranks = target_ranks(
        np.array([[index[i] for i in row["item_id"]] for row in lists], np.int32),
        np.array([sequence["items"][-1] for sequence in sequences], np.int32),
    )
    protocol = "filtered" if name.endswith("filtered") else "unfiltered"
    recall = metrics(run)["test"][protocol]["recall@10"]
    assert recall_at(ranks, 10, 20).mean() == pytest.approx(recall)


def test_users_in_several_batches_get_the_lists_that_they_get_in_one(finished, tmp_path):
    run = shutil.copytree(finished[0] / "runs/tiny", tmp_path / "run")
    config = genrec.load_config(run / "config.yaml", "decoding.batch_size=64")  # 64, 64, 22
    assert not genrec.run_stage("evaluate", config, run).skipped
    for name in ("recommendations.parquet", "recommendations_filtered.parquet"):
        ours, whole = (pq.read_table(place / name) for place in (run, finished[0] / "runs/tiny"))
        assert ours.drop(["score"]) == whole.drop(["score"])
        some, every = (np.concatenate(each["score"].to_pylist()) for each in (ours, whole))
        np.testing.assert_allclose(some, every, atol=1e-4)


def test_tokenize_shows_the_health_of_the_codes(finished):
    shown = command(finished[0], "tokenize", "runs/tiny").stdout
    for word in ("(done before)", "40 items", "distinct tuples", "perplexity"):
        assert word in shown


def test_it_shows_the_table_three_users_and_where_everything_is(finished):
    shown = finished[1]
    for word in ("most popular", "item knn", "150 users", "Recall@5", "NDCG@10", "runs/tiny"):
        assert word in shown
    assert shown.count("then, held out") == 3


def test_a_second_run_skips_what_is_done_and_a_changed_setting_redoes_what_follows(
    finished, tmp_path
):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    before = json.loads((tmp_path / "runs/tiny/manifest.json").read_text())["stages"]
    again = command(tmp_path, "run", "runs/tiny").stdout
    # The log is another file now, though the same: what is made from it is the same too.
    assert again.count("(done before)") >= 4
    third = command(tmp_path, "run", "runs/tiny").stdout
    assert third.count("(done before)") == 8
    changed = command(tmp_path, "run", "runs/tiny", "--evaluation.neighbours", "3").stdout
    assert changed.count("(done before)") == 6
    after = json.loads((tmp_path / "runs/tiny/manifest.json").read_text())["stages"]
    assert after["train"]["fingerprint"] == before["train"]["fingerprint"]
    assert after["evaluate"]["fingerprint"] != before["evaluate"]["fingerprint"]


def test_the_same_seed_gives_the_same_lists_and_another_seed_others(finished, tmp_path):
    folder = finished[0]
    config = genrec.load_config(folder / "runs/tiny/config.yaml")
    genrec.run(config, tmp_path / "same")
    for name in ("metrics.json", "recommendations.parquet", "tokenizer/semantic_ids.parquet"):
        assert (tmp_path / "same" / name).read_bytes() == (
            folder / "runs/tiny" / name
        ).read_bytes(), name
    other = genrec.load_config(folder / "runs/tiny/config.yaml", "seed=1")
    genrec.run(other, tmp_path / "other")
    assert metrics(tmp_path / "other")["test"] != metrics(tmp_path / "same")["test"]


@pytest.mark.parametrize("recipe", ["tiger", "fused", "everything"])
def test_another_recipe_is_other_settings(recipe_run, recipe):
    run = recipe_run(recipe)
    figures = metrics(run)
    popular = figures["baselines"]["most_popular"]["test"]["filtered"]["ndcg@10"]
    assert figures["test"]["filtered"]["ndcg@10"] > 2 * popular
    command(run, "recommend", str(run), "--history", "Film 3", "Film 7", "--k", "4")


@pytest.mark.soak
def test_ctrl_c_keeps_the_training_and_says_so(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "runs/tiny/checkpoints")
    (tmp_path / "runs/tiny/metrics.jsonl").unlink()
    arguments = ["train", "runs/tiny", "--training.epochs", "99999"]
    process = subprocess.Popen(
        [sys.executable, "-m", "genrec", *arguments],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / "runs/tiny/metrics.jsonl"
    while not (log.exists() and log.stat().st_size):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    last = errors.splitlines()[-1]
    kept = re.fullmatch(
        r"genrec: interrupted, and step (\d+) is kept; the same command goes on from there", last
    )
    assert kept
    assert (tmp_path / "runs/tiny/checkpoints" / kept[1]).is_dir()


def test_recommend_from_python_and_the_command_line_agree(finished):
    folder = finished[0]
    run = genrec.load_run(folder / "runs/tiny")
    (ids,), (scores,) = run.recommend([["film 3", "i007"]], k=4)
    assert len(ids) == 4
    assert not {"i003", "i007"} & set(ids)
    shown = command(
        folder, "recommend", "runs/tiny", "--history", "Film 3", "Film 7", "--k", "4"
    ).stdout
    for item_id, score in zip(ids, scores, strict=True):
        assert item_id in shown
        assert f"{score:.3f}" in shown

    (folder / "histories.jsonl").write_text(
        '{"user_id": "a", "items": ["i003", "Film 7"]}\n{"user_id": "b", "items": []}\n'
    )
    wanted = ("--histories", "histories.jsonl", "--k", "4", "--out", "lists.parquet")
    stderr = command(folder, "recommend", "runs/tiny", *wanted).stderr
    assert stderr == "genrec: nothing is known of user b: the most popular items stand in\n"
    lists = pq.read_table(folder / "lists.parquet").to_pylist()
    assert [row["user_id"] for row in lists] == ["a", "b"]
    assert lists[0]["item_id"] == ids
    assert np.allclose(lists[0]["score"], scores, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "tiny.yaml", "--model.d-modle", "9"], "unknown setting model.d_modle"),
        (
            ["run", "tiny.yaml", "--model.d-model", "x"],
            "model.d_model should be a whole number, but is 'x'",
        ),
        (["run", "none.yaml"], "none.yaml does not exist"),
        (["rnu", "tiny.yaml"], "unknown command rnu; the nearest is run"),
        (["train", "tiny.yaml", "--out", "new"], "prepare is not done"),
        (["run", "tiny.yaml", "--out", "."], "holds other files"),
        (["run", "tiny.yaml", "--model.d-model", "16"], "model.d_model was 32, now 16"),
        (["recommend", "runs/tiny", "--history", "i001", "--k", "21"], "the beam width, 20"),
        (["train", "runs/tiny", "--distributed"], "no other processes to train with"),
        (["train", "runs/tiny", "--model.user-tokens", "9"], "goes with model.encoder bidirect"),
    ],
)
def test_a_mistake_is_one_line_and_status_2_and_changes_nothing(finished, arguments, complaint):
    folder = finished[0]
    before = (folder / "runs/tiny/manifest.json").read_bytes()
    stderr = command(folder, *arguments, status=2).stderr
    assert complaint in stderr
    assert stderr.startswith("genrec: ")
    assert stderr.count("\n") == 1
    assert (folder / "runs/tiny/manifest.json").read_bytes() == before
    assert not (folder / "new/dataset").exists()


def test_files_that_are_not_those_of_the_training_are_not_evaluated(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished[0] / "runs/tiny", run)
    config = genrec.load_config(run / "config.yaml")
    ids = pq.read_table(run / "tokenizer/semantic_ids.parquet")
    pq.write_table(
        ids.take(list(range(ids.num_rows))[::-1]), run / "tokenizer/semantic_ids.parquet"
    )
    with pytest.raises(UserError, match=r"tokenizer was changed since; run `genrec tokenize"):
        genrec.run_stage("evaluate", config, run)
    with pytest.raises(UserError, match=r"tokenizer was changed since; run `genrec tokenize"):
        genrec.load_run(run)


def test_a_model_of_another_dataset_is_not_evaluated(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    with (tmp_path / "log.csv").open("a", newline="") as log:
        csv.writer(log).writerows(["u1", f"i00{n}", f"99999{n}"] for n in range(3))
    run = tmp_path / "runs/tiny"
    config = genrec.load_config(
        run / "config.yaml",
        f"data.interactions={tmp_path / 'log.csv'}",
        f"data.items={tmp_path / 'items.csv'}",
    )
    (run / "checkpoints").rename(tmp_path / "checkpoints")  # or the other path is refused
    genrec.run_stage("prepare", config, run)
    (tmp_path / "checkpoints").rename(run / "checkpoints")
    with pytest.raises(UserError, match="prepare was done again after embed"):
        genrec.load_run(run)


def test_importing_genrec_is_cheap():
    code = "import sys, genrec; print([m for m in ('jax', 'numpy', 'tyro') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
