"""Items of a run that come or go after tokenizer and model were trained.

All of it is kept in one more file of the run, catalogue.parquet; the files of the stages stay as
they are. So a semantic ID that is given never changes, and the figures of the run remain those of
the catalogue that it was trained on. The file has a row for each item that came: `item`, its row
of items.parquet; `codes`, its semantic ID; `content`, its vector. Its metadata has the ids of the
items that were removed (`gone`), and the sha256 of the files that it builds on (`inputs`).
"""

import contextlib
import dataclasses
import json
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
from genrec.recommend.catalog import Change, ItemNames, change_of, indices_of, plan_additions
from genrec.runs.folder import alone, require
from genrec.runs.items import RunItems, load_items, tokenized_vectors
from genrec.semantic_ids.branches import Branch, branches
from genrec.semantic_ids.collisions import append_codes
from genrec.storage.files import parse_json, replacing
from genrec.storage.json_schema import ANY, expect
from genrec.tokenizer import Tokenizer, gain_of_refitting, load_tokenizer

WORTH_REFITTING = 0.05
"""A tokenizer is worth training anew if that would save this share of the new items' error."""
FEWEST_TO_JUDGE = 200
"""New items that it takes to estimate that share."""
BUILT_ON = ("prepare", "embed", "tokenize")
_FILE = "catalogue.parquet"
_STATE = b"genrec"


def current_items(folder: Path, built_on: dict[str, str]) -> tuple[RunItems, np.ndarray]:
    """The items of a run with all that came later, and which of them were removed.

    Args:
        built_on: the run's files and their sha256, those of `BUILT_ON` at least, see `require`.

    Returns:
        The items; and int64 (n,), the removed ones, which may not be recommended any more.

    Raises:
        UserError: catalogue.parquet cannot be read, or was made for other files of the run.
    """
    items, path = load_items(folder), folder / _FILE
    if not path.exists():
        return items, np.zeros(0, np.int64)
    with blaming(path):
        table = pq.read_table(path)
        state = parse_json((table.schema.metadata or {})[_STATE])
        expect(state, {"inputs": {ANY: str}, "gone": [object]})
        rows = table["item"].combine_chunks().flatten()
        dataset = _with_items(items.dataset, pa.table(rows, names=items.dataset.items.schema.names))
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
        gone = indices_of(state["gone"], dataset.item_ids)
        if (gone < 0).any():
            raise ValueError("an item that was removed is not in the catalogue")
    if not state["inputs"].items() <= built_on.items():
        raise UserError(
            f"{path} belongs to other items or codes than this run has now: delete it, then add "
            f"the items again (genrec tokenize {folder} --append FILE)"
        )
    ids = dataclasses.replace(items.ids, codes=np.concatenate([items.ids.codes, codes]))
    return RunItems(dataset, ids, np.concatenate([items.content, content]), items.trained), gone


def append_items(
    config: Config, folder: str | Path, file: str | Path, vectors: str | Path | None = None
) -> Change:
    """Gives codes to new items of a run, without changing those of any other.

    Args:
        file: items, one on a row, with the columns that the run's items have.
        vectors: .npy file of their vectors, row by row, where the run's come from a file too.

    Raises:
        UserError: the run is not tokenized, or the file or the vectors are not as they should be,
            or there is no room for an item's codes; or another process writes into the run.
    """
    folder, vectors = Path(folder), None if vectors is None else Path(vectors)
    with alone(folder, "genrec tokenize"):
        built_on = require(folder, config, *BUILT_ON)
        items, gone = current_items(folder, built_on)
        source = data_source(config.data)
        table = read_new_items(Path(file), source.columns, source.text)
        new, open_items, change = plan_additions(
            items.dataset.item_ids, _open_items(items, gone), table["item_id"].to_pylist()
        )
        content = np.concatenate([items.content, _embed(config, items, table, vectors, new)])
        first = len(items.content)
        numbers = pa.array(np.arange(first, len(content)), pa.int32())
        rows = table.take(new).set_column(0, "item", numbers)
        dataset = _with_items(items.dataset, _like(rows, items.dataset.items.schema))
        inputs = tokenized_vectors(config, dataset, content, items.trained)
        new_inputs, tokenizer = inputs[first:], load_tokenizer(folder / "tokenizer")
        new_codes = tokenizer.encode(new_inputs)
        ids = append_codes(
            items.ids,
            new_codes,
            config.tokenizer.collisions,
            lambda some: tokenizer.distances(new_inputs[some], new_codes[some]),
        )
        _write(folder, built_on, RunItems(dataset, ids, content, items.trained), open_items)
        if len(content) == items.trained:
            return change
        codes = np.concatenate([items.ids.codes[:, : new_codes.shape[1]], new_codes])
        drift = _drift(config, tokenizer, inputs, codes, items.trained)
        return dataclasses.replace(change, drift=drift)


def append_to_bundle(bundle: Path, file: Path, vectors: Path) -> Change:
    """Gives codes to new items in a bundle; arguments as for `append_items`.

    Raises:
        UserError: see `append_items` and `genrec.bundle.add_items`.
    """
    data = read_manifest(bundle)["config"]["data"]
    table = read_new_items(file, Columns(**data["columns"]), data["text"] or "{title}")
    content = embed_file(vectors, np.arange(table.num_rows), table.num_rows)
    return add_items(bundle, table["item_id"].to_pylist(), table["title"].to_pylist(), content)


