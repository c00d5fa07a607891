import errno
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from genrec.checkpoints.checksum import checksums
from genrec.checkpoints.sidecar import read_about, write_about
from genrec.checkpoints.store import SCHEMA, Checkpoints
from genrec.errors import UserError

IDENTITY = {"seed": 0, "model.d_model": 64, "dataset": "3fa1" * 16}
POSITION = {"epoch": 3, "batch": 17, "loss": 0.1 + 0.2, "sums": [5e-324, -0.0, 1.7e308, 1 / 3]}
REPOSITORY = Path(__file__).parents[2]


def make_state(seed=0, rows=64):
    """Every sort of array that a training may hold, too random to be compressed."""
    bits = np.random.default_rng(seed).integers(0, 256, (rows, 64), np.uint8)
    params = {
        "table": jnp.asarray(bits.view(np.float32)),  # some are NaN with a payload
        "bias": jnp.asarray(bits[0], jnp.bfloat16),
        "half": jnp.asarray(bits[1].view(np.float16)),
        "mask": jnp.asarray(bits[2] > 128),
        "bytes": jnp.asarray(bits[3:5]),
        "small": jnp.asarray(bits[5].view(np.int8)),
        "scale": jnp.float32(-0.0),
    }
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
    weights = {name: params[name] for name in ("table", "scale")}
    return {"step": jnp.int32(seed), "params": params, "optimizer": optimizer.init(weights)}


def same(a, b):
    """Whether two trees hold the same bits, so that NaN is equal to itself."""
    pairs = list(zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        isinstance(x, jax.Array) and x.dtype == y.dtype and x.shape == y.shape
        and np.asarray(x).tobytes() == np.asarray(y).tobytes()
        for x, y in pairs
    )  # fmt: skip


