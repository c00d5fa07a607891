"""From the name of a known data set to the files that `prepare` reads."""

import dataclasses
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from genrec.config import Columns, DataConfig
from genrec.data import Source
from genrec.data.known import amazon, steam
from genrec.data.known.download import UnavailableError, cache_folder, check_sha256, fetch_https
from genrec.data.known.movielens import movielens_1m, movielens_100k
from genrec.data.known.official import File, Interaction, Item, Official
from genrec.errors import UserError, nearest
from genrec.storage.files import read_json, replacing, sha256, write_json
from genrec.storage.lock import held

_AT_ONCE, _HEAVY = 1 << 17, 1 << 28
_MADE = ("interactions.parquet", "items.parquet")


def dataset_names() -> list[str]:
    """Every known data set."""
    families = {
        "amazon-2014": amazon.CATEGORIES_2014,
        "amazon-2018": amazon.CATEGORIES_2018,
        "amazon-2023": amazon.CATEGORIES_2023,
    }
    categories = [f"{family}/{name}" for family, names in families.items() for name in names]
    return ["movielens-100k", "movielens-1m", *categories, "steam"]


def check_name(name: str) -> None:
    """UserError for a data set that is not known."""
    names = dataset_names()
    if name not in names:
        families = sorted({known.split("/")[0] for known in names})
        raise UserError(
            f"data.dataset {name!r} is not known; the nearest is {nearest(name, names)[0]!r}; "
            f"there are {', '.join(families)}, those of Amazon with a category, as in "
            "amazon-2014/Beauty"
        )


def known_source(name: str, *, raw: Path | None = None, cache: Path | None = None) -> Source:
    """A known data set as `prepare` reads it.

    The official files are fetched (an interrupted download goes on where it stopped), or read from
    the folder `raw` where they were brought by hand, and turned into two plain files in a folder of
    the cache: interactions.parquet (user_id, item_id, rating if there are any, timestamp; in the
    order of the official file) and items.parquet (item_id, title and what else is known; of the
    items that interactions name). These are verified whenever they are used.

    Args:
        name: one of `dataset_names`.
        raw: folder with the official files; then nothing is fetched.
        cache: by default the user's cache folder.

    Raises:
        UserError: the name is not known, or a file is damaged, is missing or cannot be fetched (it
            says how to bring it by hand).
    """
    check_name(name)
    folder = cache if cache is not None else cache_folder()
    if name == "movielens-100k":
        return movielens_100k(folder, raw)
    return _source(_official(name), folder / name, raw)


def data_source(data: DataConfig) -> Source:
    """The files that the settings name; a known data set is fetched into the cache first.

    Raises:
        UserError: see `known_source`; or it has no ratings, and `data.min_rating` asks for them.
    """
    if data.dataset is not None:
        known = known_source(data.dataset, raw=None if data.raw is None else Path(data.raw))
        if data.min_rating is not None and known.columns.rating is None:
            raise UserError(f"data.min_rating: {data.dataset} has no ratings")
        return known if data.text is None else dataclasses.replace(known, text=data.text)
    if data.interactions is None:
        raise UserError("give one of data.dataset and data.interactions")
    return Source(
        data.interactions,
        data.items,
        data.columns,
        data.text or "{title}",
        data.timestamp_unit,
        data.delimiter,
    )


def _official(name: str) -> Official:
    family, _, category = name.partition("/")
    if family == "movielens-1m":
        return movielens_1m()
    if family == "steam":
        return steam.steam()
    return {
        "amazon-2014": amazon.amazon_2014,
        "amazon-2018": amazon.amazon_2018,
        "amazon-2023": amazon.amazon_2023,
    }[family](category)


def _source(official: Official, folder: Path, raw: Path | None) -> Source:
    made, record = folder / "converted", folder / "converted" / "record.json"
    known = _record(record)
    if raw is not None:
        paths = [_by_hand(raw, file) for file in official.files]
        digests = {path.name: sha256(path) for path in paths}
        if known is None or known["official"] != digests:
            _convert(official, paths, made, digests)
    elif known is None:
        fetched = folder / "official"
        with held(folder / ".lock", folder, "genrec", ""):
            if not record.exists():  # nor has another process fetched it meanwhile
                paths = [_fetch(file, fetched / file.name) for file in official.files]
                _convert(official, paths, made, {path.name: sha256(path) for path in paths})
                shutil.rmtree(fetched)
    known = _record(record)
    assert known is not None, "it has just been written"
    for name in _MADE:
        check_sha256(made / name, known["converted"][name], f"delete {made}, and run again")
    interactions, items = (made / name for name in _MADE)
    return Source(
        interactions,
        items,
        Columns(rating="rating" if official.rated else None),
        official.text,
        official.timestamp_unit,
        published=official.published,
    )


