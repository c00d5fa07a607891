"""A catalogue that lives on: items that come or go after tokenizer and model were trained.

What has changed stands in one file of the run, catalogue.parquet, beside those of the stages, which
stay as they are: a semantic ID that is given never changes, and the figures of the run remain those
of the catalogue that it was trained on. The file has a row for each item that came: `item`, its row
of items.parquet; `codes`, its semantic ID; `content`, its vector. Its metadata names the items that
have gone, and the sha256 of all that it builds on.
"""

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genrec.bundle import add_items
from genrec.bundle.storage import read_manifest
from genrec.config import Columns, Config
from genrec.data import Dataset, read_new_items
from genrec.data.known import data_source
from genrec.embedding import embed_file, embed_tfidf
from genrec.errors import UserError, blaming
from genrec.recommend.catalog import Change, ItemNames
from genrec.runs.folder import alone, require
from genrec.runs.items import Items, items_of, tokenized_vectors
from genrec.semantic_ids.branches import Branch, branches
from genrec.semantic_ids.collisions import semantic_ids_of
from genrec.storage.files import parse_json, replacing
from genrec.storage.json_schema import expect
from genrec.tokenizer import Tokenizer, gain_of_refitting, load_tokenizer

WORTH_REFITTING = 0.05
"""Share of the new items' error that must go away for a new tokenizer to be worth its training."""
FEWEST_TO_JUDGE = 200
"""New items from which that share can be told."""
BUILT_ON = ("prepare", "embed", "tokenize")
_FILE = "catalogue.parquet"
_STATE = b"genrec"
_ANY = re.compile(r"(?s).+")


def current_items(folder: Path, built_on: dict[str, str]) -> tuple[Items, np.ndarray]:
    """The items of a run with all that came later, and which of them have gone.

    Args:
        built_on: the run's files and their sha256, what `require` says of `BUILT_ON` at least.

    Returns:
        The items, and int (R,): those that may not be recommended any more.

    Raises:
        UserError: the changes belong to other files than those that are there.
    """
    items, path = items_of(folder), folder / _FILE
    if not path.exists():
        return items, np.zeros(0, np.int64)
    with blaming(path):
        table = pq.read_table(path)
        state = parse_json((table.schema.metadata or {})[_STATE])
        expect(state, {"inputs": {_ANY: str}, "gone": [object]})
        came = table["item"].combine_chunks().flatten()
        dataset = _with_items(items.dataset, pa.table(came, names=items.dataset.items.schema.names))
        # Reshaped, lest no item at all came.
        codes = np.array(table["codes"].to_pylist(), np.int32).reshape(-1, items.ids.codes.shape[1])
        content = np.array(table["content"].to_pylist(), np.float32)
        content = content.reshape(-1, items.content.shape[1])
        if not len(codes) == len(content) == table.num_rows:
            raise ValueError("its columns do not fit each other")
        if not np.isfinite(content).all():
            raise ValueError("a vector is not finite")
        if (codes < 0).any() or (codes >= np.array(items.ids.codebook_sizes)).any():
            raise ValueError("a code is out of range")
        if any(dataset.items[name].null_count for name in ("item_id", "text", "title")):
            raise ValueError("an item has no id, text or title")
        if not np.array_equal(dataset.items["item"].to_numpy(), np.arange(dataset.num_items)):
            raise ValueError("its items are not numbered on from those of the dataset")
        if len(set(dataset.item_ids)) < dataset.num_items:
            raise ValueError("an item is there twice")
        place = {item_id: item for item, item_id in enumerate(dataset.item_ids)}
        gone = np.array([place[item_id] for item_id in state["gone"]], np.int64)
    if not state["inputs"].items() <= built_on.items():
        raise UserError(
            f"{path} belongs to other items or codes than this run has now: delete it, then add "
            f"the items again (genrec tokenize {folder} --append FILE)"
        )
    ids = dataclasses.replace(items.ids, codes=np.concatenate([items.ids.codes, codes]))
    return Items(dataset, ids, np.concatenate([items.content, content]), items.trained), gone


