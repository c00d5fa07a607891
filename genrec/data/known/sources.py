"""From the name of a known data set to the files that `prepare` reads."""

import dataclasses
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from genrec.config import Columns, DataConfig
from genrec.data import Source
from genrec.data.known.amazon import AMAZON
from genrec.data.known.download import UnavailableError, cache_folder, check_sha256, fetch_https
from genrec.data.known.movielens import movielens_1m, movielens_100k
from genrec.data.known.official import InteractionRow, ItemRow, OfficialDataset, OfficialFile
from genrec.data.known.steam import steam
from genrec.errors import UserError, nearest
from genrec.storage.files import read_json, replacing, sha256, write_json
from genrec.storage.json_schema import expect
from genrec.storage.lock import held

_INTERACTIONS_AT_ONCE = 1 << 17
_ITEMS_AT_ONCE = 1 << 12  # a description may be long
_CONVERTED = ("interactions.parquet", "items.parquet")
_OFFICIAL = {"movielens-1m": movielens_1m, **AMAZON, "steam": steam}


def dataset_names() -> list[str]:
    """The names of all known data sets."""
    return ["movielens-100k", *_OFFICIAL]


def known_source(name: str, *, raw: Path | None = None, cache: Path | None = None) -> Source:
    """A known data set as `prepare` reads it.

    The official files are fetched (an interrupted download goes on where it stopped), or read from
    the folder `raw`, and converted to two files in a folder of the cache: interactions.parquet
    (user_id, item_id, rating if there are ratings, timestamp; in the order of the official file)
    and items.parquet (item_id, title and the data set's other columns; only items that have
    interactions). Their checksums are verified at every use.

    Args:
        name: one of `dataset_names`.
        raw: folder with official files that were brought by hand; then nothing is fetched.
        cache: by default the user's cache folder.

    Raises:
        UserError: the name is not known, or a file is damaged, is missing or cannot be fetched (it
            says how to bring it by hand).
    """
    names = dataset_names()
    if name not in names:
        families = sorted({other.split("/")[0] for other in names})
        raise UserError(
            f"data.dataset {name!r} is not known; the nearest is {nearest(name, names)[0]!r}; "
            f"there are {', '.join(families)}, those of Amazon with a category, as in "
            "amazon-2014/Beauty"
        )
    folder = cache or cache_folder()
    if name == "movielens-100k":
        return movielens_100k(folder, raw)
    return _source(_OFFICIAL[name](), folder / name, raw)


def data_source(data: DataConfig) -> Source:
    """The data set that the settings name, or the user's own files.

    Raises:
        UserError: see `known_source`; or `data.min_rating` is set and the data set has no ratings.
    """
    if data.dataset is not None:
        source = known_source(data.dataset, raw=None if data.raw is None else Path(data.raw))
        if data.min_rating is not None and source.columns.rating is None:
            raise UserError(f"data.min_rating: {data.dataset} has no ratings")
        return source if data.text is None else dataclasses.replace(source, text=data.text)
    assert data.interactions is not None, "the settings are checked"
    return Source(
        data.interactions,
        data.items,
        data.columns,
        data.text or "{title}",
        data.timestamp_unit,
        data.delimiter,
    )


def _source(official: OfficialDataset, folder: Path, raw: Path | None) -> Source:
    """The converted files of a data set; converts the official ones first where need be."""
    converted = folder / "converted"
    record = _read_record(converted)
    if raw is not None:
        paths = [_by_hand(raw, file) for file in official.files]
        digests = {path.name: sha256(path) for path in paths}
        if record is None or record["official"] != digests:
            _convert(official, paths, converted, digests)
    elif record is None:
        fetched = folder / "official"
        with held(folder / ".lock", folder, "genrec", ""):
            if _read_record(converted) is None:  # nor has another process fetched it meanwhile
                paths = [_fetch(file, fetched / file.name) for file in official.files]
                _convert(official, paths, converted, {path.name: sha256(path) for path in paths})
                shutil.rmtree(fetched)
    record = _read_record(converted)
    assert record is not None, "it has just been written"
    interactions, items = (converted / name for name in _CONVERTED)
    for path in (interactions, items):
        remedy = f"delete {converted}, and run again"
        check_sha256(path, record["converted"][path.name], remedy)
    return Source(
        interactions,
        items,
        Columns(rating="rating" if official.rated else None),
        official.text,
        official.timestamp_unit,
        published=official.published,
    )


def _read_record(converted: Path) -> dict[str, Any] | None:
    """record.json: the checksums of the official and of the converted files, by their names.

    None if nothing has been converted.
    """
    path = converted / "record.json"
    if not path.exists():
        return None
    try:
        record = read_json(path)
        expect(record, {"official": dict, "converted": dict.fromkeys(_CONVERTED, str)})
    except ValueError as error:
        raise UserError(f"{path} is damaged: delete {converted}, and run again") from error
    return record


def _by_hand(raw: Path, file: OfficialFile) -> Path:
    """An official file that the user has brought, compressed or not."""
    for path in (raw / file.name, raw / file.name.removesuffix(".gz")):
        if path.is_file():
            if file.sha256 is not None:
                check_sha256(path, file.sha256, f"bring it again from {file.url}")
            return path
    raise UserError(f"{raw} has no file {file.name}: bring it from {file.url}")


def _fetch(file: OfficialFile, path: Path) -> Path:
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


def _convert(
    official: OfficialDataset, paths: list[Path], out: Path, digests: dict[str, str]
) -> None:
    """Writes the folder of converted files; `digests` are the checksums of the official ones."""
    with replacing(out) as folder:
        folder.mkdir()
        interactions, items = (folder / name for name in _CONVERTED)
        item_ids = _write_interactions(interactions, official.interactions(paths), official.rated)
        _write_items(items, official.items(paths, item_ids), item_ids, official.columns)
        converted = {name: sha256(folder / name) for name in _CONVERTED}
        write_json(folder / "record.json", {"official": digests, "converted": converted})


def _write_interactions(path: Path, rows: Iterator[InteractionRow], rated: bool) -> set[str]:
    """Writes interactions.parquet, and returns the ids of the items in it."""
    types = {"user_id": pa.string(), "item_id": pa.string(), "rating": pa.float64()}
    schema = pa.schema(types | {"timestamp": pa.int64()})
    written = schema if rated else schema.remove(2)
    item_ids: set[str] = set()
    with pq.ParquetWriter(path, written, compression="zstd") as file:
        while batch := list(itertools.islice(rows, _INTERACTIONS_AT_ONCE)):
            columns = list(zip(*batch, strict=True))
            item_ids.update(item for item in columns[1] if item is not None)
            table = pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema)
            file.write_table(table.select(written.names))
    return item_ids


def _write_items(
    path: Path, rows: Iterator[ItemRow], item_ids: set[str], columns: dict[str, pa.DataType]
) -> None:
    """Writes items.parquet: each item's first row; one with the id alone where there is none."""
    schema = pa.schema({"item_id": pa.string(), "title": pa.string()} | columns)
    missing = set(item_ids)

    def rows_of_items() -> Iterator[ItemRow]:
        for row in rows:
            if row["item_id"] in missing:
                missing.remove(row["item_id"])
                yield row
        for item_id in sorted(missing):
            yield {"item_id": item_id}

    kept = rows_of_items()
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        while batch := list(itertools.islice(kept, _ITEMS_AT_ONCE)):
            file.write_table(pa.Table.from_pylist(batch, schema=schema))
