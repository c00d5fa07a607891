"""Ranked lists of item ids and scores as Parquet files."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genrec.errors import blaming
from genrec.storage.files import replacing

_COLUMNS = {
    "user_id": pa.string(),
    "item_id": pa.list_(pa.string()),
    "score": pa.list_(pa.float32()),
}


WriteLists = Callable[[Sequence[str] | np.ndarray, np.ndarray, np.ndarray], None]
"""Adds a list for each of B users, from item indices (B, k), -1 being none, and scores."""


def read_lists(path: Path) -> pa.Table:
    """The lists that an evaluation wrote: user_id, item_id (list) and score (list), without gaps.

    Raises:
        UserError: the file is missing or unreadable, or holds something else.
    """
    with blaming(path, "; run genrec evaluate again"), pq.ParquetFile(path) as file:
        for name, dtype in _COLUMNS.items():
            index = file.schema_arrow.get_field_index(name)
            if index < 0 or not file.schema_arrow.field(index).type.equals(dtype):
                raise ValueError(f"it has no column {name} of type {dtype}")
        table = file.read(columns=list(_COLUMNS)).combine_chunks()
        table.validate(full=True)  # of texts, that they are UTF-8
        if not table.num_rows:
            raise ValueError("it has no rows")
        columns = {name: table[name].combine_chunks() for name in _COLUMNS}
        inner = [column.flatten() for name, column in columns.items() if name != "user_id"]
        if any(column.null_count for column in (*columns.values(), *inner)):
            raise ValueError("it has gaps")
        if not columns["item_id"].value_lengths().equals(columns["score"].value_lengths()):
            raise ValueError("not every item has a score")
        if not np.isfinite(inner[1].to_numpy()).all():
            raise ValueError("a score is not finite")
    return table


@contextlib.contextmanager
def writing_lists(
    path: Path, item_ids: Sequence[str], codes: np.ndarray | None = None
) -> Iterator[WriteLists]:
    """Writes ranked lists as Parquet, some users at a time.

    The columns are user_id, item_id (list), score (list) and, if codes are given, codes (list of
    lists). The file appears when all is written, or not at all.

    Args:
        codes: int (N, L), the semantic ID of each item, to be written beside it.
    """
    ids = pa.array(item_ids, pa.string())
    kinds = _COLUMNS if codes is None else _COLUMNS | {"codes": pa.list_(pa.list_(pa.int32()))}
    schema = pa.schema(kinds)

    def write(user_ids: Sequence[str] | np.ndarray, items: np.ndarray, scores: np.ndarray) -> None:
        valid = items >= 0
        flat = items[valid]
        ends = pa.array(np.cumsum([0, *valid.sum(axis=1)], dtype=np.int32))
        columns = [
            pa.array(user_ids, pa.string()),
            pa.ListArray.from_arrays(ends, ids.take(pa.array(flat))),
            pa.ListArray.from_arrays(ends, pa.array(scores[valid], pa.float32())),
        ]
        if codes is not None:
            tuples = codes[flat].astype(np.int32)
            inner = np.arange(len(flat) + 1, dtype=np.int32) * tuples.shape[1]
            lists = pa.ListArray.from_arrays(pa.array(inner), pa.array(tuples.reshape(-1)))
            columns.append(pa.ListArray.from_arrays(ends, lists))
        file.write_table(pa.Table.from_arrays(columns, schema=schema))

    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema) as file:
        yield write
