"""What `prepare` writes, against a plain-Python reference and on files of every format."""

import csv
import importlib
import itertools
import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.config import Columns
from genrec.data import Source, load_dataset, prepare, read_new_items
from genrec.errors import UserError
from genrec.sequences.histories import hash_user_ids

HEADER = ["user_id", "item_id", "timestamp", "position"]


def write_csv(path, header, rows, delimiter=","):
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter=delimiter).writerows([header, *rows])
    return path


def sequences_in(folder):
    """{user: [(item id, timestamp), …]} of a prepared folder."""
    ids = pq.read_table(folder / "items.parquet")["item_id"].to_pylist()
    rows = pq.read_table(folder / "sequences.parquet").to_pylist()
    return {
        row["user_id"]: [(ids[i], t) for i, t in zip(row["items"], row["timestamps"], strict=True)]
        for row in rows
    }


def flat_in(folder):
    """The same from the flat arrays, as a list in the order of the users, and the users' hashes."""
    ids = pq.read_table(folder / "items.parquet")["item_id"].to_pylist()
    arrays = {path.stem: np.load(path) for path in (folder / "histories").iterdir()}
    kinds = {name: str(array.dtype) for name, array in arrays.items()}
    expected = {"indptr": "int64", "items": "int32", "timestamps": "int64", "users": "uint32"}
    assert kinds == expected
    indptr, items, times = (arrays[name].tolist() for name in ("indptr", "items", "timestamps"))
    events = [(ids[i], t) for i, t in zip(items, times, strict=True)]
    assert (indptr[0], indptr[-1]) == (0, len(events))
    sequences = [events[a:b] for a, b in itertools.pairwise(indptr)]
    return sequences, arrays["users"].tolist()


def reference(rows, k):
    """The k-core, by filtering lists until nothing changes; then each user's items in order."""
    rows = [(*row, line) for line, row in enumerate(rows)]
    while True:
        users, items = Counter(r[0] for r in rows), Counter(r[1] for r in rows)
        kept = [r for r in rows if users[r[0]] >= k and items[r[1]] >= k]
        if len(kept) == len(rows):
            break
        rows = kept
    found = {}
    for user in sorted({r[0] for r in rows}):
        own = sorted((r for r in rows if r[0] == user), key=lambda r: r[2:])
        if len(own) >= 3:
            found[user] = [(item, ts) for _, item, ts, _, _ in own]
    return found


# Few users, items and times make dense graphs and many ties; the ids are of the awkward kind.
events = st.lists(
    st.tuples(
        st.sampled_from(["007", "7", "07", "ünï 🦊", 'a,"b"', " x"]),
        st.sampled_from(["001", "1", "null", "NaN", "1e3", "é"]),
        st.integers(0, 4),
        st.integers(0, 2),
    ),
    max_size=60,
)


