"""Loading a prepared folder, and the leave-one-out split."""

import itertools
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.data import Dataset, Source, load_dataset, prepare
from genrec.data import dataset as module
from genrec.data.splits import leave_one_out
from genrec.errors import UserError
from genrec.sequences.histories import Histories

TITLES = ["Star Wars (1977)", "Chasing Amy (1997)", "chasing amy (1997)", "Straße", "1"]


def catalogue(titles):
    ids = [f"id{n}" for n in range(len(titles))]
    return pa.table(
        {
            "item": pa.array(range(len(titles)), pa.int32()),
            "item_id": pa.array(ids, pa.string()),
            "text": pa.array(titles, pa.string()),
            "row": pa.array(range(len(titles)), pa.int64()),
            "title": pa.array(titles, pa.string()),
        }
    )


def sequences(lists, timestamps=None):
    timestamps = timestamps or [list(range(len(items))) for items in lists]
    return pa.table(
        {
            "user_id": pa.array([f"u{n:02}" for n in range(len(lists))], pa.string()),
            "items": pa.array(lists, pa.list_(pa.int32())),
            "timestamps": pa.array(timestamps, pa.list_(pa.int64())),
        }
    )


def flat(lists, timestamps=None):
    """The arrays of histories/, by file."""
    timestamps = timestamps or [list(range(len(items))) for items in lists]
    ends = list(itertools.accumulate(map(len, lists), initial=0))
    return {
        "indptr": np.array(ends, np.int64),
        "items": np.array([item for items in lists for item in items], np.int32),
        "timestamps": np.array([time for times in timestamps for time in times], np.int64),
        "users": np.arange(len(lists), dtype=np.uint32) + 2**31,
    }


def written(folder, items, users, arrays):
    pq.write_table(items, folder / "items.parquet")
    pq.write_table(users, folder / "sequences.parquet")
    (folder / "histories").mkdir()
    for name, array in arrays.items():
        np.save(folder / "histories" / f"{name}.npy", array)
    return folder


def test_load_gives_back_what_was_prepared(tmp_path):
    rows = ["ünï,a,1", "ünï,b,2", "7,c,5", "ünï,a,3", "7,a,6", "7,b,4"]
    (tmp_path / "i.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]), "utf-8")
    prepare(Source(tmp_path / "i.csv"), tmp_path / "out", k_core=1, seed=0)
    dataset = load_dataset(tmp_path / "out")
    assert dataset.num_items == 3
    assert dataset.user_ids.tolist() == ["7", "ünï"]
    histories = dataset.histories
    assert histories.timestamps is not None
    assert (histories.items.dtype, histories.timestamps.dtype) == (np.int32, np.int64)
    found = [[dataset.item_ids[i] for i in history] for history in dataset.histories]
    assert found == [["b", "c", "a"], ["a", "b", "a"]]
    assert histories.timestamps.tolist() == [4, 5, 6, 1, 2, 3]
    # The hashes of "7" and "ünï".
    assert histories.users is not None
    assert histories.users.tolist() == [0x3A0A2210, 0xACCF9B11]
    assert dataset.titles == dataset.texts == dataset.item_ids


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 8), min_size=3, max_size=7), min_size=1, max_size=6))
def test_split_leaves_one_out_and_never_shows_a_target(tmp_path_factory, lists):
    folder = tmp_path_factory.mktemp("dataset")
    files = catalogue(list("abcdefghi")), sequences(lists), flat(lists)
    dataset = load_dataset(written(folder, *files))
    validation, test = dataset.held_out("validation"), dataset.held_out("test")
    assert [h.tolist() for h in dataset.training()] == [items[:-2] for items in lists]
    assert [h.tolist() for h in validation.histories] == [items[:-2] for items in lists]
    assert validation.targets.tolist() == [items[-2] for items in lists]
    assert [h.tolist() for h in test.histories] == [items[:-1] for items in lists]
    assert test.targets.tolist() == [items[-1] for items in lists]
    assert validation.targets.dtype == test.targets.dtype == np.int32
    assert [h.tolist() for h in dataset.histories] == lists


def test_sequences_in_several_row_groups_are_read_whole(tmp_path):
    lists = [[n % 5, (n + 1) % 5, (n + 2) % 5] + [0] * (n % 3) for n in range(50)]
    written(tmp_path, catalogue(TITLES), sequences(lists), flat(lists))
    pq.write_table(sequences(lists), tmp_path / "sequences.parquet", row_group_size=7)
    assert load_dataset(tmp_path).user_ids.tolist() == [f"u{n:02}" for n in range(50)]


GOOD = [[0, 1, 2], [3, 4, 0, 1]]


