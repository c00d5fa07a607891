"""MovieLens-100K: both sources give the same bytes, and nothing unverified is used.

The films and ratings are made up; the two archives have the format, and the oddities, of the real
ones.
"""

import hashlib
import io
import subprocess
import urllib.error
import zipfile

import pyarrow.parquet as pq
import pytest

from genrec.data import prepare
from genrec.data.known import download, movielens
from genrec.data.known.movielens import movielens_100k
from genrec.errors import UserError

INTERACTIONS = "196\t2\t3\t881250949\n22\t1\t1\t878887116\n196\t3\t5\t881250949\n"

# Number, title, date, …, then the 19 genres, "unknown" first.
OFFICIAL_ITEMS = """\
1|Plain Film (1995)|01-Jan-1995||http://example.org/1|0|1|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0|1
2|Été, L' (The "Summer", Again) (1994) |4-Feb-1994||http://example.org/2|0|0|0|0|0|0|0|0|1|0|0|0\
|0|0|0|0|0|0|0
3|unknown||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0
4|Sequel, The (1995) (V)|01-Jan-1995|||0|0|0|0|0|0|0|0|0|0|1|0|0|0|0|1|0|0|0
5|2001 Nights (1968)|01-Jan-1968|||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0

"""
WHEEL_ITEMS = """\
item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq
1\tPlain Film\t1995\tAction Children's Western
2\tÉté, L' (The "Summer", Again)\t1994\tDrama
3\tunkonwn\tunkonwn\tunknown
4\tSequel, The (1995)\tV\tFilm-Noir Sci-Fi
5\t2001 Nights\t1968\tunknown
"""
EXPECTED = {
    "interactions.csv": (
        "user_id,item_id,rating,timestamp\n196,2,3,881250949\n22,1,1,878887116\n196,3,5,881250949\n"
    ),
    "items.csv": (
        "item_id,title,year,genres\n"
        '1,Plain Film (1995),1995,"Action, Children\'s, Western"\n'
        '2,"Été, L\' (The ""Summer"", Again) (1994)",1994,Drama\n'
        "3,unknown,,\n"
        '4,"Sequel, The (1995) (V)",1995,"Film-Noir, Sci-Fi"\n'
        "5,2001 Nights (1968),1968,\n"
    ),
}
WHEEL_NAME = "recbole-1.2.1-py3-none-any.whl"


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, contents in members.items():
            archive.writestr(name, contents)
    return buffer.getvalue()


OFFICIAL = zipped(
    {
        "ml-100k/u.data": INTERACTIONS.encode(),
        "ml-100k/u.item": OFFICIAL_ITEMS.encode("latin-1"),
        "../outside.txt": b"never written",
    }
)
WHEEL = zipped(
    {
        "recbole/__init__.py": b"raise SystemExit('never run')",
        "recbole/dataset_example/ml-100k/ml-100k.inter": (
            "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + INTERACTIONS
        ).encode(),
        "recbole/dataset_example/ml-100k/ml-100k.item": WHEEL_ITEMS.encode(),
    }
)


def sha(contents):
    return hashlib.sha256(contents).hexdigest()


class Answer(io.BytesIO):
    """A whole answer, as urllib gives it."""

    status = 200

    def __init__(self, contents, url):
        super().__init__(contents)
        self.headers = {"Content-Length": len(contents), "ETag": None, "Last-Modified": None}
        self.geturl = lambda: url


class Sources:
    """Stands for the official address and for pip; either may be made to fail."""

    def __init__(self):
        self.official: bytes | OSError = OFFICIAL
        self.wheel: bytes | OSError = WHEEL
        self.asked: list[str] = []

    def opener(self, *handlers):
        assert handlers, "redirections are not looked at"
        return self

    def open(self, request, timeout):
        assert 0 < timeout <= 10
        self.asked.append(request.full_url)
        if isinstance(self.official, OSError):
            raise self.official
        return Answer(self.official, request.full_url)

    def run(self, command, **options):
        self.asked.append("pip")
        assert command[1:4] == ["-m", "pip", "download"]
        assert {"--no-deps", "--require-hashes", "--only-binary"} <= set(command)
        if isinstance(self.wheel, OSError):
            return subprocess.CompletedProcess(command, 1, "", f"WARNING: x\nERROR: {self.wheel}\n")
        folder = download.Path(command[command.index("--dest") + 1])
        requirements = (folder / "requirements.txt").read_text()
        assert requirements == f"recbole==1.2.1 --hash=sha256:{movielens.WHEEL_SHA256}\n"
        (folder / WHEEL_NAME).write_bytes(self.wheel)
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def sources(monkeypatch):
    """Small archives in place of the real ones: their checksums take the place of the pins."""
    fake = Sources()
    monkeypatch.setattr(download.urllib.request, "build_opener", fake.opener)
    monkeypatch.setattr(download.subprocess, "run", fake.run)
    monkeypatch.setattr(movielens, "OFFICIAL_SHA256", sha(OFFICIAL))
    monkeypatch.setattr(movielens, "WHEEL_SHA256", sha(WHEEL))
    pins = {name: sha(text.encode()) for name, text in EXPECTED.items()}
    monkeypatch.setattr(movielens, "CANONICAL_SHA256", pins)
    return fake


