"""Every complaint of `prepare` is one clear line that names the file and the column."""

import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genrec.config import Columns
from genrec.data import Source, prepare
from genrec.errors import UserError

GOOD = "user_id,item_id,timestamp\nu,a,1\nu,b,2\nu,c,3\n"
ITEMS = "item_id,title,brand\na,A,x\nb,B,y\nc,C,z\n"


MEND = "; mend them, or leave them out with data.on_bad_rows drop"


def complaint(tmp_path, interactions=GOOD, items=None, k_core=1, ending=".csv", **source):
    """The message that `prepare` refuses the given files with; it must be one line."""
    path = tmp_path / f"interactions{ending}"
    path.write_bytes(interactions if isinstance(interactions, bytes) else interactions.encode())
    items_path = None
    if items is not None:
        items_path = tmp_path / "items.csv"
        items_path.write_text(items, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        prepare(Source(path, items_path, **source), tmp_path / "out", k_core=k_core, seed=0)
    assert not (tmp_path / "out").exists()
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{tmp_path}/", "")


def test_the_good_files_are_good(tmp_path):
    (tmp_path / "i.csv").write_text(GOOD)
    (tmp_path / "items.csv").write_text(ITEMS)
    source = Source(tmp_path / "i.csv", tmp_path / "items.csv", text="{title}. {brand}")
    assert prepare(source, tmp_path / "out", k_core=1, seed=0)["interactions"] == 3


@pytest.mark.parametrize("which", ["interactions", "items"])
def test_missing_file(tmp_path, which):
    (tmp_path / "here.csv").write_text(GOOD)
    here, gone = tmp_path / "here.csv", tmp_path / "gone.csv"
    source = Source(gone) if which == "interactions" else Source(here, gone)
    with pytest.raises(UserError, match=r"gone\.csv does not exist"):
        prepare(source, tmp_path / "out", k_core=1, seed=0)


def test_a_folder_without_files(tmp_path):
    with pytest.raises(UserError, match="is a folder without files"):
        prepare(Source(tmp_path), tmp_path / "out", k_core=1, seed=0)


@pytest.mark.parametrize("sign", [";", "|", "\t"])
def test_another_delimiter(tmp_path, sign):
    found = complaint(tmp_path, GOOD.replace(",", sign))
    assert found == (
        f"interactions.csv: the header {sign.join(['user_id', 'item_id', 'timestamp'])!r} is one "
        f"column, whose parts are separated by {sign!r}: set data.delimiter"
    )
    source = Source(tmp_path / "interactions.csv", delimiter=sign)
    assert prepare(source, tmp_path / "out", k_core=1, seed=0)["interactions"] == 3


def test_unknown_ending(tmp_path):
    expected = (
        "interactions.xlsx: unknown ending '.xlsx'; "
        "genrec reads .csv, .tsv, .jsonl, .ndjson, .parquet, and all but the last compressed too, "
        "as .csv.gz or .csv.zst"
    )
    assert complaint(tmp_path, ending=".xlsx") == expected


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_empty_file(tmp_path, ending):
    assert complaint(tmp_path, "", ending=ending) == f"interactions{ending} is empty"


def test_missing_column_names_the_nearest_and_those_there(tmp_path):
    found = complaint(tmp_path, GOOD.replace("user_id", "User_Id"))
    assert found == (
        "interactions.csv has no column 'user_id' (data.columns.user); "
        "the nearest is 'User_Id'; it has: User_Id, item_id, timestamp"
    )


@pytest.mark.parametrize(
    ("columns", "setting"),
    [
        (Columns(item="asin"), "interactions.csv has no column 'asin' (data.columns.item)"),
        (
            Columns(timestamp="time"),
            "interactions.csv has no column 'time' (data.columns.timestamp)",
        ),
        (Columns(position="pos"), "interactions.csv has no column 'pos' (data.columns.position)"),
        (Columns(title="name"), "items.csv has no column 'name' (data.columns.title)"),
    ],
)
def test_missing_column_names_its_setting(tmp_path, columns, setting):
    assert complaint(tmp_path, items=ITEMS, columns=columns).startswith(setting)


def test_items_file_without_the_id(tmp_path):
    found = complaint(tmp_path, items=ITEMS.replace("item_id", "id"))
    assert found.startswith("items.csv has no column 'item_id' (data.columns.item); ")


def test_column_named_twice(tmp_path):
    found = complaint(tmp_path, "user_id,item_id,timestamp,Item_ID\nu,a,1,b\n")
    assert found == "interactions.csv: the header names the column 'Item_ID' twice"


@pytest.mark.parametrize("column", ["user_id", "item_id"])
@pytest.mark.parametrize("value", ["", '""'])
def test_empty_ids(tmp_path, column, value):
    bad = f"{value},a,4\n" if column == "user_id" else f"u,{value},4\n"
    found = complaint(tmp_path, GOOD + bad + bad)
    assert found == f"interactions.csv: column '{column}' is empty in 2 rows, first in row 4" + MEND


def test_null_ids_in_parquet(tmp_path):
    table = pa.table({"user_id": ["u", None], "item_id": ["a", "b"], "timestamp": [1, 2]})
    pq.write_table(table, tmp_path / "n.parquet")
    with pytest.raises(UserError, match="column 'user_id' is empty in 1 row, first in row 2"):
        prepare(Source(tmp_path / "n.parquet"), tmp_path / "out", k_core=1, seed=0)


@pytest.mark.parametrize("value", ["01/07/2014", "nan", "soon", "2014-02-30"])
def test_timestamps_that_are_no_times(tmp_path, value):
    found = complaint(tmp_path, GOOD + f"u,a,{value}\n")
    assert found == (
        "interactions.csv: column 'timestamp' is neither a number of seconds since 1970 nor a date "
        f"in 1 row, first in row 4 ('{value}')" + MEND
    )


def test_missing_timestamp(tmp_path):
    found = complaint(tmp_path, GOOD + "u,a,\n")
    assert found.endswith("nor a date in 1 row, first in row 4" + MEND)


@pytest.mark.parametrize("value", ["-1", "-0.5", "1969-12-31"])
def test_times_before_1970(tmp_path, value):
    found = complaint(tmp_path, GOOD + f"u,a,{value}\n")
    assert found == (
        "interactions.csv: column 'timestamp' is negative in 1 row, "
        f"first in row 4 ('{value}')" + MEND
    )


@pytest.mark.parametrize("value", ["1700000000000", "9223372036854775808"])
def test_milliseconds_among_seconds(tmp_path, value):
    found = complaint(tmp_path, GOOD + f"u,a,{value}\n")
    assert found == (
        "interactions.csv: column 'timestamp' is beyond the year 9999; if these are milliseconds, "
        f"say so (data.timestamp_unit), and mix no units: in 1 row, first in row 4 ('{value}')"
        + MEND
    )


def test_positions_that_are_no_numbers(tmp_path):
    rows = "user_id,item_id,timestamp,position\nu,a,1,0\nu,b,1,x\nu,c,1,2\n"
    found = complaint(tmp_path, rows, columns=Columns(position="position"))
    expected = "interactions.csv: column 'position' is not a number in 1 row, first in row 2 ('x')"
    assert found == expected + MEND


@pytest.mark.parametrize(
    ("contents", "ending", "reason"),
    [
        (GOOD + "u,a,4,5\n", ".csv", "Line: 5"),
        (GOOD + "u,a\n", ".csv", "Line: 5"),
        (GOOD.encode() + b"u,a,4\r\n", ".csv", "with one kind of line end"),
        (GOOD.encode() + b"u,caf\xe9,4\n", ".csv", "utf-8"),
        (b"us\xe9r,item_id,timestamp\n", ".csv", "UTF-8"),
        ('{"user_id": "u", "item_id": "a", "timestamp": 1}\n{"user_id"\n', ".jsonl", "line"),
        ("this is no parquet file", ".parquet", "arquet"),
    ],
)
def test_contents_that_cannot_be_read(tmp_path, contents, ending, reason):
    found = complaint(tmp_path, contents, ending=ending)
    assert found.startswith(f"interactions{ending}")
    assert "cannot be read" in found
    assert reason in found


def test_nothing_left_after_k_core(tmp_path):
    assert complaint(tmp_path, k_core=5) == (
        "interactions.csv: nothing is left by the step '5-core', before which there were "
        "interactions 3, users 1, items 3; ask for less or bring more data"
    )


def test_items_without_a_row(tmp_path):
    found = complaint(tmp_path, items="item_id,title\nb,B\nz,Z\n")
    assert found == (
        "items.csv has no row for 2 of the 3 items that interactions name (such as 'a'); "
        "add the rows, or leave these interactions out with data.on_bad_rows drop"
    )


def test_only_items_that_are_left_need_a_row(tmp_path):
    (tmp_path / "i.csv").write_text(GOOD + "u,a,4\nu,b,5\nu,once,6\n")
    (tmp_path / "items.csv").write_text("item_id,title\na,A\nb,B\n")
    source = Source(tmp_path / "i.csv", tmp_path / "items.csv")
    assert prepare(source, tmp_path / "out", k_core=2, seed=0)["items"] == 2


def test_items_with_several_rows(tmp_path):
    found = complaint(tmp_path, items=ITEMS + "b,B again,\nb,B more,\nc,C again,\n")
    assert found == (
        "items.csv: column 'item_id': 'b' has 3 rows, the first being row 2; "
        "other repeated ids: 1; keep one row per item, or the first with data.on_bad_rows drop"
    )


def test_items_with_an_empty_id(tmp_path):
    found = complaint(tmp_path, items=ITEMS + ",nameless,\n")
    assert found == "items.csv: column 'item_id' is empty, first in row 4"


def test_template_with_an_unknown_column(tmp_path):
    found = complaint(tmp_path, items=ITEMS, text="{title}. {brnd}")
    assert found.startswith("data.text names the column 'brnd', but items.csv has no such column; ")
    assert "the nearest is 'brand'; there are: item_id, title, brand" in found


def test_template_with_a_column_but_no_items_file(tmp_path):
    found = complaint(tmp_path, text="{brand}")
    assert found.startswith("data.text names the column 'brand', but there is no items file")


def test_template_that_is_none(tmp_path):
    assert re.match(r"data\.text: .* is not a plain", complaint(tmp_path, text="{title.upper}"))
