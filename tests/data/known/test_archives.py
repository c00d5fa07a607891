"""Archives that somebody else made."""

import struct
import zipfile

import pytest

from genrec.data.known.archives import read_member
from genrec.data.known.movielens import from_official, from_wheel
from genrec.errors import UserError


def archive(path, *members, how=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", how) as file:
        for name, contents in members:
            file.writestr(name, contents)
    return path


def edited(path, header, offset, value):
    """The same archive with another value in its last header of a kind."""
    contents = bytearray(path.read_bytes())
    place = contents.rfind(header)
    contents[place + offset : place + offset + len(value)] = value
    path.write_bytes(contents)


def test_one_file_is_read_and_nothing_written(tmp_path):
    path = archive(
        tmp_path / "x.zip", ("../../escaped", b"bad"), ("/abs", b"bad"), ("a/b", b"good")
    )
    assert read_member(path, "a/b", 4) == b"good"
    assert [each.name for each in tmp_path.iterdir()] == ["x.zip"]


def test_more_than_is_let_is_not_unpacked(tmp_path):
    path = archive(tmp_path / "x.zip", ("a", bytes(50_000_000)))
    assert path.stat().st_size < 100_000
    with pytest.raises(UserError, match=r"x.zip is not the archive .*: a has more than 1,000 byte"):
        read_member(path, "a", 1000)
    # The size that the archive claims is not believed.
    edited(path, b"PK\x01\x02", 24, struct.pack("<I", 10))
    with pytest.raises(UserError, match="is not the archive that it should be"):
        read_member(path, "a", 1000)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("break_it", "complaint"),
    [
        (lambda path: path.write_bytes(b""), "not a zip file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "not a zip file"),
        (lambda path: archive(path, ("b", b"x")), "holds 0 files a"),
        (lambda path: archive(path, ("a", b"x"), ("a", b"y")), "holds 2 files a"),
        (lambda path: archive(path, ("a", b"x"), how=zipfile.ZIP_LZMA), "packed in another way"),
        (lambda path: edited(path, b"PK\x01\x02", 8, b"\x01\x00"), "is locked"),
        (lambda path: edited(path, b"PK\x01\x02", 16, b"\x00\x00\x00\x00"), "Bad CRC"),
        (lambda path: edited(path, b"PK\x01\x02", 42, b"\xff\xff\xff\x0f"), ""),
        (lambda path: edited(path, b"PK\x05\x06", 16, b"\xff\xff\xff\x7f"), ""),
    ],
)
def test_archives_that_are_not_read(tmp_path, break_it, complaint):
    path = archive(tmp_path / "x.zip", ("a", b"some text" * 20))
    break_it(path)
    with pytest.raises(
        UserError, match=rf"x.zip is not the archive that it should be: .*{complaint}"
    ):
        read_member(path, "a", 1000)


@pytest.mark.parametrize(
    ("read", "names"),
    [
        (from_official, ("ml-100k/u.data", "ml-100k/u.item")),
        (from_wheel, [f"recbole/dataset_example/ml-100k/ml-100k.{k}" for k in ("inter", "item")]),
    ],
)
def test_texts_of_another_form_are_told(tmp_path, read, names):
    for data, item in ((b"\xff", b"x\na|b"), (b"1\t2", b"x\na|b"), (b"1\t2", b"x\n1\t2")):
        path = archive(tmp_path / "x.zip", *zip(names, (data, item), strict=True))
        with pytest.raises(UserError, match=r"x.zip is not the archive that it should be"):
            read(path)
