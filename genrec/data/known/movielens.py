"""MovieLens-100K and MovieLens-1M.

F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context. ACM
Transactions on Interactive Intelligent Systems 5, 4. For research, not to be passed on:
https://files.grouplens.org/datasets/movielens/ml-100k-README.txt (and ml-1m-README.txt).
"""

import csv
import io
import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path

import pyarrow as pa

from genrec.config import Columns
from genrec.data import Published, Source
from genrec.data.known.download import UnavailableError, check_sha256, fetch_https, fetch_wheel
from genrec.data.known.official import InteractionRow, ItemRow, OfficialDataset, OfficialFile
from genrec.errors import UserError
from genrec.storage.files import replacing

OFFICIAL_URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
OFFICIAL_SHA256 = "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"

# Of an archive whose md5 is the one that GroupLens publishes, c4d9eecfca2ab87c1945afe126590906.
_SHA256_1M = "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20"

# The package index has the same files inside the wheel of another recommender library. Only its two
# data files are read.
WHEEL_REQUIREMENT = "recbole==1.2.1"
WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
_WHEEL_FILES = "recbole/dataset_example/ml-100k/ml-100k"

CANONICAL_SHA256 = {
    "interactions.csv": "010fac14271cf92527353173e77ddb19b9168a476d99c55c2f4bd55d93d4c205",
    "items.csv": "1e3b7309f5b0784e8f5ca462bf35b2b946bb508e35ae73163fa97926f023f7bb",
}
"""The files in the cache folder; the same bytes whichever source they came from."""

# In the order of the flags in u.item.
_GENRES = [
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime"),
    *("Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery"),
    *("Romance", "Sci-Fi", "Thriller", "War", "Western"),
]

_Files = dict[str, bytes]


def movielens_100k(cache: Path, raw: Path | None = None) -> Source:
    """MovieLens-100K as `prepare` reads it: 943 users, 1,682 items, 100,000 interactions.

    Two files are kept in the folder movielens-100k of `cache`: interactions.csv (user_id, item_id,
    rating, timestamp, in the order of the original) and items.csv (item_id, title such as "Star
    Wars (1977)", year, genres). Their checksums are verified whenever they are used. If they are
    missing they are made from the original archive, or else from a wheel of the package index; an
    archive that was brought by hand, into that folder or to `raw`, comes first, and then nothing is
    fetched.

    Raises:
        UserError: a file is damaged or cannot be fetched; it says how to bring it by hand.
    """
    folder = cache / "movielens-100k"
    paths = {name: folder / name for name in CANONICAL_SHA256}
    if not all(path.is_file() for path in paths.values()):
        for name, contents in _make(folder, raw).items():
            with replacing(folder / name) as temporary:
                temporary.write_bytes(contents)
    for name, path in paths.items():
        check_sha256(path, CANONICAL_SHA256[name])
    return Source(
        interactions=paths["interactions.csv"],
        items=paths["items.csv"],
        columns=Columns(rating="rating"),
        text="{title}. {genres}",
        published=Published(943, 1_682, 100_000, "its README"),
    )


def movielens_1m() -> OfficialDataset:
    """MovieLens-1M, with the titles as in MovieLens-100K; only the films that were rated."""
    return OfficialDataset(
        files=(
            OfficialFile("https://files.grouplens.org/datasets/movielens/ml-1m.zip", _SHA256_1M),
        ),
        interactions=_ratings_1m,
        items=_films_1m,
        columns={"year": pa.string(), "genres": pa.list_(pa.string())},
        text="{title}. {genres}",
        published=Published(6_040, 3_706, 1_000_209, "its README, and the films in ratings.dat"),
    )


def _ratings_1m(paths: Sequence[Path]) -> Iterator[InteractionRow]:
    for line in _read(paths[0], "ml-1m/ratings.dat", "ascii"):
        user, item, rating, seconds = line.split("::")
        yield user, item, float(rating), int(seconds)