def append_items(
    config: Config, folder: str | Path, file: str | Path, vectors: str | Path | None = None
) -> Change:
    """Gives codes to new items of a run, without changing those of any other.

    Args:
        config, folder: of the run.
        file: items, one on a row, with the columns that the run's items have.
        vectors: .npy file of their vectors, row by row, where the run's come from a file too.

    Raises:
        UserError: the run is not tokenized, or the file or the vectors are not as they should be,
            or there is no room for an item's codes; or another process writes into the run.
    """
    folder, file = Path(folder), Path(file)
    vectors = None if vectors is None else Path(vectors)
    with alone(folder, "genrec tokenize"):
        return _append(config, folder, file, vectors)


def _append(config: Config, folder: Path, file: Path, vectors: Path | None) -> Change:
    built_on = require(folder, config, *BUILT_ON)
    items, gone = current_items(folder, built_on)
    source = data_source(config.data)
    table = read_new_items(file, source.columns, source.text)
    names, place = table["item_id"].to_pylist(), items.dataset.item_ids
    there = dict(zip(place, range(len(place)), strict=True))
    back = np.array([there[name] for name in names if name in there], np.int64)
    fresh = np.array([row for row, name in enumerate(names) if name not in there], np.int64)
    content = _embed(config, items, table, vectors, fresh)
    first = len(items.content)
    number = pa.array(np.arange(first, first + len(fresh)), pa.int32())
    added = table.take(fresh).set_column(0, "item", number)
    dataset = _with_items(items.dataset, _like(added, items.dataset.items.schema))
    content = np.concatenate([items.content, content])
    described = tokenized_vectors(config, dataset, content, items.trained)
    tokenizer = load_tokenizer(folder / "tokenizer")
    sizes = tokenizer.codebook_sizes
    codes = np.concatenate([items.ids.codes[:, : len(sizes)], tokenizer.encode(described[first:])])
    ids = semantic_ids_of(
        codes,
        sizes,
        config.tokenizer.collisions,
        lambda some: tokenizer.distances(described[some], codes[some]),
        items.ids,
    )
    still_gone = np.setdiff1d(gone, back)
    after = Items(dataset, ids, content, items.trained)
    _write(folder, built_on, after, still_gone)
    drift = None
    if len(content) > items.trained:
        drift = _drift(config, tokenizer, described, codes, items.trained)
    returned = len(gone) - len(still_gone)
    return Change(len(content) - len(still_gone), len(fresh), len(back), returned, drift=drift)


def append_to_bundle(bundle: Path, file: Path, vectors: Path) -> Change:
    """Gives codes to new items in a bundle; arguments as for `append_items`.

    Raises:
        UserError: see `append_items` and `genrec.bundle.add_items`.
    """
    data = read_manifest(bundle)["config"]["data"]
    table = read_new_items(file, Columns(**data["columns"]), data["text"] or "{title}")
    found = embed_file(vectors, np.arange(table.num_rows), table.num_rows)
    return add_items(bundle, table["item_id"].to_pylist(), table["title"].to_pylist(), found)


def remove_items(config: Config, folder: str | Path, names: Sequence[str]) -> Change:
    """Retires items, by id or title: they keep their codes, and are recommended no more.

    Raises:
        UserError: the run is not tokenized, an item is unknown, none would be left, or another
            process writes into the run.
    """
    folder = Path(folder)
    with alone(folder, "genrec tokenize"):
        return _remove(config, folder, names)


def _remove(config: Config, folder: Path, names: Sequence[str]) -> Change:
    built_on = require(folder, config, *BUILT_ON)
    items, gone = current_items(folder, built_on)
    found = ItemNames(items.dataset.item_ids, items.dataset.titles).known(names)
    all_gone = np.union1d(gone, found).astype(np.int64)
    left = len(items.content) - len(all_gone)
    if left == 0:
        raise UserError(f"none of the {len(items.content):,} items would be left: keep some")
    _write(folder, built_on, items, all_gone)
    return Change(left, removed=len(all_gone) - len(gone))


def show_branches(
    config: Config, folder: str | Path, prefix: Sequence[int] = ()
) -> tuple[list[Branch], list[str]]:
    """The branches of the tree of semantic IDs below a prefix, see `branches`, and all titles.

    Raises:
        UserError: the run is not tokenized, or the prefix leads nowhere.
    """
    folder = Path(folder)
    built_on = require(folder, config, *BUILT_ON)
    items, gone = current_items(folder, built_on)
    dataset = items.dataset
    titles = dataset.labels
    left = np.setdiff1d(np.arange(dataset.num_items), gone)
    return branches(items.ids.codes, titles, prefix, items=left), titles