@settings(max_examples=25, deadline=None)
@given(rows=events, k=st.integers(1, 4), positioned=st.booleans(), seed=st.integers(0, 3))
def test_equals_the_reference(tmp_path_factory, rows, k, positioned, seed):
    folder = tmp_path_factory.mktemp("prepare")
    path = write_csv(folder / "interactions.csv", HEADER, rows)
    if not positioned:
        rows = [(user, item, ts, 0) for user, item, ts, _ in rows]
    source = Source(path, columns=Columns(position="position" if positioned else None))
    expected = reference(rows, k)
    if not expected:
        with pytest.raises(UserError, match=r"nothing is left by the step|no interaction that"):
            prepare(source, folder / "out", k_core=k, seed=seed)
        assert not (folder / "out").exists()
        return
    counts = prepare(source, folder / "out", k_core=k, seed=seed)
    found = sequences_in(folder / "out")
    assert found == expected
    assert list(found) == list(expected)
    histories, hashes = flat_in(folder / "out")
    assert histories == list(expected.values())
    assert hashes == hash_user_ids(list(expected)).tolist()
    catalogue = {item for sequence in expected.values() for item, _ in sequence}
    items = pq.read_table(folder / "out" / "items.parquet")
    assert set(items["item_id"].to_pylist()) == catalogue
    assert items["title"] == items["text"] == items["item_id"]
    lengths = [len(sequence) for sequence in expected.values()]
    pairs = {(user, item) for user, sequence in expected.items() for item, _ in sequence}
    assert counts["interactions_read"] == len(rows)
    assert counts["users_read"] == len({row[0] for row in rows})
    assert counts["items_read"] == len({row[1] for row in rows})
    assert (counts["users"], counts["items"]) == (len(expected), len(catalogue))
    assert counts["interactions"] == sum(lengths)
    assert counts["repeated_pairs"] == sum(lengths) - len(pairs)
    assert counts["history_length"]["min"] == min(lengths)
    assert counts["history_length"]["max"] == max(lengths)
    assert counts == json.loads((folder / "out" / "counts.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("at_once", "parts"), [(1, 7), (60, 4), (1000, 1)])
def test_sequences_are_written_in_parts(tmp_path, monkeypatch, at_once, parts):
    """Seven users of 28 or 29 interactions each."""
    rows = [(f"u{n % 7}", f"i{n % 11}", n % 5, 0) for n in range(200)]
    source = Source(write_csv(tmp_path / "i.csv", HEADER, rows))
    monkeypatch.setattr(
        importlib.import_module("genrec.data.prepare"), "_INTERACTIONS_AT_ONCE", at_once
    )
    monkeypatch.setattr(importlib.import_module("genrec.data.flat"), "_USERS_AT_ONCE", 2)
    prepare(source, tmp_path / "out", k_core=1, seed=0)
    with pq.ParquetFile(tmp_path / "out" / "sequences.parquet") as file:
        assert file.num_row_groups == parts
    expected = reference(rows, 1)
    assert sequences_in(tmp_path / "out") == expected
    assert flat_in(tmp_path / "out")[0] == list(expected.values())
    assert flat_in(tmp_path / "out")[1] == hash_user_ids(list(expected)).tolist()


def test_short_users_are_left_out_and_counted(tmp_path):
    rows = [("a", f"{n}", n) for n in range(3)] + [("b", "0", 1), ("b", "only b's", 2)]
    source = Source(write_csv(tmp_path / "i.csv", HEADER[:3], rows))
    counts = prepare(source, tmp_path / "out", k_core=1, seed=0)
    assert (counts["users"], counts["users_too_short"]) == (1, 1)
    assert list(sequences_in(tmp_path / "out")) == ["a"]
    # What only left-out users touched is not in the catalogue.
    assert counts["items"] == 3


@pytest.mark.parametrize(("position", "tied"), [(None, 1), ("place", 0)])
def test_users_whose_last_two_interactions_are_of_one_time_are_counted(tmp_path, position, tied):
    """Two of one time in the middle do not matter, nor any where a position tells their order."""
    times = {"end": (1, 2, 2), "middle": (1, 1, 2), "none": (1, 2, 3)}
    rows = [(user, n, each[n], n) for user, each in times.items() for n in range(3)]
    path = write_csv(tmp_path / "i.csv", [*HEADER[:3], "place"], rows)
    source = Source(path, columns=Columns(position=position))
    assert prepare(source, tmp_path / "out", k_core=1, seed=0)["tied_ends"] == tied


def test_ties_keep_the_order_of_the_file(tmp_path):
    order = np.random.default_rng(0).permutation(500)
    rows = [("u", f"i{n}", 5) for n in order]
    source = Source(write_csv(tmp_path / "i.csv", HEADER[:3], rows))
    prepare(source, tmp_path / "out", k_core=1, seed=0)
    assert [item for item, _ in sequences_in(tmp_path / "out")["u"]] == [f"i{n}" for n in order]


def test_position_decides_ties_only(tmp_path):
    rows = [("u", "late", 9, 0), ("u", "b", 5, 10), ("u", "a", 5, 9)]
    source = Source(
        write_csv(tmp_path / "i.csv", HEADER, rows), columns=Columns(position="position")
    )
    prepare(source, tmp_path / "out", k_core=1, seed=0)
    assert [item for item, _ in sequences_in(tmp_path / "out")["u"]] == ["a", "b", "late"]


def test_fractions_of_a_second_order_and_are_cut_off(tmp_path):
    rows = [("u", "c", "7.75"), ("u", "a", "7.25"), ("u", "b", "7.5"), ("u", "z", "1e1")]
    source = Source(write_csv(tmp_path / "i.csv", HEADER[:3], rows))
    prepare(source, tmp_path / "out", k_core=1, seed=0)
    expected = [("a", 7), ("b", 7), ("c", 7), ("z", 10)]
    assert sequences_in(tmp_path / "out")["u"] == expected


def test_items_are_numbered_by_the_seed_and_not_in_the_order_of_their_ids(tmp_path):
    rows = [("u", f"{n:03}", n) for n in range(200)]
    source = Source(write_csv(tmp_path / "i.csv", HEADER[:3], rows))

    def numbered(seed):
        prepare(source, tmp_path / "out", k_core=1, seed=seed)
        items = pq.read_table(tmp_path / "out" / "items.parquet")
        assert items["item"].to_pylist() == list(range(200))
        return items["item_id"].to_pylist()

    assert numbered(1) == numbered(1)
    assert numbered(1) != numbered(2)
    correlation = np.corrcoef(np.arange(200), [int(item) for item in numbered(1)])[0, 1]
    assert abs(correlation) < 0.25


def test_the_same_input_gives_the_same_bytes(tmp_path):
    rows = [(f"u{n % 7}", f"i{n % 11}", n % 5) for n in range(200)]
    source = Source(write_csv(tmp_path / "i.csv", HEADER[:3], rows))
    for name in ("one", "two"):
        prepare(source, tmp_path / name, k_core=2, seed=3)
    files = [path for path in (tmp_path / "one").rglob("*") if path.is_file()]
    names = sorted(path.relative_to(tmp_path / "one").as_posix() for path in files)
    assert names == [
        "counts.json",
        "histories/indptr.npy",
        "histories/items.npy",
        "histories/timestamps.npy",
        "histories/users.npy",
        "items.parquet",
        "sequences.parquet",
    ]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_failure_leaves_the_previous_folder(tmp_path):
    source = Source(write_csv(tmp_path / "i.csv", HEADER[:3], [("u", f"{n}", n) for n in range(3)]))
    prepare(source, tmp_path / "out", k_core=1, seed=0)
    with pytest.raises(UserError):
        prepare(source, tmp_path / "out", k_core=9, seed=0)
    assert len(load_dataset(tmp_path / "out").user_ids) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["i.csv", "out"]


# Items files: ids, rows, titles, texts and the columns that are carried along.

INTERACTIONS = [("u", "007", 1), ("u", "7", 2), ("u", "é", 3)]


def prepared_items(tmp_path, items, **source):
    interactions = write_csv(tmp_path / "interactions.csv", HEADER[:3], INTERACTIONS)
    prepare(Source(interactions, items, **source), tmp_path / "out", k_core=1, seed=0)
    table = pq.read_table(tmp_path / "out" / "items.parquet")
    return table, {row["item_id"]: row for row in table.to_pylist()}


def test_items_carry_their_row_title_text_and_other_columns(tmp_path):
    rows = [("é", "Eau", "x"), ("unused", "Un", "y"), ("7", "", "z"), ("007", "Bond", "")]
    path = write_csv(tmp_path / "items.csv", ["item_id", "title", "brand"], rows)
    table, items = prepared_items(tmp_path, path, text="{title} by {brand}")
    assert table.column_names == ["item", "item_id", "text", "row", "title", "brand"]
    assert [table.schema.field(n).type for n in ("item", "row")] == [pa.int32(), pa.int64()]
    assert {i: row["row"] for i, row in items.items()} == {"é": 0, "7": 2, "007": 3}
    assert {i: row["title"] for i, row in items.items()} == {"é": "Eau", "7": "7", "007": "Bond"}
    assert items["7"]["text"] == "by z"
    assert items["007"]["text"] == "Bond by"
    assert items["é"]["brand"] == "x"


def test_columns_may_be_called_otherwise(tmp_path):
    header = ["name", "asin", "item_id", "Text", "row", "source_row"]
    rows = [(f"t{i}", i, "n", "long", "r", "s") for i in ("007", "7", "é")]
    path = write_csv(tmp_path / "items.csv", header, rows)
    interactions = write_csv(tmp_path / "i.csv", ["who", "asin", "when"], INTERACTIONS)
    columns = Columns(user="who", item="asin", timestamp="when", title="name")
    text = "{title}, {name}, {asin}, {item_id}, {Text}"
    prepare(Source(interactions, path, columns, text), tmp_path / "out", k_core=1, seed=0)
    row = pq.read_table(tmp_path / "out" / "items.parquet").to_pylist()[0]
    assert row["text"] == f"{row['title']}, {row['title']}, {row['item_id']}, n, long"
    others = {"source_item_id": "n", "source_Text": "long", "source_source_row": "s"}
    assert {name: row[name] for name in others} == others
    assert row["source_row"] == "r"


def test_without_an_items_file_the_id_is_title_and_text(tmp_path):
    table, items = prepared_items(tmp_path, None)
    assert set(items) == {"007", "7", "é"}
    assert all(row["title"] == row["text"] == item for item, row in items.items())
    assert table["row"].null_count == 3


def test_new_items_are_described_as_those_of_the_catalogue(tmp_path):
    rows = [("b", "Eau", "x"), ("a", "", "y"), ("007", "Bond", "")]
    path = write_csv(tmp_path / "items.csv", ["sku", "title", "brand"], rows)
    columns = Columns(item="sku")
    table = read_new_items(path, columns, "{title} by {brand}")
    assert table.column_names == ["item", "item_id", "text", "row", "title", "brand"]
    assert table["item_id"].to_pylist() == ["b", "a", "007"]  # in the order of the file
    assert table["item"].to_pylist() == table["row"].to_pylist() == [0, 1, 2]
    assert table["title"].to_pylist() == ["Eau", "a", "Bond"]
    assert table["text"].to_pylist() == ["Eau by x", "by y", "Bond by"]


# One content in every format.

FULL = {
    "user_id": ["u", "u", "u", "v", "v", "v"],
    "item_id": ["007", "7", "é", "7", "007", "é"],
    "timestamp": [3, 2, 1, 1, 1, 1],
}


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".CSV"])
def test_every_format_gives_the_same(tmp_path, ending):
    path = tmp_path / f"interactions{ending}"
    rows = list(zip(*FULL.values(), strict=True))
    if ending.lower() in (".csv", ".tsv"):
        write_csv(path, list(FULL), rows, "\t" if ending == ".tsv" else ",")
    elif ending == ".parquet":
        pq.write_table(pa.table(FULL), path)
    else:
        lines = [json.dumps(dict(zip(FULL, row, strict=True))) for row in rows]
        path.write_text("\n".join(lines), encoding="utf-8")
    prepare(Source(path), tmp_path / "out", k_core=2, seed=0)
    assert sequences_in(tmp_path / "out") == {
        "u": [("é", 1), ("7", 2), ("007", 3)],
        "v": [("7", 1), ("007", 1), ("é", 1)],
    }


