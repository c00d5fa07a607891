"""Semantic IDs as a Parquet file, checked when it is read."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genrec.errors import UserError, reason
from genrec.semantic_ids.collisions import SemanticIds, rank_in_group
from genrec.storage.files import parse_json, replacing

_SIZES_KEY = b"codebook_sizes"
_UNIQUE_KEY = b"unique"


def save_semantic_ids(path: Path, ids: SemanticIds) -> None:
    """Writes columns item int32 and codes list<int32>; codebook sizes are in the metadata."""
    count, levels = ids.codes.shape
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * levels)
    flat = pa.array(np.ascontiguousarray(ids.codes, dtype=np.int32).reshape(-1))
    table = pa.table(
        {
            "item": pa.array(np.arange(count, dtype=np.int32)),
            "codes": pa.ListArray.from_arrays(offsets, flat),
        }
    )
    sizes = json.dumps([int(size) for size in ids.codebook_sizes])
    with replacing(path) as temporary:
        metadata = {_SIZES_KEY: sizes, _UNIQUE_KEY: json.dumps(ids.unique)}
        pq.write_table(table.replace_schema_metadata(metadata), temporary)


def load_semantic_ids(path: Path) -> SemanticIds:
    """Reads what `save_semantic_ids` wrote and checks all of it.

    Raises:
        UserError: the file is missing or unreadable, its items are not 0…N-1 in order, a tuple has
            the wrong length or a code out of range, or two items have the same tuple though they
            should not.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist: run `genrec tokenize` first")
    try:
        table = pq.read_table(path, columns=["item", "codes"])
        metadata = table.schema.metadata or {}
        sizes = tuple(int(size) for size in parse_json(metadata[_SIZES_KEY]))
        unique = bool(parse_json(metadata.get(_UNIQUE_KEY, b"true")))
        items = table["item"].combine_chunks().cast(pa.int32()).to_numpy(zero_copy_only=False)
        lists = table["codes"].combine_chunks().cast(pa.list_(pa.int32(), len(sizes)))
        codes = lists.flatten().to_numpy().reshape(len(items), len(sizes)).copy()
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{path} does not hold semantic IDs: {reason(error)}") from error
    if not sizes or min(sizes) < 1 or max(sizes) > np.iinfo(np.int32).max:
        raise UserError(f"{path}: codebook sizes {str(sizes)[:80]} are not positive int32")
    if not np.array_equal(items, np.arange(len(items))):
        raise UserError(f"{path}: column item must be 0, 1, 2, … without gaps")
    outside = (codes < 0) | (codes >= np.array(sizes, np.int32))
    if outside.any():
        item, level = (int(i) for i in np.argwhere(outside)[0])
        raise UserError(
            f"{path}: item {item} has code {codes[item, level]} at level {level}, "
            f"outside 0…{sizes[level] - 1}"
        )
    if unique and (again := rank_in_group(codes) > 0).any():
        item = int(again.argmax())
        raise UserError(f"{path}: item {item} repeats another item's codes {codes[item].tolist()}")
    return SemanticIds(codes, sizes, unique)
