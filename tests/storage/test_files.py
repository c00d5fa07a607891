import json
import signal
import subprocess
import sys

import pytest

from genrec.storage.files import read_json, replacing, sha256, sweep, write_json


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_replacement_keeps_what_was_there(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").write_text("old")
    with pytest.raises(RuntimeError), replacing(folder) as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("half")
        raise RuntimeError
    assert [path.name for path in folder.iterdir()] == ["old"]
    with replacing(folder) as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("new")
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_json_comes_back_and_has_no_nan(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"title": "Amélie", "n": [1, 2.5, None]})
    assert read_json(path) == {"title": "Amélie", "n": [1, 2.5, None]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"loss": float("nan")})
    assert json.loads(path.read_text())["n"][0] == 1


def test_sha256_of_a_file_is_the_standard_one_and_of_a_folder_sees_names_and_contents(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(tmp_path / "a") == known
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "x").write_bytes(b"1")
    before = sha256(folder)
    assert before == sha256(folder)
    (folder / "deep" / "x").write_bytes(b"2")
    changed = sha256(folder)
    (folder / "deep" / "x").rename(folder / "deep" / "y")
    assert len({before, changed, sha256(folder)}) == 3


KILLED = """
import os, signal, sys
from pathlib import Path
from genrec.storage import files

folder, fatal, whole = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "whole"
if not whole:
    files._exchange = lambda one, other: False
done = 0

def hook(event, arguments):
    global done
    if event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "open", "shutil.rmtree"):
        done += str(folder) in str(arguments[0])
        if done == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
with files.replacing(folder / "made") as temporary:
    temporary.mkdir()
    for name in ("a", "b"):
        (temporary / name).write_text("new")
"""


@pytest.mark.parametrize("way", ["whole", "by two renames"])
def test_a_kill_at_any_moment_leaves_a_whole_folder(tmp_path, way):
    """`way`: whether the system can swap folders in one step."""
    seen, fatal = set(), 0
    while "ended" not in seen:
        fatal += 1
        folder = tmp_path / str(fatal)
        (folder / "made").mkdir(parents=True)
        for name in ("a", "b"):
            (folder / "made" / name).write_text("old")
        (folder / ".made.txt.12.tmp").write_text("another's")
        command = [sys.executable, "-c", KILLED, str(folder), str(fatal), way]
        status = subprocess.run(command, check=False).returncode
        assert status in (0, -signal.SIGKILL)
        if way == "whole":
            assert (folder / "made").exists()
        sweep(folder, "made")
        assert {path.name for path in folder.iterdir()} == {"made", ".made.txt.12.tmp"}
        texts = {path.name: path.read_text() for path in (folder / "made").iterdir()}
        assert texts in ({"a": "old", "b": "old"}, {"a": "new", "b": "new"})
        seen |= {texts["a"], "killed" if status else "ended"}
    assert seen == {"old", "new", "killed", "ended"}
    assert fatal > 8


def test_a_link_stays_one_and_what_it_points_at_is_replaced(tmp_path):
    (tmp_path / "v1").mkdir()
    (tmp_path / "now").symlink_to("v1")
    with replacing(tmp_path / "now") as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("new")
    assert (tmp_path / "now").is_symlink()
    assert (tmp_path / "v1" / "new").read_text() == "new"
    assert {path.name for path in tmp_path.iterdir()} == {"v1", "now"}