def remove_items(config: Config, folder: str | Path, names: Sequence[str]) -> Change:
    """Has items recommended no more, by id or title; they keep their codes.

    Raises:
        UserError: the run is not tokenized, an item is unknown, none would be left, or another
            process writes into the run.
    """
    folder = Path(folder)
    with alone(folder, "genrec tokenize"):
        built_on = require(folder, config, *BUILT_ON)
        items, gone = current_items(folder, built_on)
        removed = ItemNames(items.dataset.item_ids, items.dataset.titles).known(names)
        before = _open_items(items, gone)
        after = np.setdiff1d(before, removed)
        if len(after) == 0:
            raise UserError(f"none of the {len(items.content):,} items would be left: keep some")
        _write(folder, built_on, items, after)
        return change_of(before, after)


def show_branches(
    config: Config, folder: str | Path, prefix: Sequence[int] = ()
) -> tuple[list[Branch], list[str]]:
    """The branches of the tree of semantic IDs below a prefix, see `branches`; and what to show of
    each item, by its index.

    Raises:
        UserError: the run is not tokenized, or the prefix leads nowhere.
    """
    folder = Path(folder)
    built_on = require(folder, config, *BUILT_ON)
    items, gone = current_items(folder, built_on)
    labels = items.dataset.labels
    return branches(items.ids.codes, labels, prefix, items=_open_items(items, gone)), labels


def _open_items(items: RunItems, gone: np.ndarray) -> np.ndarray:
    """int64: the items that may be recommended, all but those that were removed."""
    return np.setdiff1d(np.arange(items.dataset.num_items), gone)


def _embed(
    config: Config, items: RunItems, table: pa.Table, vectors: Path | None, rows: np.ndarray
) -> np.ndarray:
    """float32 (n, C): the content vectors of n rows of a table of new items."""
    width = items.content.shape[1]
    if config.embedding.kind == "file":
        if vectors is None:
            raise UserError(
                "the vectors of this run's items came from a file (embedding.path): name one with "
                "those of the new items by --vectors"
            )
        content = embed_file(vectors, rows, table.num_rows)
        if content.shape[1] != width:
            raise UserError(
                f"{vectors} has vectors of width {content.shape[1]}, those of the run have "
                f"{width}: use the same encoder for both"
            )
        return content
    if vectors is not None:
        raise UserError("--vectors goes with embedding.kind file; this run embeds the text itself")
    if not len(rows):
        return np.zeros((0, width), np.float32)
    # The text encoder is fitted again, rather than kept: it is large, and quickly fitted.
    texts = items.dataset.texts[: items.trained]
    again, embed = embed_tfidf(texts, dim=config.embedding.dim, seed=config.seed)
    if not np.allclose(again, items.content[: items.trained], atol=1e-3):
        raise UserError(
            "the texts of this run have other vectors here than in its embeddings.npy, so new ones "
            "would not fit: use the version of scikit-learn that the run was made with, or "
            "embedding.kind file"
        )
    return embed(table["text"].take(rows).to_pylist())


def _write(folder: Path, built_on: dict[str, str], items: RunItems, open_items: np.ndarray) -> None:
    """Writes catalogue.parquet: in one file, lest a crash leave one part of a change."""
    item_ids, trained = items.dataset.item_ids, items.trained
    gone = np.setdiff1d(np.arange(len(item_ids)), open_items)
    came = items.dataset.items.slice(trained).combine_chunks()
    rows = pa.StructArray.from_arrays(
        [column.combine_chunks() for column in came.columns], fields=list(came.schema)
    )
    state = {"inputs": built_on, "gone": [item_ids[item] for item in gone.tolist()]}
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
    return dataclasses.replace(dataset, items=pa.concat_tables([dataset.items, more]))


def _drift(
    config: Config, tokenizer: Tokenizer, vectors: np.ndarray, codes: np.ndarray, trained: int
) -> str:
    """One line: how well the codebooks fit the items that came after them."""

    def error(rows: slice) -> float:
        variance = float(np.sum((vectors[rows] - tokenizer.mean) ** 2))
        lost = float(np.sum((vectors[rows] - tokenizer.decode(codes[rows])) ** 2))
        return lost / max(variance, 1e-12)

    summary = (
        f"relative error {error(slice(trained, None)):.3f} of the {len(codes) - trained:,} items "
        f"that came later, {error(slice(0, trained)):.3f} of the others"
    )
    if len(codes) - trained < FEWEST_TO_JUDGE:
        return f"{summary}; too few to say whether other codebooks would fit them better"
    gain = gain_of_refitting(
        vectors[:trained], vectors[trained:], tokenizer.codebook_sizes, seed=config.seed
    )
    verdict = "train the tokenizer anew" if gain > WORTH_REFITTING else "no need to train it anew"
    return (
        f"{summary}; codebooks that knew such items would have {max(gain, 0):.1%} less: {verdict}"
    )


def _like(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of a schema; null where the table has no such column, or of another kind."""

    def column(field: pa.Field):
        if field.name in table.column_names:
            with contextlib.suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
                return table[field.name].cast(field.type)
        return pa.nulls(table.num_rows, field.type)

    return pa.table([column(field) for field in schema], schema=schema)