def shapes(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def fill(folder, scores, identity=IDENTITY):
    """Checkpoints 10, 20, … with a score each."""
    with Checkpoints(folder, identity) as checkpoints:
        for number, score in enumerate(scores, start=1):
            metrics = None if score is None else {"ndcg@10": score}
            checkpoints.save(10 * number, make_state(number), POSITION, metrics)


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A folder with checkpoints 10 and 20, which is the best; not to be changed."""
    folder = tmp_path_factory.mktemp("two")
    fill(folder, [0.1, 0.2])
    return folder


def test_what_was_saved_comes_back_to_the_bit(two):
    with Checkpoints(two, IDENTITY) as checkpoints:
        assert checkpoints.latest == 20
        state, position = checkpoints.restore(20, shapes(make_state()))
    assert same(state, make_state(2))
    assert position == POSITION
    assert str(position) == str(POSITION)  # -0.0 equals 0.0


def test_a_part_can_be_restored_alone(two):
    with Checkpoints(two) as checkpoints:
        state, _ = checkpoints.restore(10, {"params": make_state()["params"]})
    assert same(state, {"params": make_state(1)["params"]})


def test_the_best_and_the_latest_two_are_kept(tmp_path):
    fill(tmp_path, [0.1, 0.5, None, 0.5, 0.3, None])
    assert names(tmp_path) == {"20", "50", "60"}
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.best == 20
        assert checkpoints.latest == 60


def test_what_is_being_written_is_waited_for_when_asked(tmp_path):
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        assert checkpoints.latest is None
        checkpoints.save(1, make_state(1), POSITION, {"ndcg@10": 0.1})
        assert checkpoints.latest == 1
        checkpoints.save(2, make_state(2), POSITION, {"ndcg@10": 0.2})
        assert checkpoints.best == 2
        checkpoints.save(3, make_state(3), POSITION, None)
        assert same(checkpoints.restore(3, make_state())[0], make_state(3))


def test_a_checkpoint_is_replaced_when_its_validation_is_done(tmp_path):
    fill(tmp_path, [0.1, 0.3, None])
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        checkpoints.save(30, make_state(3), POSITION, {"ndcg@10": 0.4})
        assert checkpoints.best == 30
        assert same(checkpoints.restore(30, make_state())[0], make_state(3))
        assert names(tmp_path) == {"20", "30"}


def test_the_state_may_be_donated_as_soon_as_it_is_saved(tmp_path):
    step = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    state = {"params": [jnp.zeros((1000, 1000)) for _ in range(4)]}
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        for number in range(4):
            checkpoints.save(number, state, {}, None)
            for _ in range(3):
                state = step(state)
        for number in (2, 3):
            restored, _ = checkpoints.restore(number, state)
            assert all((np.asarray(x) == 3 * number).all() for x in jax.tree.leaves(restored))


def test_weights_that_were_never_trained_are_not_read(tmp_path):
    with Checkpoints(tmp_path / "none") as checkpoints:
        assert checkpoints.latest is None
        with pytest.raises(UserError, match="no validated checkpoint: train first"):
            _ = checkpoints.best
        with pytest.raises(UserError, match="holds no checkpoint 7"):
            checkpoints.restore(7, {})
    assert names(tmp_path) == set()  # reading makes no folder


@pytest.mark.parametrize(
    "changed, said",
    [
        ({**IDENTITY, "seed": 1}, "(seed was 0, now 1)"),
        (
            {"seed": 0, "dataset": "99ab" * 16},
            "(dataset was 3fa13fa1…, now 99ab99ab…; model.d_model was 64, now absent)",
        ),
        ({**IDENTITY, "kind": "x\ny"}, "(kind was absent, now x y)"),
        ({f"k{i}": [i] for i in range(9)}, "k3 was absent, now [3]; and 7 more)"),
        ({**IDENTITY, "path": "/a" * 99}, "(path was absent, now /a/a/a/a/a"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(two, changed, said):
    with Checkpoints(two, changed) as checkpoints, pytest.raises(UserError) as error:
        # Its arrays differ as well, which says less.
        checkpoints.restore(20, {"params": {}, "step": jnp.zeros(7)})
    message = str(error.value)
    assert message.startswith(f"{two}/20 was made with other settings or data (")
    assert said in message
    assert message.endswith("): choose another folder with --out, or delete its checkpoints")
    assert "\n" not in message


@pytest.mark.parametrize(
    "like, said",
    [
        ({"step": jnp.zeros(5)}, "(step was int32[], now float32[5])"),
        ({"params": {"table": jnp.zeros((64, 16))}}, "params/scale was float32[], now absent"),
        ({"average": jnp.zeros(2)}, "(average was absent, now float32[2])"),
    ],
)
def test_arrays_of_another_model_are_refused(two, like, said):
    with Checkpoints(two) as checkpoints, pytest.raises(UserError, match="other settings") as error:
        checkpoints.restore(20, like)
    assert said in str(error.value)


def test_another_schema_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("genrec.checkpoints.store.SCHEMA", SCHEMA + 1)
    fill(tmp_path, [0.1])
    monkeypatch.undo()
    with Checkpoints(tmp_path) as checkpoints:
        for read in (lambda: checkpoints.best, lambda: checkpoints.restore(10, make_state())):
            with pytest.raises(UserError, match=f"has format {SCHEMA + 1}, .* reads {SCHEMA}:"):
                read()


def flipped(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "delete"])
def test_every_damaged_file_is_noticed(two, tmp_path, damage):
    folder = Path(shutil.copytree(two, tmp_path / "copy"))
    files = sorted(path for path in (folder / "20").rglob("*") if path.is_file())
    assert len(files) > 15
    for file in files:
        good = file.read_bytes()
        if damage == "delete":
            file.unlink()
        else:
            bad = {"flip": flipped(good) if good else b"x", "truncate": good[: len(good) // 2]}
            file.write_bytes(bad.get(damage, b""))
            if file.read_bytes() == good:  # it was empty before
                continue
        with Checkpoints(folder) as checkpoints:
            assert checkpoints.latest == 20
            with pytest.raises(UserError) as error:
                checkpoints.restore(20, make_state())
            name = file.relative_to(folder / "20")
            assert re.fullmatch(
                rf"{folder}/20 is damaged \({name} is [a-z ]+\): "
                "delete that folder, and the same command goes on from checkpoint 10",
                str(error.value),
            )
            assert same(checkpoints.restore(10, make_state())[0], make_state(1))
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(good)
    with Checkpoints(folder) as checkpoints:
        assert same(checkpoints.restore(20, make_state())[0], make_state(2))


def test_other_values_than_were_saved_are_noticed_even_in_whole_files(two, tmp_path):
    folder = Path(shutil.copytree(two / "20", tmp_path / "20"))
    data = max((path for path in folder.rglob("*") if path.is_file()), key=os.path.getsize)
    data.write_bytes(flipped(data.read_bytes()))
    about = read_about(folder)
    del about["files"]
    (folder / "about.json").unlink()
    write_about(folder, about)
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError) as error:
        checkpoints.restore(20, make_state())
    assert "20 is damaged (" in str(error.value)
    assert " has other values than were saved): delete that folder" in str(error.value)
    assert str(error.value).endswith("the same command starts anew")


def test_what_the_system_does_not_let_be_read_is_not_called_damaged(two, monkeypatch):
    def refuse(*_):
        try:
            raise PermissionError(errno.EACCES, "no")
        except PermissionError as error:
            raise KeyError("pages of text\nand more") from error

    monkeypatch.setattr("orbax.checkpoint.v1.load_checkpointables", refuse)
    with Checkpoints(two) as checkpoints, pytest.raises(UserError) as error:
        checkpoints.restore(20, make_state())
    assert str(error.value) == f"{two}/20 cannot be read: Permission denied"


def test_what_the_machine_lacks_is_not_blamed_on_the_checkpoint(two, monkeypatch):
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("orbax.checkpoint.v1.load_checkpointables", refuse)
    with Checkpoints(two) as checkpoints, pytest.raises(UserError) as error:
        checkpoints.restore(20, make_state())
    assert "20 cannot be read: no more threads can be started: close other" in str(error.value)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "3", '{"sha256": 1}', "\x00\x01", "\xff"])
def test_garbage_in_the_folder_is_reported_or_ignored(two, tmp_path, text):
    folder = Path(shutil.copytree(two, tmp_path / "copy"))
    for name in ("notes", "007", "-1", "1.5"):
        (folder / name).mkdir()
    (folder / "30").write_text("a file")
    with Checkpoints(folder, IDENTITY) as checkpoints:
        assert (checkpoints.latest, checkpoints.best) == (20, 20)
    (folder / "40").mkdir()
    if text is not None:
        (folder / "40" / "about.json").write_text(text, encoding="latin-1")
    with Checkpoints(folder, IDENTITY) as checkpoints:
        assert checkpoints.latest == 40
        for read in (lambda: checkpoints.best, lambda: checkpoints.restore(40, make_state())):
            with pytest.raises(UserError, match=r"40 is damaged \(about.json is .*checkpoint 20$"):
                read()
        checkpoints.save(50, make_state(5), POSITION, None)
    # What no training has made is not deleted.
    assert names(folder) == {"20", "30", "40", "50", "notes", "007", "-1", "1.5"}


@pytest.mark.parametrize(
    "change",
    [
        {"schema": None},
        {"schema": [1]},
        {"identity": []},
        {"position": 5},
        {"arrays": None},
        {"arrays": {"step": 5}},
        {"arrays": {"step": ""}},
        {"files": ["x"]},
        {"files": {"x": 5}},
        {"files": {"../20/about.json": "x"}},
        {"files": {"/dev/zero": "x"}},
        {"files": {"params/../../x": "x"}},
        {"metrics": {}},
        {"metrics": "good"},
        {"metrics": {"ndcg@10": "0.5"}},
        {"metrics": {"ndcg@10": 1e300}},
        {},
    ],
)
def test_what_somebody_wrote_into_about_json_is_not_believed(two, tmp_path, change):
    """With a checksum that is right: who can write the file can write that too."""
    folder = shutil.copytree(two, tmp_path / "copy")
    about = read_about(folder / "20") | change
    if not change:
        del about["metrics"], about["files"]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    (folder / "20/about.json").write_text(json.dumps(about | {"sha256": digest}))
    with Checkpoints(folder) as checkpoints:
        with pytest.raises(UserError, match=r"20 (is damaged|has format)"):
            _ = checkpoints.best
        with pytest.raises(UserError, match=r"20 (is damaged|has format)"):
            checkpoints.restore(20, shapes(make_state()))
        assert checkpoints.restore(10, shapes(make_state()))[1] == POSITION


def test_a_pipe_in_a_files_place_is_not_waited_for(two, tmp_path):
    folder = shutil.copytree(two, tmp_path / "copy")
    name = next(name for name in read_about(folder / "20")["files"] if name.startswith("params/"))
    (folder / "20" / name).unlink()
    os.mkfifo(folder / "20" / name)
    with (
        Checkpoints(folder, IDENTITY) as checkpoints,
        pytest.raises(UserError, match=r"20 is damaged \(.* is not what was written\)"),
    ):
        checkpoints.restore(20, shapes(make_state()))


def test_what_a_kill_leaves_is_cleaned_by_a_training_and_not_by_a_reader(two, tmp_path):
    folder = Path(shutil.copytree(two, tmp_path / "copy"))
    for name in ("20.old.tmp", "30.tmp", "40.tmp.orbax-checkpoint-tmp"):
        (folder / name / "params").mkdir(parents=True)
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.latest == 20
    assert len(names(folder)) == 5
    with Checkpoints(folder, IDENTITY) as checkpoints:
        assert checkpoints.latest == 20
    assert names(folder) == {"10", "20"}


def test_a_kill_before_the_oldest_is_deleted_leaves_no_more_in_the_end(tmp_path, monkeypatch):
    with monkeypatch.context() as killed:
        killed.setattr(Checkpoints, "_prune", lambda _: None)
        fill(tmp_path, [0.2, 0.1, None, 0.1])
    assert names(tmp_path) == {"10", "20", "30", "40"}
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest == 40
    assert names(tmp_path) == {"10", "20", "30", "40"}  # one that only reads deletes nothing
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        assert checkpoints.latest == 40  # all is done: nothing more is written
    assert names(tmp_path) == {"10", "30", "40"}


def test_a_checkpoint_that_goes_while_it_is_read_is_not_called_damaged(two, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(two, tmp_path / "copy"))

    def delete(place, *_):
        shutil.rmtree(place)
        raise FileNotFoundError

    monkeypatch.setattr("genrec.checkpoints.store.check_files", delete)
    with Checkpoints(folder) as checkpoints:
        with pytest.raises(UserError, match="holds no checkpoint 10: run the command again"):
            checkpoints.restore(10, make_state())
        assert checkpoints.best == 20


def test_parts_without_arrays_are_kept_too(tmp_path):
    state = {"params": {"w": jnp.ones(3)}, "optimizer": optax.identity().init(jnp.ones(3))}
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        checkpoints.save(1, state, {}, None)
        assert same(checkpoints.restore(1, state)[0], state)


def test_an_error_in_the_body_is_not_masked_by_that_of_a_write(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("genrec.checkpoints.store.write_about", full)
    with pytest.raises(ZeroDivisionError) as error, Checkpoints(tmp_path, IDENTITY) as checkpoints:
        checkpoints.save(1, make_state(), POSITION, None)
        _ = 1 / 0
    assert error.value.__notes__ == ["Checkpoint 1 is not written: No space left on device"]
    assert error.value.__context__ is None


@pytest.mark.parametrize(
    "code, remedy",
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EROFS, "mend that"),
    ],
)
def test_a_write_that_the_system_refuses_is_reported(two, tmp_path, monkeypatch, code, remedy):
    def refuse(*_):
        raise OSError(code, "")

    folder = Path(shutil.copytree(two, tmp_path / "copy"))
    said = (
        f"{folder}: checkpoint 30 could not be written ({os.strerror(code)}): "
        f"{remedy}, and the same command goes on from checkpoint 20"
    )
    with monkeypatch.context() as patch:
        patch.setattr("genrec.checkpoints.store.write_about", refuse)
        with pytest.raises(UserError) as error, Checkpoints(folder, IDENTITY) as checkpoints:
            checkpoints.save(30, make_state(3), POSITION, None)
        assert str(error.value) == said
    with monkeypatch.context() as patch:
        patch.setattr("orbax.checkpoint.v1.save_checkpointables_async", refuse)
        with pytest.raises(UserError) as error, Checkpoints(folder, IDENTITY) as checkpoints:
            checkpoints.save(30, make_state(3), POSITION, None)
        assert str(error.value) == said
    assert names(folder) == {"10", "20"}


def test_a_mistake_of_ours_is_not_called_a_full_disk(tmp_path):
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        with pytest.raises(TypeError):
            checkpoints.save(1, make_state(), {"epoch": np.int32(1)}, None)
        with pytest.raises(KeyError):
            checkpoints.save(1, make_state(), POSITION, {"recall@10": 0.5})
        with pytest.raises(ValueError, match="not JSON"):
            checkpoints.save(1, make_state(), POSITION, {"ndcg@10": float("nan")})
    with pytest.raises(AssertionError, match="reading only"), Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, make_state(), POSITION, None)
    assert names(tmp_path) == set()


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/checkpoints cannot be made: Not a directory"):
        Checkpoints(tmp_path / "file" / "checkpoints", IDENTITY)
    with pytest.raises(UserError, match="file cannot be made: File exists"):
        Checkpoints(tmp_path / "file", IDENTITY)


def test_a_folder_that_is_refused_leaves_nothing_waiting(tmp_path):
    before = set(threading.enumerate())
    with Checkpoints(tmp_path / "checkpoints", IDENTITY) as checkpoints:
        (tmp_path / "checkpoints").rmdir()
        (tmp_path / "checkpoints").touch()
        with pytest.raises(UserError, match="checkpoints cannot be read: Not a directory"):
            checkpoints.save(1, make_state(), POSITION, None)
        with pytest.raises(UserError, match="checkpoints cannot be read: Not a directory"):
            _ = checkpoints.latest
    # Idle workers of asyncio end with the process.
    assert all("asyncio" in thread.name for thread in set(threading.enumerate()) - before)


def script(text):
    """Command line of a Python program that starts with what this file needs."""
    path = "import sys\nsys.path[:0] = ['tests', 'tests/checkpoints']\n"
    head = path + "import jax, jax.numpy as jnp\n"
    return [sys.executable, "-c", head + textwrap.dedent(text)]


def start(text, *arguments):
    return subprocess.Popen(
        [*script(text), *map(str, arguments)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes, seconds=120):
    """Waits for processes and returns what they printed."""
    try:
        outputs = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    return [output for output, _ in outputs]


def on_mesh(state, mesh):
    """The same arrays, each split along its first axis where that can be done evenly."""

    def put(x):
        axes = [mesh.axis_names] if x.ndim and x.shape[0] % mesh.size == 0 else []
        sharding = NamedSharding(mesh, PartitionSpec(*axes))
        return jax.make_array_from_callback(x.shape, sharding, lambda index: np.asarray(x[index]))

    return jax.tree.map(put, state)


TOGETHER = """
    from pathlib import Path
    folder, port, index = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    jax.config.update("jax_num_cpu_devices", 2)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, index)
    from test_checkpoints import *
    mesh = jax.make_mesh((4,), ("data",), (jax.sharding.AxisType.Auto,))
    with Checkpoints(folder, IDENTITY) as checkpoints:
        for number, score in ((1, 0.4), (2, 0.1), (3, 0.2), (4, 0.3)):
            state = on_mesh(make_state(number), mesh)
            checkpoints.save(10 * number, state, POSITION, {"ndcg@10": score})
        assert (checkpoints.latest, checkpoints.best) == (40, 10)
        restored, position = checkpoints.restore(40, state)
        alone, _ = checkpoints.restore(40, {"params": shapes(state["params"])})
    assert position == POSITION
    table = restored["params"]["table"]
    assert not table.is_fully_addressable and table.addressable_shards[0].data.shape == (16, 16)
    assert checksums(restored) == checksums(state) == checksums(make_state(4))
    assert same(alone["params"], make_state(4)["params"])

    def full(*_):
        raise OSError(errno.ENOSPC, "")

    sys.modules["genrec.checkpoints.store"].write_about = full
    with pytest.raises(UserError) as error, Checkpoints(folder, IDENTITY) as checkpoints:
        checkpoints.save(50, state, POSITION, None)
    said = "could not be written (No space left on device)" if index == 0 else "see process 0"
    assert said in str(error.value)
