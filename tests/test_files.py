import json

import pytest

from genrec.files import read_json, replacing, sha256, write_json


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