def test_json_lines_keep_lists_and_the_spelling_of_text(tmp_path):
    lines = [
        {"item_id": "007", "title": "2020-01-02", "tags": ["a", "b"], "released": "2020-1-2"},
        {"item_id": 7, "title": "t", "tags": [], "code": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"},
        {"item_id": "é", "title": None, "price": 1.5},
    ]
    path = tmp_path / "items.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    _, items = prepared_items(tmp_path, path, text="{title}: {tags} {price}")
    assert items["007"]["text"] == "2020-01-02: a, b"
    assert items["007"]["tags"] == ["a", "b"]
    assert items["007"]["released"] == "2020-1-2"
    assert items["7"]["code"] == "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"
    assert items["é"]["text"] == ": 1.5"


def test_ids_in_json_lines_are_text_however_large(tmp_path):
    big = "123456789012345678901234567890"
    lines = [f'{{"user_id": {big}, "item_id": {n}, "timestamp": {n}}}' for n in range(3)]
    path = tmp_path / "i.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    prepare(Source(path), tmp_path / "out", k_core=1, seed=0)
    assert list(sequences_in(tmp_path / "out")) == [big]


def test_csv_quotes_line_ends_and_byte_order_mark(tmp_path):
    path = tmp_path / "items.csv"
    text = '\ufeffitem_id,title\r\n007,"A ""quoted"", title"\r\n7,"two\nlines; one"\r\né,plain\r\n'
    path.write_text(text, encoding="utf-8", newline="")
    _, items = prepared_items(tmp_path, path)
    assert {row["text"] for row in items.values()} == {
        'A "quoted", title',
        "two lines; one",
        "plain",
    }


def test_a_table_saved_with_its_index_is_read(tmp_path):
    rows = [(n, *row) for n, row in enumerate(INTERACTIONS)]
    path = write_csv(tmp_path / "i.csv", ["", *HEADER[:3]], rows)
    prepare(Source(path), tmp_path / "out", k_core=1, seed=0)
    assert len(sequences_in(tmp_path / "out")["u"]) == 3


def test_a_path_is_taken_as_it_is_written(tmp_path):
    folder = tmp_path / "lr=1 it's"
    folder.mkdir()
    # A pattern would match this file too.
    write_csv(folder / "data1.csv", HEADER[:3], [("wrong", f"{n}", n) for n in range(3)])
    interactions = write_csv(folder / "data[1].csv", HEADER[:3], INTERACTIONS)
    pq.write_table(
        pa.table({"item_id": ["7", "007", "é"], "title": list("abc")}), folder / "i.parquet"
    )
    prepare(Source(interactions, folder / "i.parquet"), folder / "out", k_core=1, seed=0)
    dataset = load_dataset(folder / "out")
    assert dataset.user_ids.tolist() == ["u"]
    assert "lr" not in dataset.items.column_names