def test_histories_stay_on_the_disk(tmp_path):
    dataset = load_dataset(written(tmp_path, catalogue(TITLES), sequences(GOOD), flat(GOOD)))
    for histories in (dataset.histories, dataset.training(), dataset.held_out("test").histories):
        for array in (histories.items, histories.timestamps):
            assert array is not None
            assert isinstance(array.base, np.memmap)
            assert not array.flags.writeable
    # What is written to the file is seen through the array.
    with (tmp_path / "histories" / "items.npy").open("r+b") as stream:
        stream.seek(-4, 2)
        stream.write(np.int32(2).tobytes())
    assert dataset.histories[1].tolist() == [3, 4, 0, 2]


def test_user_ids_are_read_when_they_are_asked_for(tmp_path):
    dataset = load_dataset(written(tmp_path, catalogue(TITLES), sequences(GOOD), flat(GOOD)))
    moved = (tmp_path / "sequences.parquet").rename(tmp_path / "elsewhere.parquet")
    with pytest.raises(UserError, match="does not exist"):
        _ = dataset.user_ids
    moved.rename(tmp_path / "sequences.parquet")
    assert dataset.user_ids.tolist() == ["u00", "u01"]
    assert dataset.user_ids is dataset.user_ids


def cut(**changed):
    """The arrays of GOOD, of which user 0 has no validation item and user 1 has one."""
    split = {"training": [2, 5], "validation": [-1, 5], "test": [2, 6]} | changed
    return flat(GOOD) | {name: np.array(places, np.int64) for name, places in split.items()}


def test_a_split_of_its_own_is_read(tmp_path):
    dataset = load_dataset(written(tmp_path, catalogue(TITLES), sequences(GOOD), cut()))
    assert [h.tolist() for h in dataset.training()] == [GOOD[0][:2], GOOD[1][:2]]
    validation, test = dataset.held_out("validation"), dataset.held_out("test")
    assert (validation.users.tolist(), test.users.tolist()) == ([1], [0, 1])
    assert [h.tolist() for h in validation.histories] == [GOOD[1][:2]]
    assert validation.targets.tolist() == [GOOD[1][2]]
    assert [h.tolist() for h in test.histories] == [GOOD[0][:2], GOOD[1][:3]]
    assert test.targets.tolist() == [GOOD[0][2], GOOD[1][3]]


@pytest.mark.parametrize("at_once", [1, 4, 1 << 20])
@pytest.mark.parametrize(
    ("items", "users", "arrays", "message"),
    [
        (None, None, flat([[0, 1, 2], [3, 5, 0]]), "has the item 5, but there are 5"),
        (None, None, flat([[0, 1, 2], [3, 0, -1]]), "has the item -1, but there are 5"),
        (None, None, flat([[0, 1], [0, 1, 2]]), "the split of user 0 does not fit"),
        (None, sequences([]), flat([]), "there is no sequence"),
        (None, None, flat(GOOD, [[1, 2], [1, 2, 3, 4]]), "not one timestamp for every"),
        (None, None, flat(GOOD, [[1, 3, 2], [0] * 4]), "not in the order of its time"),
        (None, None, flat(GOOD, [[0] * 3, [1, 2, 3, 2]]), "not in the order of its time"),
        (None, None, flat(GOOD) | {"indptr": np.array([0, 3, 6])}, "indptr.npy does not fit"),
        (None, None, flat(GOOD) | {"indptr": np.array([1, 4, 7])}, "indptr.npy does not fit"),
        (None, None, flat(GOOD) | {"indptr": np.array([0, 9, 7])}, "or one has no items"),
        (None, None, flat(GOOD) | {"users": np.zeros(3, np.uint32)}, "not one user for every"),
        (
            None,
            None,
            flat(GOOD) | {"items": np.zeros(7)},
            "items.npy cannot be read: it is not a flat array of int32",
        ),
        (None, None, cut(training=[2, 7]), "the split of user 1 does not fit"),
        (None, None, cut(training=[0, 2]), "the split of user 1 does not fit"),
        (None, None, cut(validation=[2, 5]), "the split of user 0 does not fit"),
        (None, None, cut(validation=[0, 5]), "the split of user 0 does not fit"),
        (None, None, cut(validation=[-1, 4]), "the split of user 1 does not fit"),
        (None, None, cut(test=[1, 6]), "the split of user 0 does not fit"),
        (None, None, cut(test=[3, 6]), "the split of user 0 does not fit"),
        (None, None, cut(test=[-1]), "differ in users"),
        (
            None,
            None,
            cut() | {"test": np.zeros(2)},
            "test.npy cannot be read: it is not a flat array of int64",
        ),
        (None, None, flat([*GOOD, [0, 1, 2]]), "differ in users: 2, 3"),
        (catalogue(TITLES).take([1, 0, 2, 3, 4]), None, flat(GOOD), "is not numbered 0, 1, 2"),
        (catalogue(TITLES).drop(["title"]), None, flat(GOOD), "no column title of type string"),
        (None, sequences(GOOD).drop(["items"]), flat(GOOD), "no column items of type list"),
        (catalogue([None, *TITLES[1:]]), None, flat(GOOD), "column text has gaps"),
        (
            catalogue(TITLES).set_column(1, "item_id", [["a", "b", "a", "c", "d"]]),
            None,
            flat(GOOD),
            "an item id twice",
        ),
        (None, sequences(GOOD).set_column(0, "user_id", [["a", "a"]]), flat(GOOD), "user id twice"),
        (None, sequences(GOOD).take([1, 0]), flat(GOOD), "not in the order of the user ids"),
        (
            None,
            sequences(GOOD).set_column(0, "user_id", [["a", None]]),
            flat(GOOD),
            "column user_id has gaps",
        ),
    ],
)
def test_a_folder_that_contradicts_itself_is_refused(
    tmp_path, monkeypatch, items, users, arrays, message, at_once
):
    monkeypatch.setattr(module, "_CHECKED_AT_ONCE", at_once)
    items = catalogue(TITLES) if items is None else items
    users = sequences(GOOD) if users is None else users
    with pytest.raises(UserError, match=message) as caught:
        load_dataset(written(tmp_path, items, users, arrays))
    assert str(caught.value).endswith("run genrec prepare again")
    assert "\n" not in str(caught.value)