def _embed(
    config: Config, items: Items, table: pa.Table, vectors: Path | None, rows: np.ndarray
) -> np.ndarray:
    """float32 (M, E): the content vectors of some rows of a table of new items."""
    width = items.content.shape[1]
    if config.embedding.kind == "file":
        if vectors is None:
            raise UserError(
                "the vectors of this run's items came from a file (embedding.path): name one with "
                "those of the new items by --vectors"
            )
        found = embed_file(vectors, rows, table.num_rows)
        if found.shape[1] != width:
            raise UserError(
                f"{vectors} has vectors of width {found.shape[1]}, those of the run have {width}: "
                "use the same encoder for both"
            )
        return found
    if vectors is not None:
        raise UserError("--vectors goes with embedding.kind file; this run embeds the text itself")
    if not len(rows):
        return np.zeros((0, width), np.float32)
    # What it learned of the texts is made again, rather than kept: it is large, and quickly made.
    texts = items.dataset.texts[: items.trained]
    again, embed = embed_tfidf(texts, dim=config.embedding.dim, seed=config.seed)
    if not np.allclose(again, items.content[: items.trained], atol=1e-3):
        raise UserError(
            "the texts of this run have other vectors here than in its embeddings.npy, so new ones "
            "would not fit: use the version of scikit-learn that the run was made with, or "
            "embedding.kind file"
        )
    return embed(table["text"].take(rows).to_pylist())


def _write(folder: Path, built_on: dict[str, str], items: Items, gone: np.ndarray) -> None:
    """Writes catalogue.parquet: in one file, lest a crash leave one part of a change."""
    item_ids, trained = items.dataset.item_ids, items.trained
    came = items.dataset.items.slice(trained).combine_chunks()
    rows = pa.StructArray.from_arrays(
        [column.combine_chunks() for column in came.columns], fields=list(came.schema)
    )
    state = {
        "inputs": built_on,
        "gone": [item_ids[item] for item in gone.tolist()],
    }
    table = pa.table(
        {
            "item": rows,
            "codes": pa.array(items.ids.codes[trained:].tolist(), pa.list_(pa.int32())),
            "content": pa.array(items.content[trained:].tolist(), pa.list_(pa.float32())),
        }
    )
    with replacing(folder / _FILE) as temporary:
        pq.write_table(
            table.replace_schema_metadata({_STATE: json.dumps(state)}),
            temporary,
            compression="zstd",
        )


def _with_items(dataset: Dataset, more: pa.Table) -> Dataset:
    """The dataset with more items behind its own."""
    return dataclasses.replace(dataset, items=pa.concat_tables([dataset.items, more]))


def _drift(
    config: Config, tokenizer: Tokenizer, vectors: np.ndarray, codes: np.ndarray, trained: int
) -> str:
    """One line: how well the codebooks fit the items that came after them."""

    def error(rows: slice) -> float:
        spread = float(np.sum((vectors[rows] - tokenizer.mean) ** 2))
        lost = float(np.sum((vectors[rows] - tokenizer.decode(codes[rows])) ** 2))
        return lost / max(spread, 1e-12)

    line = (
        f"relative error {error(slice(trained, None)):.3f} of the {len(codes) - trained:,} items "
        f"that came later, {error(slice(0, trained)):.3f} of the others"
    )
    if len(codes) - trained < FEWEST_TO_JUDGE:
        return f"{line}; too few to say whether other codebooks would fit them better"
    gain = gain_of_refitting(
        vectors[:trained], vectors[trained:], tokenizer.codebook_sizes, seed=config.seed
    )
    verdict = "train the tokenizer anew" if gain > WORTH_REFITTING else "no need to train it anew"
    return f"{line}; codebooks that knew such items would have {max(gain, 0):.1%} less: {verdict}"


def _like(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of a schema; null where the table has no such column, or of another kind."""

    def column(field: pa.Field):
        nothing = pa.nulls(table.num_rows, field.type)
        if field.name not in table.column_names:
            return nothing
        try:
            return table[field.name].cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return nothing

    return pa.table([column(field) for field in schema], schema=schema)