def _record(path: Path) -> dict[str, Any] | None:
    """What says of which official files the converted ones are made; None if there are none."""
    if not path.exists():
        return None
    try:
        record = read_json(path)
        digests = [record["converted"][name] for name in _MADE]
        if isinstance(record["official"], dict) and all(isinstance(each, str) for each in digests):
            return record
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise UserError(f"{path} is damaged: delete {path.parent}, and run again")


def _by_hand(raw: Path, file: File) -> Path:
    """An official file that the user has brought, packed as it was or unpacked."""
    names = dict.fromkeys((file.name, file.name.removesuffix(".gz")))
    for path in (raw / name for name in names):
        if path.is_file():
            if file.sha256 is not None:
                check_sha256(path, file.sha256, f"bring it again from {file.url}")
            return path
    raise UserError(f"{raw} has no file {file.name}: bring it from {file.url}")


def _fetch(file: File, path: Path) -> Path:
    if path.exists() and file.sha256 is not None:
        check_sha256(path, file.sha256)
    if not path.exists():
        try:
            fetch_https(file.url, path, file.sha256)
        except UnavailableError as error:
            raise UserError(
                f"{file.name} cannot be fetched ({error}); run again to go on with it, or download "
                f"{file.url} on another machine and name its folder with --raw"
            ) from error
    return path


def _convert(official: Official, paths: list[Path], made: Path, digests: dict[str, str]) -> None:
    with replacing(made) as folder:
        folder.mkdir()
        interactions, items = (folder / name for name in _MADE)
        met = _write_interactions(interactions, official.interactions(paths), official.rated)
        _write_items(items, official.items(paths, met), met, official.columns)
        converted = {name: sha256(folder / name) for name in _MADE}
        write_json(folder / "record.json", {"official": digests, "converted": converted})


def _write_interactions(path: Path, rows: Iterator[Interaction], rated: bool) -> set[str]:
    """Writes interactions.parquet; the ids of the items."""
    names = {"user_id": pa.string(), "item_id": pa.string(), "rating": pa.float64()}
    schema = pa.schema(names | {"timestamp": pa.int64()})
    met: set[str] = set()
    with pq.ParquetWriter(path, schema if rated else schema.remove(2), compression="zstd") as file:
        for some in _batches(rows):
            columns = list(zip(*some, strict=True))
            met.update(item for item in columns[1] if item is not None)
            table = pa.table(
                [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema
            )
            file.write_table(table if rated else table.drop_columns("rating"))
    return met


def _write_items(
    path: Path, rows: Iterator[Item], met: set[str], columns: dict[str, pa.DataType]
) -> None:
    """Writes items.parquet: the first row of each item met, and one without title for the rest."""
    schema = pa.schema({"item_id": pa.string(), "title": pa.string()} | columns)
    left = set(met)

    def first_rows() -> Iterator[Item]:
        for row in rows:
            if row["item_id"] in left:
                left.remove(row["item_id"])
                yield row

    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for some in _batches(first_rows(), _length):
            file.write_table(pa.Table.from_pylist(some, schema=schema))
        rest: list[dict[str, Any]] = [{"item_id": item} for item in sorted(left)]
        file.write_table(pa.Table.from_pylist(rest, schema=schema))


def _batches(
    rows: Iterable[Any], weigh: Callable[[Any], int] = lambda row: 0
) -> Iterator[list[Any]]:
    """Up to so many rows at a time, or fewer that weigh much."""
    some, weight = [], 0
    for row in rows:
        some.append(row)
        weight += weigh(row)
        if len(some) == _AT_ONCE or weight >= _HEAVY:
            yield some
            some, weight = [], 0
    if some:
        yield some


def _length(item: Item) -> int:
    """Of its texts."""
    return sum(
        len(each) if isinstance(each, str) else sum(map(len, each))
        for each in item.values()
        if each
    )
