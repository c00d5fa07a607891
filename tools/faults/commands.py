"""Commands on a tiny data set, as forks, for `kill_stages.py` and `fail_stages.py` to disturb."""

import codecs
import csv
import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow.parquet as pq
import yaml

# All that the commands import, before any of it has started a thread.
import genrec.cli.main
import genrec.data
import genrec.evaluation.examples
import genrec.export
import genrec.pipeline
import genrec.runs.catalog_updates
import genrec.tokenizer
from genrec.bundle.storage import read_bundle
from genrec.checkpoints.sidecar import Damaged, check_files, read_about
from genrec.errors import UserError
from genrec.runs.manifest import disturbed, read_manifest
from genrec.storage.files import sha256

COMMANDS = {
    "prepare": ["prepare", "../data/tiny.yaml", "--out", "run"],
    "embed": ["embed", "run"],
    "tokenize": ["tokenize", "run"],
    "train": ["train", "run"],
    "graph": ["graph", "run"],
    "fuse": ["fuse", "run"],
    "evaluate": ["evaluate", "run"],
    "report": ["report", "run"],
    "append": ["tokenize", "run", "--append", "../data/new.csv"],
    "remove": ["tokenize", "run", "--remove", "i003", "Film 7"],
    "export": ["export", "run", "--out", "bundle"],
    "export again": ["export", "run", "--out", "bundle", "--decoding.beam", "10"],
    "update": ["update", "bundle", "--append", "../data/more.csv", "--vectors", "../data/more.npy"],
    "update --remove": ["update", "bundle", "--remove", "i004", "i005"],
}
"""In order; each is called in a folder that holds run/ and bundle/."""

SETTINGS = """
data: {interactions: log.csv, items: items.csv, text: "{title}, {genre}", k_core: 2}
embedding: {dim: 16}
tokenizer: {codebook_sizes: [8, 8], latent_dim: 8, hidden: [16], steps: 1600, batch_size: 64}
model: {d_model: 32, heads: 2, d_ff: 64, encoder_layers: 1, dropout: 0.1, max_history: 12}
training: {epochs: 16, rows: 8, row_length: 24, validate_every: 4, checkpoint_every: 5}
decoding: {beam: 20, batch_size: 64}
"""
USERS, ITEMS = 150, 40
codecs.lookup("utf-8-sig")  # or it is imported by whoever reads a table, and may not read Python


def undisturbed(folder: Path, stages: Sequence[str]) -> dict[str, tuple[float, int]]:
    """Runs all commands up to the last of these, and keeps what each finds and leaves.

    Twice, so that the second time all is compiled, as it is for those that are disturbed.

    Args:
        folder: gets data/, life/, and before/ and after/ with a folder for each command.

    Returns:
        Of each command, how long it takes and how often it changes files.
    """
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    warnings.filterwarnings("ignore", "os.fork")  # no thread has been started here
    write_data(folder / "data")
    last = max(list(COMMANDS).index(stage) for stage in stages)
    took = {}
    for _ in range(2):
        for name in ("before", "after", "life"):
            shutil.rmtree(folder / name, ignore_errors=True)
        life = folder / "life"
        life.mkdir()
        for name in list(COMMANDS)[: last + 1]:
            shutil.copytree(life, folder / "before" / name)
            began = time.perf_counter()
            status, output, operations = spawn(COMMANDS[name], life).wait()
            took[name] = time.perf_counter() - began, operations
            if status != 0:
                sys.exit(f"{name} failed undisturbed: {output}")
            if bad := torn(life):
                sys.exit(f"{name} leaves what is not whole: {bad}")
            shutil.copytree(life, folder / "after" / name)
    # JAX does not write its cache atomically: one that is killed there would leave half of a file.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1e9)
    return took


def begin_life(folder: Path, stage: str) -> Path:
    """A copy of what a command finds."""
    life = folder / "life"
    shutil.rmtree(life)
    return shutil.copytree(folder / "before" / stage, life)