def _films_1m(paths: Sequence[Path], _: Set[str]) -> Iterator[ItemRow]:
    for line in _read(paths[0], "ml-1m/movies.dat", "latin-1"):
        item, title, genres = line.split("::")
        year = _year(title)
        yield {"item_id": item, "title": title, "year": year, "genres": genres.split("|")}


def _read(archive: Path, name: str, encoding: str) -> list[str]:
    """The lines of a file in an archive whose checksum has been verified."""
    with zipfile.ZipFile(archive) as members:
        text = members.read(name).decode(encoding)
    return [line for line in text.replace("\r", "").split("\n") if line.strip()]


def _make(folder: Path, raw: Path | None) -> _Files:
    """The two files from the first source that has them; one brought by hand is in `folder`."""
    archive, wheel = "ml-100k.zip", f"{WHEEL_REQUIREMENT.replace('==', '-')}-py3-none-any.whl"
    for name, expected, convert in (
        (archive, OFFICIAL_SHA256, _from_official),
        (wheel, WHEEL_SHA256, _from_wheel),
    ):
        path = (raw or folder) / name
        if path.is_file():
            check_sha256(path, expected)
            return convert(path)
    if raw is not None:
        raise UserError(f"{raw} has no file {archive}: bring it from {OFFICIAL_URL}")
    with tempfile.TemporaryDirectory(prefix="genrec-") as temporary:
        fetched = Path(temporary) / archive
        try:
            fetch_https(OFFICIAL_URL, fetched, OFFICIAL_SHA256)
            return _from_official(fetched)
        except UnavailableError as error:
            reason = str(error)
        try:
            return _from_wheel(fetch_wheel(WHEEL_REQUIREMENT, WHEEL_SHA256, Path(temporary)))
        except UnavailableError as error:
            raise UserError(
                f"MovieLens-100K cannot be fetched ({reason}; {error}); download {OFFICIAL_URL} "
                f"on another machine, put it at {folder / archive} and run again"
            ) from error


def _from_official(archive: Path) -> _Files:
    interactions = [line.split("\t") for line in _read(archive, "ml-100k/u.data", "ascii")]
    items = []
    for line in _read(archive, "ml-100k/u.item", "latin-1"):
        item_id, title, _date, _video_date, _url, *flags = line.split("|")
        genres = [g for g, flag in zip(_GENRES, flags, strict=True) if int(flag)]
        items.append((item_id, title, genres))
    return _canonical(interactions, items)


def _from_wheel(wheel: Path) -> _Files:
    """The two canonical files from the wheel; both of its files begin with a header."""
    interactions = [line.split("\t") for line in _read(wheel, f"{_WHEEL_FILES}.inter", "ascii")[1:]]
    items = []
    for line in _read(wheel, f"{_WHEEL_FILES}.item", "utf-8")[1:]:
        item_id, title, year, genres = line.split("\t")
        # The one film without a title or a year is spelt "unkonwn" there.
        title = "unknown" if title == "unkonwn" else f"{title} ({year})"
        items.append((item_id, title, genres.split(" ")))
    return _canonical(interactions, items)


def _canonical(
    interactions: Iterable[list[str]], items: Iterable[tuple[str, str, list[str]]]
) -> _Files:
    rows = []
    for item_id, title, genres in items:
        # A few original titles end in a space, which the wheel has stripped.
        title = " ".join(title.split())
        known_genres = ", ".join(genre for genre in genres if genre != "unknown")
        rows.append((item_id, title, _year(title), known_genres))
    return {
        "interactions.csv": _csv(("user_id", "item_id", "rating", "timestamp"), interactions),
        "items.csv": _csv(("item_id", "title", "year", "genres"), rows),
    }


def _year(title: str) -> str:
    years = re.findall(r"\((\d{4})\)", title)
    return years[-1] if years else ""


def _csv(header: tuple[str, ...], rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue().encode("utf-8")