"""

APART = """
    from pathlib import Path
    jax.config.update("jax_num_cpu_devices", 8)
    from test_checkpoints import *
    folder, auto = Path(sys.argv[1]), jax.sharding.AxisType.Auto
    for step, mesh in ((40, jax.make_mesh((8,), ("data",), (auto,))),
                       (50, jax.make_mesh((2, 3), ("data", "model"), (auto, auto)))):
        like = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
            on_mesh(make_state(4), mesh),
        )
        with Checkpoints(folder, IDENTITY) as checkpoints:
            state, position = checkpoints.restore(step, like)
            assert jax.tree.all(jax.tree.map(lambda x, y: x.sharding == y.sharding, state, like))
            assert checksums(state) == checksums(make_state(4))
            checkpoints.save(step + 10, state, position, None)
"""


@pytest.mark.soak
def test_any_mesh_reads_what_two_processes_wrote_together(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    finish(*[start(TOGETHER, tmp_path, port, index) for index in range(2)])
    assert names(tmp_path) == {"10", "30", "40"}
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        assert same(checkpoints.restore(40, make_state())[0], make_state(4))
    finish(start(APART, tmp_path))
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        assert (checkpoints.latest, checkpoints.best) == (60, 10)
        assert same(checkpoints.restore(60, make_state())[0], make_state(4))


SAVE_FOR_EVER = """
    from pathlib import Path
    from test_checkpoints import *
    with Checkpoints(Path(sys.argv[1]), IDENTITY) as checkpoints:
        for step in range(1, 10_000):
            checkpoints.save(step, make_state(step), {"step": step}, {"ndcg@10": 1 / step})
            print("saved", step, flush=True)