OFFLINE = urllib.error.URLError("no route")


def files_in(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_canonical(cache):
    assert files_in(cache / "movielens-100k") == {n: t.encode() for n, t in EXPECTED.items()}
    assert [path.name for path in cache.iterdir()] == ["movielens-100k"]


def test_the_official_address_comes_first(tmp_path, sources):
    source = movielens_100k(tmp_path)
    assert sources.asked == [movielens.OFFICIAL_URL]
    assert source.interactions == tmp_path / "movielens-100k" / "interactions.csv"
    assert source.text == "{title}. {genres}"
    assert_canonical(tmp_path)


def test_the_wheel_gives_the_same_bytes(tmp_path, sources):
    sources.official = OFFLINE
    movielens_100k(tmp_path)
    assert sources.asked == [movielens.OFFICIAL_URL, "pip"]
    assert_canonical(tmp_path)


@pytest.mark.parametrize("answer", [b"<html>sign in</html>", b"", b"x" * (17 << 20)])
def test_another_file_at_the_official_address_is_an_error(tmp_path, sources, answer):
    sources.official = answer
    with pytest.raises(UserError, match=r"ml-100k\.zip sent another file than expected"):
        movielens_100k(tmp_path)
    assert not (tmp_path / "movielens-100k" / "items.csv").exists()


def test_the_cache_is_used_and_verified(tmp_path, sources):
    first = movielens_100k(tmp_path)
    sources.asked.clear()
    assert movielens_100k(tmp_path) == first
    assert sources.asked == []
    path = tmp_path / "movielens-100k" / "items.csv"
    path.write_bytes(path.read_bytes().replace(b"Plain", b"Plane"))
    with pytest.raises(UserError, match=r"items\.csv is damaged .*; delete it and run again"):
        movielens_100k(tmp_path)
    path.unlink()
    movielens_100k(tmp_path)
    assert_canonical(tmp_path)


@pytest.mark.parametrize(("name", "contents"), [("ml-100k.zip", OFFICIAL), (WHEEL_NAME, WHEEL)])
def test_an_archive_brought_by_hand_is_used_without_fetching(tmp_path, sources, name, contents):
    by_hand = tmp_path / "movielens-100k" / name
    by_hand.parent.mkdir()
    by_hand.write_bytes(contents)
    movielens_100k(tmp_path)
    assert sources.asked == []
    by_hand.unlink()
    assert_canonical(tmp_path)


def test_an_archive_in_another_folder_is_used_and_left_there(tmp_path, sources):
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "ml-100k.zip").write_bytes(OFFICIAL)
    movielens_100k(tmp_path / "cache", raw)
    assert sources.asked == []
    assert list(files_in(raw)) == ["ml-100k.zip"]
    assert_canonical(tmp_path / "cache")


def test_a_folder_without_the_archive_is_an_error(tmp_path, sources):
    with pytest.raises(UserError, match=r"has no file ml-100k.zip: bring it from https://"):
        movielens_100k(tmp_path / "cache", tmp_path)
    assert sources.asked == []


@pytest.mark.parametrize("name", ["ml-100k.zip", WHEEL_NAME])
def test_another_archive_brought_by_hand_is_refused(tmp_path, sources, name):
    by_hand = tmp_path / "movielens-100k" / name
    by_hand.parent.mkdir()
    by_hand.write_bytes(zipped({"ml-100k/u.data": b"other"}))
    with pytest.raises(UserError, match=rf"{name} is damaged or another file than expected"):
        movielens_100k(tmp_path)
    assert list(files_in(by_hand.parent)) == [name]


def test_another_wheel_is_an_error(tmp_path, sources):
    sources.official, sources.wheel = OFFLINE, zipped({"other": b"wheel"})
    with pytest.raises(UserError, match=r"recbole==1\.2\.1 sent another file than expected"):
        movielens_100k(tmp_path)
    assert not (tmp_path / "movielens-100k" / "items.csv").exists()


def test_without_any_source_the_message_says_what_to_bring(tmp_path, sources):
    sources.official, sources.wheel = OFFLINE, OSError("no such package")
    with pytest.raises(UserError) as caught:
        movielens_100k(tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert "no route" in message
    assert "recbole==1.2.1" in message
    archive = tmp_path / "movielens-100k" / "ml-100k.zip"
    assert f"download {movielens.OFFICIAL_URL} on another machine, put it at {archive}" in message


def test_the_real_data_set(tmp_path):
    folder = download.cache_folder() / "movielens-100k"
    if not all((folder / name).is_file() for name in movielens.CANONICAL_SHA256):
        pytest.skip(f"MovieLens-100K is not in the cache folder {folder}")
    counts = prepare(movielens_100k(download.cache_folder()), tmp_path / "out", k_core=1, seed=0)
    read = ("users_read", "items_read", "interactions_read", "users_too_short")
    assert [counts[name] for name in read] == [943, 1682, 100_000, 0]
    rows = pq.read_table(tmp_path / "out" / "items.parquet").to_pylist()
    items = {row["item_id"]: row for row in rows}
    assert items["50"]["text"] == "Star Wars (1977). Action, Adventure, Romance, Sci-Fi, War"
    assert (items["267"]["title"], items["267"]["genres"]) == ("unknown", None)
