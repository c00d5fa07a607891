import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.errors import UserError
from genrec.recommend.request_files import count_requests, read_names, read_requests

TEXT = st.text(st.characters(codec="utf-8"), max_size=4)
TEXTS = st.lists(TEXT, max_size=3)
KINDS = {
    "user_id": pa.string(),
    "items": pa.list_(pa.string()),
    "timestamps": pa.list_(pa.int64()),
    "exclude": pa.list_(pa.string()),
    "allow": pa.list_(pa.string()),
    "more": pa.int64(),
}


@st.composite
def some_rows(draw):
    columns = {
        "user_id": TEXT,
        "items": TEXTS,
        "timestamps": st.none() | st.lists(st.integers(-(2**62), 2**62), max_size=3),
        "exclude": st.none() | TEXTS,
        "allow": st.none() | TEXTS,
        "more": st.integers(0, 9),
    }
    there = {"user_id", "items"} | draw(st.sets(st.sampled_from(list(columns))))
    return draw(st.lists(st.fixed_dictionaries({name: columns[name] for name in there})))


def written(path, rows):
    if path.suffix == ".parquet":
        names = rows[0] if rows else ["user_id", "items"]
        schema = pa.schema([(name, KINDS[name]) for name in names])
        pq.write_table(pa.Table.from_pylist(rows, schema), path)
    else:
        path.write_text("\n\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["requests.jsonl", "requests.parquet"])
@given(rows=some_rows(), at_once=st.integers(1, 4))
def test_every_request_is_read_in_order_however_many_at_once(tmp_path_factory, name, rows, at_once):
    path = written(tmp_path_factory.mktemp("requests") / name, rows)
    assert count_requests(path) == len(rows)
    pieces = list(read_requests(path, at_once))
    assert [len(piece.histories) for piece in pieces[:-1]] == [at_once] * (len(pieces) - 1)
    there = rows[0] if rows else {}

    def read(name):
        values = [getattr(piece, name) for piece in pieces]
        return None if None in values else [value for piece in values for value in piece]

    for column in ("timestamps", "exclude"):
        expected = [row[column] or [] for row in rows] if column in there else None
        assert read(column) == (expected if rows else [])
    assert read("user_ids") == [row["user_id"] for row in rows]
    assert read("histories") == [row["items"] for row in rows]
    assert read("allow") == (
        [row.get("allow") for row in rows] if "allow" in there or not rows else None
    )


def test_ids_that_are_numbers_are_text_also_beside_titles(tmp_path):
    path = tmp_path / "requests.jsonl"
    path.write_text(
        '{"user_id": 7, "items": [1, "Film 3"], "timestamps": [5, 6], "allow": [2]}\n'
        '{"user_id": "b", "items": [], "timestamps": [], "exclude": [12345678901234567890]}\n'
    )
    (piece,) = read_requests(path, 9)
    assert (piece.user_ids, piece.histories) == (["7", "b"], [["1", "Film 3"], []])
    assert piece.timestamps == [[5, 6], []]
    assert (piece.exclude, piece.allow) == ([[], ["12345678901234567890"]], [["2"], None])

    path = tmp_path / "requests.parquet"
    pq.write_table(pa.table({"user_id": [7], "items": [[1, 2]]}), path)
    (piece,) = read_requests(path, 9)
    assert (piece.user_ids, piece.histories, piece.timestamps) == (["7"], [["1", "2"]], None)


def test_no_list_is_an_empty_one_save_that_all_items_may_be_allowed(tmp_path):
    lacking = {"user_id": "a", "items": None, "exclude": None, "allow": None}
    (piece,) = read_requests(written(tmp_path / "r.parquet", [lacking]), 9)
    assert (piece.histories, piece.exclude, piece.allow) == ([[]], [[]], [None])


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ("{", "line 3 is no JSON"),
        ("user_id,items", "line 3 is no JSON"),
        ('["a"]', "line 3 is no object"),
        ('{"user_id": "a"}', "line 3 has no items"),
        ('{"items": ["a"]}', "line 3 has no user_id"),
        ('{"user_id": null, "items": ["a"]}', "user_id has gaps"),
        ('{"user_id": "a", "items": ["a", null]}', "items has gaps"),
        ('{"user_id": "a", "items": ["a"], "timestamps": [null]}', "timestamps has gaps"),
        ('{"user_id": "a", "items": ["a"], "timestamps": ["noon"]}', "'noon'"),
        ('{"user_id": "a", "items": "a"}', "list"),
        ('{"user_id": "a", "items": [["a"]]}', "list"),
        ('{"user_id": "a", "items": ["a"], "allow": "a"}', "list"),
    ],
)
def test_a_line_that_is_no_request_is_refused_in_one_line(tmp_path, second, why):
    path = tmp_path / "requests.jsonl"
    path.write_text(f'{{"user_id": "a", "items": ["a"]}}\n\n{second}\n')
    requests = read_requests(path, 1)
    assert next(requests).histories == [["a"]]
    with pytest.raises(UserError, match=why) as caught:
        next(requests)
    assert str(caught.value).startswith(
        f"{path} should be JSON lines or Parquet with user_id and items, a list: "
    )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"user_id": ["a"]}, "there is no items"),
        ({"items": [["a"]]}, "there is no user_id"),
        ({"other": ["a"]}, "there is no user_id"),
        ({"user_id": ["a"], "items": ["a"]}, "list"),
        ({"user_id": ["a"], "items": [["a", None]]}, "items has gaps"),
        ({"user_id": [None], "items": [["a"]]}, "user_id has gaps"),
    ],
)
def test_a_parquet_file_of_something_else_is_refused(tmp_path, columns, why):
    pq.write_table(pa.table(columns), tmp_path / "requests.parquet")
    with pytest.raises(UserError, match=f"requests.parquet should be JSON lines or .*{why}"):
        list(read_requests(tmp_path / "requests.parquet", 9))


