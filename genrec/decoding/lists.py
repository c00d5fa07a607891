"""Ranked lists as people see them: item ids and scores, in memory and in Parquet."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from genrec.files import replacing


def named_lists(
    item_ids: list[str], items: np.ndarray, scores: np.ndarray
) -> tuple[list[list[str]], list[list[float]]]:
    """Item ids and scores without padding, from item indices (B, k), -1 being none, and scores."""
    lengths = (items >= 0).sum(axis=1).tolist()
    names = [[item_ids[i] for i in row[:n]] for row, n in zip(items.tolist(), lengths, strict=True)]
    return names, [row[:n] for row, n in zip(scores.tolist(), lengths, strict=True)]


def write_lists(
    path: Path,
    user_ids: Sequence[str] | np.ndarray,
    item_ids: Sequence[Sequence[str]],
    scores: Sequence[Sequence[float]],
) -> None:
    """Writes a ranked list for each user as Parquet: user_id, item_id (list), score (list)."""
    table = pa.table(
        {
            "user_id": pa.array(user_ids, pa.string()),
            "item_id": pa.array(item_ids, pa.list_(pa.string())),
            "score": pa.array(scores, pa.list_(pa.float32())),
        }
    )
    with replacing(path) as temporary:
        pq.write_table(table, temporary)
