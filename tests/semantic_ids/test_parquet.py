import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given

from genrec.errors import UserError
from genrec.semantic_ids.collisions import SemanticIds, disambiguate
from genrec.semantic_ids.parquet import load_semantic_ids, save_semantic_ids
from small_codes import SIZES, tuples


@given(tuples())
def test_parquet_round_trip(tmp_path_factory, codes):
    path = tmp_path_factory.mktemp("ids") / "semantic_ids.parquet"
    ids = disambiguate(codes, SIZES)
    save_semantic_ids(path, ids)
    loaded = load_semantic_ids(path)
    assert np.array_equal(loaded.codes, ids.codes) and loaded.codes.dtype == np.int32
    assert loaded.codebook_sizes == ids.codebook_sizes and loaded.unique


@given(tuples())
def test_shared_tuples_are_kept_as_they_are(tmp_path_factory, codes):
    path = tmp_path_factory.mktemp("ids") / "semantic_ids.parquet"
    save_semantic_ids(path, SemanticIds(codes, SIZES, unique=False))
    loaded = load_semantic_ids(path)
    assert not loaded.unique and loaded.codebook_sizes == SIZES
    assert np.array_equal(loaded.codes, codes)


def test_the_file_is_plain_parquet(tmp_path):
    save_semantic_ids(tmp_path / "a", SemanticIds(np.array([[0, 1], [2, 0]], np.int32), (3, 2)))
    table = pq.read_table(tmp_path / "a")
    assert table.schema.field("item").type == pa.int32()
    assert table.schema.field("codes").type == pa.list_(pa.int32())
    assert table.to_pylist() == [{"item": 0, "codes": [0, 1]}, {"item": 1, "codes": [2, 0]}]


def write(path, items=(0, 1), codes=((0, 1), (1, 0)), sizes="[2, 2]", columns=("item", "codes")):
    table = pa.table(dict(zip(columns, [list(items), [c and list(c) for c in codes]], strict=True)))
    pq.write_table(table.replace_schema_metadata(sizes and {"codebook_sizes": sizes}), path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"items": (1, 0)}, "column item must be 0, 1, 2"),
        ({"items": (0, 2)}, "column item must be 0, 1, 2"),
        ({"items": (0, None)}, "column item must be 0, 1, 2"),
        ({"codes": ((0, 1), (0, 2))}, "item 1 has code 2 at level 1, outside 0…1"),
        ({"codes": ((0, 1), (-1, 0))}, "item 1 has code -1 at level 0"),
        ({"codes": ((0, 1), (0, 1))}, r"item 1 repeats another item's codes \[0, 1\]"),
        ({"codes": ((0, 1), (0,))}, "does not hold semantic IDs"),
        ({"codes": ((0, 1, 0), (0,))}, "does not hold semantic IDs"),
        ({"codes": ((0, 1), None)}, "does not hold semantic IDs"),
        ({"codes": ((0, 1), (0, None))}, "does not hold semantic IDs"),
        ({"sizes": None}, "does not hold semantic IDs"),
        ({"sizes": "two"}, "does not hold semantic IDs"),
        ({"sizes": "[2, 0]"}, "codebook sizes"),
        ({"columns": ("item", "other")}, "does not hold semantic IDs"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, changes, message):
    path = tmp_path / "semantic_ids.parquet"
    write(path)
    assert load_semantic_ids(path).codes.tolist() == [[0, 1], [1, 0]]
    write(path, **changes)
    with pytest.raises(UserError, match=message):
        load_semantic_ids(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_semantic_ids(tmp_path / "none.parquet")
    (tmp_path / "text").write_text(json.dumps({"item": 0}))
    with pytest.raises(UserError, match="does not hold semantic IDs"):
        load_semantic_ids(tmp_path / "text")