"""


@pytest.mark.soak
def test_a_kill_while_saving_leaves_only_whole_checkpoints(tmp_path):
    folders = [tmp_path / str(number) for number in range(3)]
    processes = [start(SAVE_FOR_EVER, folder) for folder in folders]
    for number, process in enumerate(processes):
        assert process.stdout is not None
        for step in (1, 2, 3):  # the second is whole before the third is begun
            assert process.stdout.readline() == f"saved {step}\n", process.communicate()[1]
        time.sleep(0.1 + 0.317 * number)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    for folder in folders:
        with Checkpoints(folder, IDENTITY) as checkpoints:
            steps = sorted(map(int, names(folder)))
            assert checkpoints.best == steps[0] == 1
            assert checkpoints.latest == steps[-1] > 1
            for step in steps:
                state, position = checkpoints.restore(step, make_state())
                assert position == {"step": step}
                assert same(state, make_state(step))


LIMITED = """
    import resource
    from pathlib import Path
    from test_checkpoints import *
    folder = Path(sys.argv[1])
    fill(folder, [0.1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
    try:
        with Checkpoints(folder, IDENTITY) as checkpoints:
            checkpoints.save(20, make_state(2, rows=4096), POSITION, None)
            checkpoints.save(30, make_state(3), POSITION, None)
    except UserError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on the size of a file")
def test_a_write_that_fails_in_the_background_is_reported_by_the_next(tmp_path):
    (output,) = finish(start(LIMITED, tmp_path))
    assert output == (
        f"{tmp_path}: checkpoint 20 could not be written (File too large): "
        "free some space, and the same command goes on from checkpoint 10\n"
    )
    assert names(tmp_path) == {"10"}
    with Checkpoints(tmp_path, IDENTITY) as checkpoints:
        assert same(checkpoints.restore(10, make_state())[0], make_state(1))


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no permission to mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


FULL = """
    from pathlib import Path
    from test_checkpoints import *
    disk = Path(sys.argv[1])
    folder, block = disk / "checkpoints", disk / "block"
    fill(folder, [0.1])
    # Fewer and fewer bytes are left: the arrays, the JSON files and the folders fail in turn.
    for left in (200_000, 20_000, 4096, 0):
        block.unlink(missing_ok=True)
        stat = os.statvfs(disk)
        block.write_bytes(bytes(stat.f_bavail * stat.f_frsize - left))
        with pytest.raises(UserError) as error, Checkpoints(folder, IDENTITY) as checkpoints:
            checkpoints.save(20, make_state(2, rows=8192), POSITION, None)
        print(error.value)
        with Checkpoints(folder) as checkpoints:
            assert (checkpoints.latest, checkpoints.best) == (10, 10)
            assert same(checkpoints.restore(10, make_state())[0], make_state(1))
    block.unlink()
    with Checkpoints(folder, IDENTITY) as checkpoints:
        checkpoints.save(20, make_state(2), POSITION, None)
    assert names(folder) == {"10", "20"}
"""


def test_a_full_disk_leaves_the_checkpoints_before(small_disk):
    # In a process of its own: TensorStore's threads print what comes after the first failure.
    (output,) = finish(start(FULL, small_disk))
    assert output.splitlines() == 4 * [
        f"{small_disk}/checkpoints: checkpoint 20 could not be written (No space left on device): "
        "free some space, and the same command goes on from checkpoint 10"
    ]


@pytest.mark.parametrize("name", ["table", "bias", "half", "mask", "bytes", "small", "scale"])
def test_a_change_of_any_bit_changes_the_checksum(name):
    array = make_state()["params"][name]
    before = checksums(array)[""]
    assert before.startswith(f"{array.dtype}[{','.join(map(str, array.shape))}] ")
    bits = 1 if array.dtype == bool else 8 * array.dtype.itemsize
    words = np.atleast_1d(np.asarray(array)).view(f"u{array.dtype.itemsize}")
    seen = {before}
    for place in {0, words.size // 2, words.size - 1}:
        for bit in range(bits):
            other = words.copy()
            other.reshape(-1)[place] ^= words.dtype.type(1 << bit)
            changed = other.view(array.dtype).reshape(array.shape)
            seen.add(checksums(jnp.asarray(changed))[""])
    assert len(seen) == 1 + bits * len({0, words.size // 2, words.size - 1})


def test_the_checksum_is_of_the_order_too_and_does_not_depend_on_blocks(monkeypatch):
    rows = np.arange(2 * 3 * 5 * 7, dtype=np.int32).reshape(2, 3, 5, 7)
    whole = checksums(jnp.asarray(rows))[""]
    assert checksums(jnp.asarray(np.roll(rows, 1, axis=2)))[""] != whole
    assert checksums(jnp.asarray(rows.swapaxes(0, 1)).reshape(rows.shape))[""] != whole
    for size in (1, 2, 11, 100):
        monkeypatch.setattr("genrec.checkpoints.checksum._BLOCK", size)
        assert checksums(jnp.asarray(rows))[""] == whole
    assert checksums(jnp.zeros((0, 3)))[""] == "float32[0,3] " + "0" * 16


def test_about_json_is_for_people_too(two):
    about = json.loads((two / "20" / "about.json").read_text())
    assert about["schema"] == SCHEMA
    assert about["identity"] == IDENTITY
    assert about["metrics"] == {"ndcg@10": 0.2}
    assert set(about["arrays"]) > {"step", "params/table"}