@pytest.mark.parametrize("name", ["r.jsonl", "r.parquet"])
def test_a_file_that_is_missing_or_not_readable_is_named(tmp_path, name):
    path = tmp_path / name
    for read in (count_requests, read_names, lambda path: list(read_requests(path, 9))):
        with pytest.raises(UserError, match=f"{name} does not exist"):
            read(path)
    path.write_bytes(b"\xff\xfe broken")
    for read in (read_names, lambda path: list(read_requests(path, 9))):
        with pytest.raises(UserError, match=f"{name} should "):
            read(path)


def test_names_stand_one_to_a_line_or_in_the_column_item_id(tmp_path):
    (tmp_path / "names.txt").write_text("i1\n\n Amélie (2001) \r\ni2", encoding="utf-8")
    assert read_names(tmp_path / "names.txt") == ["i1", "Amélie (2001)", "i2"]
    (tmp_path / "names.txt").write_text("")
    assert read_names(tmp_path / "names.txt") == []
    path = tmp_path / "names.parquet"
    pq.write_table(pa.table({"title": ["x", "y"], "item_id": [7, 12]}), path)
    assert read_names(path) == ["7", "12"]


@pytest.mark.parametrize(
    ("columns", "why"), [({"id": ["a"]}, "item_id"), ({"item_id": ["a", None]}, "has gaps")]
)
def test_a_parquet_file_of_no_names_is_refused(tmp_path, columns, why):
    pq.write_table(pa.table(columns), tmp_path / "names.parquet")
    with pytest.raises(UserError, match=f"names.parquet should name an item .*{why}"):
        read_names(tmp_path / "names.parquet")


def test_times_that_parquet_has_as_such_are_read_as_seconds(tmp_path):
    times = pa.array([[1_500_000, 61_000_000]], pa.list_(pa.timestamp("us", "UTC")))
    file = tmp_path / "requests.parquet"
    pq.write_table(pa.table({"user_id": ["a"], "items": [["x", "y"]], "timestamps": times}), file)
    (requests,) = read_requests(file, 10)
    assert requests.timestamps == [[1, 61]]
