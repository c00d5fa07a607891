"""Files by path, folder, pattern and protocol, plain and compressed: all are read alike."""

import gzip
import itertools
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_prepare import sequences_in

from genrec.data import Source, prepare
from genrec.data.locations import absolute, find_files, fingerprints
from genrec.errors import UserError

ROWS = [("u", "a", 1), ("u", "b", 2), ("ü", "a", 1), ("ü", "c", 3), ("u", "c", 2), ("ü", "b", 3)]
HEADER = ("user_id", "item_id", "timestamp")
EXPECTED = {"u": [("a", 1), ("b", 2), ("c", 2)], "ü": [("a", 1), ("c", 3), ("b", 3)]}


def text(rows, ending):
    if ending == ".jsonl":
        return "".join(json.dumps(dict(zip(HEADER, row, strict=True))) + "\n" for row in rows)
    sign = "\t" if ending == ".tsv" else ","
    return "".join(sign.join(map(str, row)) + "\n" for row in [HEADER, *rows])


def packed(contents, compression):
    if compression == ".gz":
        return gzip.compress(contents)
    if compression == ".zst":
        return pa.compress(contents, codec="zstd", asbytes=True)
    return contents


def write(path, rows, ending, compression=""):
    path = path.with_name(path.name + ending + compression)
    if ending == ".parquet":
        columns = list(map(list, zip(*rows, strict=True)))
        pq.write_table(pa.table(dict(zip(HEADER, columns, strict=True))), path)
    else:
        path.write_bytes(packed(text(rows, ending).encode(), compression))
    return path


def prepared(location, folder):
    prepare(Source(location), folder / "out", k_core=1, seed=0)
    return sequences_in(folder / "out")


@pytest.mark.parametrize(
    ("ending", "compression"),
    [(".parquet", ""), *itertools.product([".csv", ".tsv", ".jsonl"], ["", ".gz", ".zst"])],
)
@pytest.mark.parametrize("kind", ["file", "folder", "pattern"])
def test_every_format_gives_the_same(tmp_path, ending, compression, kind):
    folder = tmp_path / "log"
    folder.mkdir()
    if kind == "file":
        location = write(folder / "one", ROWS, ending, compression)
    else:
        # The order of the names is the order of the rows; what others leave there is not read.
        write(folder / "part-2", ROWS[4:], ending, compression)
        write(folder / "part-1", ROWS[:4], ending, compression)
        (folder / "_SUCCESS").touch()
        (folder / ".part.crc").write_bytes(b"crc")
        location = folder if kind == "folder" else f"{folder}/part-*"
    assert prepared(location, tmp_path) == EXPECTED


def test_a_folder_with_other_folders_is_read_by_a_pattern(tmp_path):
    for month in ("01", "02"):
        (tmp_path / "log" / month).mkdir(parents=True)
    write(tmp_path / "log" / "01" / "x", ROWS[:3], ".csv")
    write(tmp_path / "log" / "02" / "x", ROWS[3:], ".csv")
    assert prepared(f"{tmp_path}/log/**/*.csv", tmp_path) == EXPECTED


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_what_lies_behind_a_protocol(tmp_path, ending):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    path = write(tmp_path / "one", ROWS, ending)
    with memory.open(f"/bucket/log/part-0{ending}", "wb") as stream:
        stream.write(path.read_bytes())
    try:
        for location in ("memory://bucket/log", f"memory://bucket/log/*{ending}"):
            assert prepared(location, tmp_path) == EXPECTED
        (first,) = fingerprints("memory://bucket/log").items()
        assert first[0] == f"memory://bucket/log/part-0{ending}"
        with pytest.raises(UserError, match="memory://bucket/other does not exist"):
            find_files("memory://bucket/other")
    finally:
        memory.rm("/bucket", recursive=True)


def test_protocols_that_cannot_be_used():
    with pytest.raises(UserError, match="there is no protocol nonsense://"):
        find_files("nonsense://bucket/x.csv")
    for location in ("http://host/x.csv", "HTTP://host/x.csv", "ftp://host/x.csv"):
        with pytest.raises(UserError, match=f"{location} can be changed by anybody"):
            find_files(location)


def test_a_name_with_signs_of_a_pattern_is_a_name(tmp_path):
    path = write(tmp_path / "log[1]*", ROWS, ".csv")
    write(tmp_path / "log1x", ROWS[:1], ".csv")
    assert find_files(path).paths == (str(path),)
    assert prepared(path, tmp_path) == EXPECTED


@pytest.mark.parametrize(
    ("files", "location", "complaint"),
    [
        ({}, "gone.csv", "gone.csv does not exist"),
        ({}, "gone-*.csv", "gone-*.csv matches no file"),
        ({"log/a.csv": b"x", "log/b.jsonl": b"{}"}, "log", "several formats: .csv, .jsonl"),
        ({"log/a.csv": b"x", "log/b.csv.gz": b"x"}, "log", "several formats: .csv, .csv.gz"),
        ({"log/a.parquet.gz": b"x"}, "log", "unknown ending '.parquet.gz'"),
        ({"log/a.csv": b"x,y\n", "log/b.csv": b""}, "log", "b.csv is empty"),
        (
            {"log/a.csv": b"user_id,item_id,timestamp\n", "log/b.csv": b"item_id,user_id\n"},
            "log",
            "b.csv has the columns item_id, user_id, but",
        ),
        ({"a.csv.gz": b"no gzip"}, "a.csv.gz", "the header cannot be read"),
        ({"a.csv.zst": b"no zstd"}, "a.csv.zst", "a.csv.zst is cut off or damaged"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, files, location, complaint):
    for name, contents in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(contents)
    with pytest.raises(UserError) as caught:
        prepare(Source(f"{tmp_path}/{location}"), tmp_path / "out", k_core=1, seed=0)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("compression", [".gz", ".zst"])
@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_a_file_that_was_cut_off(tmp_path, ending, compression):
    rows = [(f"u{n % 97}", f"i{n * 7919 % 1009}", n * 31 % 7907) for n in range(20_000)]
    path = write(tmp_path / "one", rows, ending, compression)
    os.truncate(path, path.stat().st_size * 2 // 3)
    with pytest.raises(UserError) as caught:
        prepare(Source(path), tmp_path / "out", k_core=1, seed=0)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_row_of_a_fault_is_that_of_its_file(tmp_path):
    (tmp_path / "log").mkdir()
    write(tmp_path / "log" / "a", ROWS, ".csv")
    write(tmp_path / "log" / "b", [*ROWS[:1], ("u", "a", "soon")], ".csv")
    with pytest.raises(UserError, match=r"first in row 2 \('soon'\) of .*/log/b\.csv; mend"):
        prepare(Source(tmp_path / "log"), tmp_path / "out", k_core=1, seed=0)


def test_a_changed_file_has_another_fingerprint(tmp_path):
    path = write(tmp_path / "one", ROWS, ".csv")
    before = fingerprints(tmp_path)
    write(tmp_path / "one", ROWS[::-1], ".csv")
    assert fingerprints(tmp_path).keys() == before.keys() == {str(path)}
    assert fingerprints(tmp_path) != before


def test_where_a_location_is_from_everywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert absolute("log/*.csv") == str(tmp_path / "log/*.csv")
    assert absolute("s3://bucket/log") == "s3://bucket/log"
