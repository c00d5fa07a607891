import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.decoding import writing_lists
from genrec.recommend.base import named_lists

IDS = [f"id{n}" for n in range(9)]
CODES = np.stack([np.arange(9) // 3, np.arange(9) % 3], axis=1)
ragged = st.lists(st.lists(st.integers(0, 8), max_size=4), max_size=6)


def padded(lists, k=4):
    """Item indices and scores as a recommender gives them."""
    items = np.full((len(lists), k), -1, np.int32)
    scores = np.full((len(lists), k), -np.inf, np.float32)
    for row, found in enumerate(lists):
        items[row, : len(found)] = found
        scores[row, : len(found)] = -np.arange(len(found)) / 4
    return items, scores


def expected(lists, users):
    return [
        {
            "user_id": user,
            "item_id": [IDS[item] for item in found],
            "score": [-place / 4 for place in range(len(found))],
            "codes": [CODES[item].tolist() for item in found],
        }
        for user, found in zip(users, lists, strict=True)
    ]


@given(st.lists(ragged, max_size=3), st.booleans())
def test_what_was_written_piece_by_piece_is_read_back_whole(tmp_path_factory, pieces, with_codes):
    path = tmp_path_factory.mktemp("lists") / "lists.parquet"
    rows = []
    with writing_lists(path, IDS, CODES if with_codes else None) as write:
        for number, lists in enumerate(pieces):
            users = [f"u{number}.{row}" for row in range(len(lists))]
            write(users, *padded(lists))
            rows += expected(lists, users)
    for row in rows if not with_codes else []:
        del row["codes"]
    assert pq.read_table(path).to_pylist() == rows
    kinds = {"user_id": pa.string(), "item_id": pa.list_(pa.string())}
    kinds |= {"score": pa.list_(pa.float32())}
    kinds |= {"codes": pa.list_(pa.list_(pa.int32()))} if with_codes else {}
    schema = pq.read_schema(path)
    assert [field.name for field in schema] == list(kinds)
    for name, kind in kinds.items():
        assert str(schema.field(name).type).replace("element", "item") == str(kind)


@given(ragged)
def test_lists_are_named_without_their_padding(lists):
    ids, scores = named_lists(IDS, *padded(lists))
    rows = expected(lists, [""] * len(lists))
    assert ids == [row["item_id"] for row in rows]
    assert scores == [row["score"] for row in rows]


@pytest.mark.parametrize("before", [None, "old"])
def test_a_file_that_was_not_finished_leaves_what_was_there(tmp_path, before):
    path = tmp_path / "lists.parquet"
    if before:
        path.write_text(before)
    with pytest.raises(RuntimeError), writing_lists(path, IDS) as write:
        write(["a"], *padded([[1, 2]]))
        raise RuntimeError
    assert [file.read_text() for file in tmp_path.iterdir()] == ([before] if before else [])