def write_data(folder: Path) -> None:
    """A log in which users go round the items, new items, and settings."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    titles = {
        "items": [(f"i{n:03}", f"Film {n}", f"genre{n % 5}") for n in range(ITEMS)],
        "new": [(f"n{n}", f"New film {n}", f"genre{n % 5}") for n in range(3)],
        "more": [(f"m{n}", f"More film {n}", f"genre{n % 5}") for n in range(4)],
    }
    for name, rows in titles.items():
        _write_csv(folder / f"{name}.csv", ("item_id", "title", "genre"), rows)
    np.save(folder / "more.npy", rng.normal(size=(4, 16)).astype(np.float32))
    events = [
        (f"u{user}", f"i{(7 * start + 3 * step) % ITEMS:03}", 1000 * user + step)
        for user, start in enumerate(rng.integers(0, ITEMS, USERS))
        for step in range(int(rng.integers(6, 14)))
    ]
    _write_csv(folder / "log.csv", ("user_id", "item_id", "timestamp"), events)
    settings = yaml.safe_load(SETTINGS)
    for name in ("interactions", "items"):
        settings["data"][name] = str(folder / settings["data"][name])
    (folder / "tiny.yaml").write_text(yaml.safe_dump(settings))


def _write_csv(file: Path, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([head, *rows])


@dataclass(frozen=True)
class Process:
    """A command that runs."""

    pid: int
    pipe: int

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> tuple[int, str, int]:
        """Its exit status, below 0 if a signal ended it; what it said; how often it changed files.

        The last is 0 if a signal ended it.
        """
        with os.fdopen(self.pipe, "rb") as stream:
            output, _, operations = stream.read().decode(errors="replace").partition("\0")
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status), output, int(operations or 0)


def spawn(
    arguments: Sequence[str],
    folder: Path,
    *,
    kill_at: int | None = None,
    begin: Callable[[], object] = lambda: None,
) -> Process:
    """Starts `genrec` in a folder.

    Args:
        kill_at: it kills itself before it changes files that time, counted from 1.
        begin: what it does before anything else.
    """
    assert threading.active_count() == 1, "a thread would not live on in the fork"
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        return Process(pid, ours)
    status = 1
    try:
        os.chdir(folder)
        for stream in (1, 2):
            os.dup2(theirs, stream)
        begin()
        operations = _count(folder, kill_at)
        sys.argv = ["genrec", *arguments]
        try:
            genrec.cli.main.main()
            status = 0
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BaseException:
            traceback.print_exc()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.write(theirs, f"\0{operations()}".encode())
    finally:
        os._exit(status)


_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree"}


def _count(folder: Path, kill_at: int | None) -> Any:
    """Counts how often files in a folder change, and kills this process before a certain time."""
    done = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal done
        writes = event == "open" and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if not writes and event not in _CHANGES:
            return
        if not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        if folder not in (folder / os.fsdecode(arguments[0])).parents:
            return
        done += 1
        if done == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return lambda: done


def checkpointed(life: Path, stage: str) -> bool:
    """Whether the stage, begun now, has something to go on from."""
    pattern = {"train": "run/checkpoints/*", "tokenize": "run/.tokenizer/*/*"}.get(stage)
    return pattern is not None and any(path.name.isdigit() for path in life.glob(pattern))


def torn(life: Path) -> str | None:
    """Which of the files that are in place is not whole; None if all are."""
    name = Path()
    try:
        for name in _in_place(life):
            _parse(life / name)
        for name in _checkpoints(life):
            about = read_about(life / name)
            parts = {key.split("/")[0] for key in about["files"]}
            check_files(life / name, about["files"], parts)
        name = Path("run")
        for stage, entry in read_manifest(life / "run").items():
            if wrong := disturbed(life / "run", entry):
                return f"{stage}: {wrong}"
        name = Path("bundle")
        if (life / "bundle").exists():
            read_bundle(life / "bundle")
    except (OSError, ValueError, KeyError, Damaged, UserError, yaml.YAMLError) as error:
        return f"{name}: {error}"
    return None


def _parse(file: Path) -> None:
    if file.suffix == ".json":
        json.loads(file.read_text())
    elif file.suffix == ".yaml":
        yaml.safe_load(file.read_text())
    elif file.suffix == ".npy":
        np.load(file)
    elif file.suffix == ".parquet":
        pq.read_table(file, use_threads=False, pre_buffer=False)
    elif file.suffix == ".html" and not file.read_text().rstrip().endswith("</html>"):
        raise ValueError("it has no end")


def contents(life: Path) -> dict[str, Any]:
    """What is compared: the SHA-256 of every file by its name, but for what holds times.

    Of the manifest, each stage's settings, seed, and the names of what it read and wrote; of
    metrics.jsonl, all but the speed; of a checkpoint, what it says of itself: settings, position,
    metrics and a checksum of every array (Orbax names its files at random). What is written for
    TensorBoard and how fast decoding was are left out, and the tokenizer's parameters, of which
    its semantic IDs and its health are made.
    """
    state: dict[str, Any] = {}
    for name in _in_place(life, hidden=True):
        if name.name == "decoding_cost.json" or "tensorboard" in name.parts:
            continue
        if name.parts[1:3] == ("tokenizer", "parameters"):
            continue
        file, text = life / name, str(name)
        if name == Path("run/manifest.json"):
            for stage, entry in read_manifest(life / "run").items():
                names = sorted(entry["inputs"]), sorted(entry["outputs"])
                state[f"{text} {stage}"] = entry["config"], entry["seed"], names
        elif name == Path("run/metrics.jsonl"):
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            state[text] = [{**line, "targets_per_second": None} for line in lines]
        else:
            state[text] = sha256(file)
    state["checkpoints"] = sorted(path.name for path in life.glob("run/checkpoints/*"))
    for name in _checkpoints(life):
        about = read_about(life / name)
        state[str(name)] = {key: about[key] for key in ("position", "metrics", "arrays")}
    return state


def _in_place(life: Path, hidden: bool = False) -> list[Path]:
    """The files but those of checkpoints; hidden ones are what is being written."""
    names = [path.relative_to(life) for path in sorted(life.rglob("*")) if path.is_file()]
    return [
        name
        for name in names
        if not ("checkpoints" in name.parts and len(name.parts) > 3)
        and (hidden or not any(part.startswith(".") for part in name.parts))
    ]


def _checkpoints(life: Path) -> list[Path]:
    paths = (path.relative_to(life) for path in life.glob("run/checkpoints/*"))
    return sorted(name for name in paths if name.name.isdigit())
