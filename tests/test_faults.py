"""Kills, full disks, lost files, other processes and clocks: a run ends as if nothing had been."""

import contextlib
import errno
import gc
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import genrec
from genrec.bundle import load_bundle
from genrec.bundle.storage import read_bundle, write_bundle
from genrec.errors import UserError, lacking
from genrec.pipeline import run_stage
from genrec.pipeline.runner import MAKE
from genrec.runs.folder import STAGES, claimed, config_of
from genrec.storage.files import sha256
from genrec.training.monitor import Monitor
from lock_holder import other_process

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def run(tiny_run, tmp_path):
    """A finished run of its own."""
    return shutil.copytree(tiny_run, tmp_path / "run")


def tree(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def before(run, name):
    """Makes a run what it was before a stage."""
    manifest = json.loads((run / "manifest.json").read_text())
    for stage in list(STAGES)[list(STAGES).index(name) :]:
        del manifest["stages"][stage]
        for output in STAGES[stage].outputs:
            path = run / output
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (run / "manifest.json").write_text(json.dumps(manifest))


def results(run, name):
    """What must come out the same of a stage: bytes, or of a training the arrays and metrics."""
    if name == "train":
        found = sorted(run.glob("checkpoints/*/about.json"))
        about = [json.loads(path.read_text()) for path in found]
        return [(each["arrays"], each["position"], each["metrics"]) for each in about]
    if name == "tokenize":  # the parameters' files hold the time
        names = ("tokenizer/semantic_ids.parquet", "tokenizer/health.json")
        return [sha256(run / each) for each in names]
    told = {"decoding_cost.json": None, "report.html": None}
    return {out: told.get(out, sha256(run / out)) for out in STAGES[name].outputs}


@contextlib.contextmanager
def files_no_longer_than(size):
    """Writing beyond it fails as on a full disk, though with another number."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before, cached = resource.getrlimit(resource.RLIMIT_FSIZE), getattr(jax.config, name)
    jax.config.update(name, 1e9)  # or half of what is compiled would stay in the tests' cache
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        jax.config.update(name, cached)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", STAGES)
def test_a_stage_that_has_no_room_says_so_and_ends_the_same_when_there_is(run, tiny_run, name):
    before(run, name)
    config = config_of(run)
    for size in (100, 10_000):
        there = tree(run).keys()
        try:
            with files_no_longer_than(size):
                run_stage(name, config, run)
            break
        except UserError as error:
            assert os.strerror(errno.EFBIG) in str(error)
        except Exception as error:
            assert "the disk is full" in (lacking(error) or repr(error))
        gc.collect()  # what Orbax began and could not end complains when it goes
        new = {path for path in tree(run).keys() - there if "/checkpoints/" not in path}
        # TensorStore's threads may write for a moment after the failure: the next stage sweeps it.
        mine = {path for path in new if ".orbax-checkpoint-tmp/" not in path}
        assert not {path for path in mine if "/." in path or ".tmp" in path}
    run_stage(name, config, run)
    assert not [path for path in tree(run) if ".tmp" in path]
    assert results(run, name) == results(tiny_run, name)


WRITING = [
    ["run"], ["train"], ["evaluate"], ["tokenize"],
    ["tokenize", "--append", "new.csv"], ["tokenize", "--remove", "i003"],
]  # fmt: skip
READING = [
    ["recommend", "{run}", "--history", "i001", "--k", "3"],
    ["tokenize", "{run}", "--show"],
    ["compare", "{run}", "{run}"],
    ["report", "{run}", "--out", "{run}/../page.html"],
]


def test_a_second_process_is_refused_if_it_writes_and_goes_on_if_it_reads(run, command):
    there = tree(run)
    (run.parent / "new.csv").write_text("item_id,title,genre\nn1,New,genre1\n")
    with other_process(run) as other:
        for name, *flags in WRITING:
            flags = [str(run.parent / flag) if flag == "new.csv" else flag for flag in flags]
            _, complaints = command(name, str(run), *flags, status=2)
            (line,) = complaints
            assert f"run is in use by genrec train (pid {other.pid} on " in line
        for arguments in READING:
            command(*(each.format(run=run) for each in arguments))
        assert {**tree(run), str(run / ".lock"): b""} == {**there, str(run / ".lock"): b""}
        # Of several that train together, only the first one has the lock.
        assert run_stage("train", config_of(run), run, leads=False).skipped


def test_who_needs_what_another_process_is_making_is_told_so(run, command):
    before(run, "train")
    with other_process(run) as other:
        _, complaints = command("recommend", str(run), "--history", "i001", status=2)
    assert f"train is not done; wait for genrec train (pid {other.pid} on " in complaints[0]
    _, complaints = command("recommend", str(run), "--history", "i001", status=2)
    assert "train is not done; run `genrec train" in complaints[0]


def test_two_do_not_change_one_bundle_at_a_time(tiny_bundle, tmp_path, command):
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    there = tree(folder)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_BUNDLE, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        _, (line,) = command("update", str(folder), "--remove", "i003", status=2)
        assert f"bundle is in use by genrec update (pid {other.pid} on " in line
        assert tree(folder) == there
        load_bundle(folder)
        other.communicate("")
    command("update", str(folder), "--remove", "i003")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


HOLD_BUNDLE = """
import sys
from genrec.bundle.storage import changing

with changing(sys.argv[1], "genrec update"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_bundle_that_is_replaced_while_it_is_read_is_read_again(
    tiny_bundle, tmp_path, monkeypatch
):
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    manifest, contents = read_bundle(folder)
    changed = {**contents, "weights.safetensors": contents["weights.safetensors"] + b" "}
    whole, reads = Path.read_bytes, []

    def read(path):
        reads.append(path)
        if len(reads) == 3:  # when two files of the old one have been read
            write_bundle(folder, manifest, changed)
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    now, found = read_bundle(folder)
    assert found == changed
    assert now["checksum"] != manifest["checksum"]


def test_a_finished_run_may_be_read_only(run, command, monkeypatch):
    def refuse(path, flags, *rest, **how):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, flags, *rest, **how)

    there, opened = tree(run), os.open
    with monkeypatch.context() as patch:
        patch.setattr("genrec.storage.lock.os.open", refuse)
        for name in STAGES:
            assert run_stage(name, config_of(run), run).skipped
        command("recommend", str(run), "--history", "i001", "--k", "3")
        changed = genrec.load_config(run / "config.yaml", "decoding.beam=19")
        for attempt in (
            lambda: run_stage("evaluate", changed, run),
            lambda: genrec.run(changed, run),
        ):
            with pytest.raises(UserError, match="run cannot be written: change its permissions"):
                attempt()
        _, (line,) = command("tokenize", str(run), "--remove", "i003", status=2)
        assert "run cannot be written" in line
    assert tree(run) == there


def test_what_a_kill_leaves_is_removed_and_what_a_user_keeps_there_is_not(run):
    pid = os.getpid()
    ours = [".dataset.77.tmp/x", ".manifest.json.77.tmp", ".spill.abc.77.tmp/x", ".lock"]
    users = [".notes.77.tmp", "dataset.77.tmp", f".lists.parquet.{pid}.tmp", ".dataset.tmp"]
    for name in ours + users:
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("")
    with claimed(run, "genrec run"):
        left = {path.name for path in run.iterdir()}
    assert left >= set(users)
    assert not left & {".dataset.77.tmp", ".manifest.json.77.tmp", ".spill.abc.77.tmp"}
    assert not (run / ".lock").exists()


def test_a_run_that_was_killed_in_its_first_moment_is_begun_again(tiny_run, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in (".lock", ".config.yaml.77.tmp"):
        (folder / name).write_text("")
    assert not run_stage("prepare", config_of(tiny_run), folder).skipped
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "manifest.json", "dataset"}


@pytest.mark.parametrize("lost", ["log.csv", "items.csv"])
def test_input_that_has_gone_is_missed_by_the_stage_that_reads_it_alone(
    tiny_run, tmp_path, command, lost
):
    for name in ("log.csv", "items.csv"):
        shutil.copy(tiny_run.parent / name, tmp_path)
    places = [f"data.{k}={tmp_path / v}" for k, v in
              (("interactions", "log.csv"), ("items", "items.csv"))]  # fmt: skip
    config, run = genrec.load_config(tiny_run / "config.yaml", *places), tmp_path / "run"
    run_stage("prepare", config, run)
    (tmp_path / lost).unlink()
    run_stage("embed", config, run)
    _, (line,) = command("run", str(run), status=2)
    assert line == f"genrec: {tmp_path / lost} does not exist"
    shutil.copy(tiny_run.parent / lost, tmp_path)
    assert run_stage("prepare", config, run).skipped
    (run / "embeddings.npy").unlink()
    with pytest.raises(UserError, match=r"embeddings.npy is missing; run `genrec embed"):
        run_stage("tokenize", config, run)


def test_a_file_that_goes_while_a_stage_works_is_named(run, command, monkeypatch):
    before(run, "report")
    write = MAKE["report"]

    def make(*task):
        (run / "metrics.json").unlink()  # it was there when the stage began
        return write(*task)

    monkeypatch.setitem(MAKE, "report", make)
    _, (line,) = command("report", str(run), status=2)
    assert f"{run / 'metrics.json'} does not exist; run genrec evaluate again" in line


def test_a_run_that_is_deleted_while_it_trains_is_not_called_done(run, monkeypatch):
    before(run, "train")
    log = Monitor.validated

    def validated(watch, found):
        shutil.rmtree(run)
        log(watch, found)

    monkeypatch.setattr(Monitor, "validated", validated)
    with pytest.raises(UserError, match="run was deleted while train was at work: delete what is"):
        run_stage("train", config_of(run), run)
    assert not (run / "manifest.json").exists()


def test_a_clock_that_jumps_while_a_stage_works_changes_nothing(run, tiny_run, monkeypatch):
    rng, clock, ahead = random.Random(0), time.time, 0.0

    def jumping():
        return clock() + ahead

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(time, "time_ns", lambda: int(jumping() * 1e9))
    before(run, "tokenize")
    jumps = [1e8, -1e9, 3600, -3600, 1e8, -3600]
    for name, jump in zip(list(STAGES)[2:], jumps, strict=True):

        def make(*task, made=MAKE[name], jump=jump):
            nonlocal ahead
            ahead = jump
            return made(*task)

        monkeypatch.setitem(MAKE, name, make)
        for path in run.rglob("*"):
            os.utime(path, (jumping(), clock() + rng.choice([-1e9, 1e8])))
        outcome = run_stage(name, config_of(run), run)
        assert not outcome.skipped
        assert outcome.seconds >= 0
        assert results(run, name) == results(tiny_run, name)
    entries = json.loads((run / "manifest.json").read_text())["stages"]
    assert all(entry["seconds"] >= 0 for entry in entries.values())


@pytest.mark.soak
def test_stages_that_are_killed_end_as_if_they_had_not_been(tmp_path):
    """A dozen kills of two stages; `python tools/kill_stages.py` has all of them, and hundreds."""
    out = tmp_path / "kills.json"
    command = [sys.executable, str(REPOSITORY / "tools/kill_stages.py"), "--kills", "12"]
    subprocess.run([*command, "--stages", "prepare", "embed", "--json", str(out)], check=True)
    found = json.loads(out.read_text())
    assert found["kills"] == 12
    for row in found["stages"].values():
        assert (row["kills"], row["differing"], row["errors"]) == (6, 0, 0)


def test_an_array_is_written_as_numpy_does(tmp_path):
    from genrec.storage.npy import save_array

    for array in (np.arange(6.0).reshape(2, 3).T, np.zeros((0, 4), np.float32), np.arange(3)):
        save_array(tmp_path / "ours.npy", array)
        np.save(tmp_path / "theirs.npy", np.ascontiguousarray(array))
        assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()
