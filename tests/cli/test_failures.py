"""What went wrong, told in one line."""

import errno
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from genrec.cli.failures import report
from genrec.data.duck import in_process
from genrec.errors import UserError


def raised(error, cause=None):
    try:
        raise error from cause
    except BaseException as caught:
        return caught


LACKING = [
    (OSError(errno.ENOSPC, "No space left on device", "runs/x.npy"), "full (runs/x.npy): free"),
    (OSError("write failed: No space left on device [/a/b]"), "the disk is full: free some"),
    (OSError(errno.EDQUOT, "Disk quota exceeded", "x"), "the disk is full (x)"),
    (OSError(errno.EROFS, "Read-only file system", "x"), "the disk is read-only (x)"),
    (PermissionError(errno.EACCES, "Permission denied", "x"), "not permitted (x): change the"),
    (MemoryError(), "out of memory: close other programs, or ask for less"),
    (
        FileNotFoundError(errno.ENOENT, "No such file", "run/x.npy"),
        "run/x.npy is gone: put it back",
    ),
    (
        RuntimeError("can't start new thread"),
        "no more threads can be started: close other programs",
    ),
    (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"), "out of memory"),
]


@pytest.mark.parametrize(("error", "line"), LACKING)
@pytest.mark.parametrize("wrapped", [False, True])
def test_what_the_machine_lacks_is_one_line_and_the_users_turn(capfd, error, line, wrapped):
    caught = raised(ValueError("writing failed"), error) if wrapped else raised(error)
    assert report(caught, verbose=False) == 2
    (said,) = capfd.readouterr().err.splitlines()
    assert said.startswith("genrec: ")
    assert line in said


def test_a_reader_that_has_no_memory_does_not_blame_the_file(capsys):
    with in_process(memory_gib=0.001) as engine, pytest.raises(duckdb.Error) as caught:
        engine.run("SET max_temp_directory_size = '0B'")
        with engine.reading("log.csv"):
            engine.run("SELECT list(range) FROM range(10_000_000)")
    assert report(caught.value, verbose=False) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("genrec: out of memory: ") and "data.memory_gib" in said


def test_a_bug_is_one_line_that_says_where_and_how_to_see_more(capsys, monkeypatch):
    caught = raised(KeyError("two\nlines"))
    assert report(caught, verbose=False) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("genrec: KeyError: ")
    assert "--verbose" in said and "genrec doctor" in said
    assert "test_failures.py" in said
    for how in ("verbose", "environment"):
        monkeypatch.setenv("GENREC_TRACEBACK", "1" if how == "environment" else "0")
        report(caught, verbose=how == "verbose")
        assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_interruption_and_a_mistake(capsys):
    assert report(KeyboardInterrupt("step 7 is kept"), verbose=False) == 130
    assert report(UserError("no such thing"), verbose=False) == 2
    assert capsys.readouterr().err.splitlines() == [
        "genrec: interrupted, and step 7 is kept; the same command goes on from there",
        "genrec: no such thing",
    ]


@pytest.mark.parametrize("arguments", [["doctor", "--json"], ["completion", "bash"]])
def test_a_full_disk_behind_the_output_is_told_once(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "genrec", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if "disk is full" in line] == [
        "genrec: the disk is full: free some space, or choose another place with --out"
    ]
    assert "Exception ignored" not in done.stderr


def test_output_that_can_be_written_is_written_after_a_disk_was_full(capfd):
    assert report(raised(OSError(errno.ENOSPC, "No space left on device")), verbose=False) == 2
    print("still here")
    assert capfd.readouterr().out == "still here\n"


def test_a_folder_that_cannot_be_written_is_told_in_one_line(command, tiny_run, tmp_path):
    """A file stands where the folder should be, for root may write anywhere."""
    (tmp_path / "file").write_text("")
    out = str(tmp_path / "file" / "lists.parquet")
    wanted = ("--history", "i001", "--out", out, "--decoding.batch-size", "1")
    _, complaints = command("recommend", str(tiny_run), *wanted, status=2)
    (line,) = complaints
    assert line.endswith(": choose another place")