def test_user_ids_are_compared_across_the_pieces_of_the_file(tmp_path):
    """Parquet is read 65,536 rows at a time."""
    lists = [[0, 1, 2]] * 65_540
    ids = [f"u{n:05}" for n in range(len(lists))]
    ids[65_536] = ids[65_535]
    users = sequences(lists).set_column(0, "user_id", [ids])
    with pytest.raises(UserError, match="user id twice"):
        load_dataset(written(tmp_path, catalogue(TITLES), users, flat(lists)))


def test_timestamps_may_fall_from_one_user_to_the_next(tmp_path):
    times = [[7, 8, 8], [1, 1, 2, 3]]
    files = catalogue(TITLES), sequences(GOOD, times), flat(GOOD, times)
    assert len(load_dataset(written(tmp_path, *files)).user_ids) == 2


@pytest.mark.parametrize("name", ["items.parquet", "sequences.parquet"])
def test_a_missing_or_broken_file_is_named(tmp_path, name):
    written(tmp_path, catalogue(TITLES), sequences(GOOD), flat(GOOD))
    (tmp_path / name).write_text("broken")
    with pytest.raises(UserError, match=rf"{name} cannot be read: .*; run genrec prepare again"):
        load_dataset(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=rf"{name} does not exist; run genrec prepare first"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("name", ["indptr.npy", "items.npy", "timestamps.npy", "users.npy"])
def test_a_missing_or_broken_array_is_named(tmp_path, name):
    path = written(tmp_path, catalogue(TITLES), sequences(GOOD), flat(GOOD)) / "histories" / name
    whole = path.read_bytes()
    for broken in (b"broken", b"", whole[:-1]):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=rf"{name} cannot be read: .*; run genrec prepare"):
            load_dataset(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match=rf"{name} does not exist; run genrec prepare again"):
        load_dataset(tmp_path)


def test_a_folder_of_an_older_genrec_asks_for_prepare(tmp_path):
    written(tmp_path, catalogue(TITLES), sequences(GOOD), flat(GOOD))
    shutil.rmtree(tmp_path / "histories")
    with pytest.raises(UserError, match="does not exist; run genrec prepare again"):
        load_dataset(tmp_path)


def test_categories_are_a_column_by_name_or_by_custom(tmp_path):
    def having(**columns):
        table = catalogue(TITLES)
        for name, values in columns.items():
            table = table.append_column(name, pa.array(values))
        history = Histories.of([[0, 1, 2]])
        return Dataset(table, history, leave_one_out(history), tmp_path / "none")

    kinds = ["a", None, "b", "a", ""]
    assert having().categories() is None
    assert having(genre=kinds, categories=kinds[::-1]).categories() == ["", "a", "b", "", "a"]
    assert having(genres=kinds, kind=["k"] * 5).categories("kind") == ["k"] * 5
    lists = [["x > y", "z"], ["x > y"], [], None, ["z", None]]
    assert having(category=lists).categories() == ["x > y, z", "x > y", "", "", "z"]
    with pytest.raises(UserError, match=r"no column 'gener' \(data.columns.category\)"):
        having(genre=kinds).categories("gener")
