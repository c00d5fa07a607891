"""Who has a folder to itself, between real processes."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from genrec.errors import UserError
from genrec.storage import lock
from genrec.storage.lock import held, holder
from lock_holder import other_process


def take(folder):
    return held(folder / ".lock", folder, "genrec run", ", or name another --out")


def test_a_second_process_is_told_who_has_it_and_has_it_when_that_one_is_killed(tmp_path):
    folder = tmp_path / "new" / "run"
    with other_process(folder) as process:
        with pytest.raises(UserError) as error, take(folder):
            pass
        said = rf"{folder} is in use by genrec train \(pid {process.pid} on \S+ since \S+ \S+\)"
        error.match(said + "; wait for it, or name another --out$")
        assert (holder(folder / ".lock") or "").startswith(f"genrec train (pid {process.pid} on ")
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (folder / ".lock").exists()  # which keeps nobody out
        assert holder(folder / ".lock") is None
        with take(folder) as writable:
            assert writable
    assert list(folder.iterdir()) == []


def test_it_may_be_taken_again_within_but_not_by_another_thread(tmp_path):
    refused = []

    def try_it():
        try:
            with take(tmp_path):
                refused.append(None)
        except UserError as error:
            refused.append(str(error))

    with take(tmp_path), take(tmp_path):
        assert holder(tmp_path / ".lock") is None  # no other
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert f"in use by genrec run (pid {os.getpid()} on " in refused[0]
    with take(tmp_path):
        pass
    with pytest.raises(ZeroDivisionError), take(tmp_path):
        _ = 1 / 0
    with take(tmp_path) as writable:
        assert writable


COUNT = """
import sys
from pathlib import Path
from genrec.errors import UserError
from genrec.storage.lock import held

folder, done = Path(sys.argv[1]), 0
while done < 100:
    try:
        with held(folder / ".lock", folder, "count", ""):
            number = int((folder / "number").read_text())
            (folder / "number").write_text(str(number + 1))
            done += 1
    except UserError:
        pass
"""


def test_no_two_ever_have_it_though_its_file_comes_and_goes(tmp_path):
    (tmp_path / "number").write_text("0")
    command = [sys.executable, "-c", COUNT, str(tmp_path)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert (tmp_path / "number").read_text() == "300"


@pytest.mark.parametrize("told", [b"", b"{", b"[]", b'{"pid": 1}', b"\xff"])
def test_a_lock_that_does_not_say_whose_it_is_still_keeps_others_out(tmp_path, told):
    file = tmp_path / ".lock"
    file.write_bytes(told)
    with file.open("r+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="in use by another process; wait"), take(tmp_path):
            pass


def test_a_disk_without_locks_is_said_and_does_not_stop_anybody(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with take(tmp_path) as writable:
        assert writable
    assert "knows no locks (No locks available)" in caplog.text
    assert holder(tmp_path / ".lock") is None


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_where_nothing_can_be_written_nothing_is_locked(tmp_path, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(lock.os, "open", refuse)
    with take(tmp_path) as writable:
        assert not writable


def test_a_full_disk_is_not_taken_for_a_lock(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match="full"), take(tmp_path / "new"):
        pass
