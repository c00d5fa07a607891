"""Loading a prepared folder, the leave-one-out split, and finding items by name."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.data import Dataset, Histories, Source, find_items, load_dataset, prepare
from genrec.errors import UserError

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
            "user_id": pa.array([f"u{n}" for n in range(len(lists))], pa.string()),
            "items": pa.array(lists, pa.list_(pa.int32())),
            "timestamps": pa.array(timestamps, pa.list_(pa.int64())),
        }
    )


def written(folder, items, users):
    pq.write_table(items, folder / "items.parquet")
    pq.write_table(users, folder / "sequences.parquet")
    return folder


@pytest.fixture
def titled():
    none = Histories.of([])
    return Dataset(catalogue(TITLES), np.empty(0, object), none, np.empty(0, np.int64))


def test_load_gives_back_what_was_prepared(tmp_path):
    rows = ["ünï,a,1", "ünï,b,2", "7,c,5", "ünï,a,3", "7,a,6", "7,b,4"]
    (tmp_path / "i.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]), "utf-8")
    prepare(Source(tmp_path / "i.csv"), tmp_path / "out", k_core=1, seed=0)
    dataset = load_dataset(tmp_path / "out")
    assert dataset.num_items == 3
    assert dataset.user_ids.tolist() == ["7", "ünï"]
    assert (dataset.histories.items.dtype, dataset.timestamps.dtype) == (np.int32, np.int64)
    found = [[dataset.item_ids[i] for i in history] for history in dataset.histories]
    assert found == [["b", "c", "a"], ["a", "b", "a"]]
    assert dataset.timestamps.tolist() == [4, 5, 6, 1, 2, 3]
    assert dataset.titles == dataset.texts == dataset.item_ids


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 8), min_size=3, max_size=7), min_size=1, max_size=6))
def test_split_leaves_one_out_and_never_shows_a_target(tmp_path_factory, lists):
    folder = tmp_path_factory.mktemp("dataset")
    dataset = load_dataset(written(folder, catalogue(list("abcdefghi")), sequences(lists)))
    validation, test = dataset.held_out("validation"), dataset.held_out("test")
    assert [h.tolist() for h in dataset.training()] == [items[:-2] for items in lists]
    assert [h.tolist() for h in validation.histories] == [items[:-2] for items in lists]
    assert validation.targets.tolist() == [items[-2] for items in lists]
    assert [h.tolist() for h in test.histories] == [items[:-1] for items in lists]
    assert test.targets.tolist() == [items[-1] for items in lists]
    assert validation.targets.dtype == test.targets.dtype == np.int32
    assert [h.tolist() for h in dataset.histories] == lists


def test_a_list_column_in_several_chunks_is_read_whole(tmp_path):
    lists = [[n % 5, (n + 1) % 5, (n + 2) % 5] + [0] * (n % 3) for n in range(50)]
    pq.write_table(catalogue(TITLES), tmp_path / "items.parquet")
    pq.write_table(sequences(lists), tmp_path / "sequences.parquet", row_group_size=7)
    assert [h.tolist() for h in load_dataset(tmp_path).histories] == lists


GOOD = [[0, 1, 2], [3, 4, 0, 1]]


@pytest.mark.parametrize(
    ("items", "users", "message"),
    [
        (catalogue(TITLES), sequences([[0, 1, 2], [3, 5, 0]]), "has the item 5, but there are 5"),
        (catalogue(TITLES), sequences([[0, 1, -1]]), "has the item -1, but there are 5"),
        (catalogue(TITLES), sequences([[0, 1]]), "a sequence has fewer than 3 items"),
        (catalogue(TITLES), sequences([]), "a sequence has fewer than 3 items, or none is"),
        (catalogue(TITLES), sequences(GOOD, [[1, 2], [1, 2, 3, 4]]), "not one timestamp for every"),
        (catalogue(TITLES), sequences(GOOD, [[1, 3, 2], [0] * 4]), "not in the order of its time"),
        (catalogue(TITLES), sequences([[0, None, 1]]), "a list in items has gaps"),
        (catalogue(TITLES).take([1, 0, 2, 3, 4]), sequences(GOOD), "is not numbered 0, 1, 2"),
        (catalogue(TITLES).drop(["title"]), sequences(GOOD), "no column title of type string"),
        (catalogue(TITLES), sequences(GOOD).drop(["items"]), "no column items of type list"),
        (catalogue([None, *TITLES[1:]]), sequences(GOOD), "column text has gaps"),
        (
            catalogue(TITLES).set_column(1, "item_id", [["a", "b", "a", "c", "d"]]),
            sequences(GOOD),
            "an item id twice",
        ),
        (
            catalogue(TITLES),
            sequences(GOOD).set_column(0, "user_id", [["a", "a"]]),
            "a user id twice",
        ),
    ],
)
def test_a_folder_that_contradicts_itself_is_refused(tmp_path, items, users, message):
    with pytest.raises(UserError, match=message) as caught:
        load_dataset(written(tmp_path, items, users))
    assert str(caught.value).endswith("run genrec prepare again")
    assert "\n" not in str(caught.value)


def test_timestamps_may_fall_from_one_user_to_the_next(tmp_path):
    users = sequences(GOOD, [[7, 8, 8], [1, 1, 2, 3]])
    assert len(load_dataset(written(tmp_path, catalogue(TITLES), users)).user_ids) == 2


@pytest.mark.parametrize("name", ["items.parquet", "sequences.parquet"])
def test_a_missing_or_broken_file_is_named(tmp_path, name):
    written(tmp_path, catalogue(TITLES), sequences(GOOD))
    (tmp_path / name).write_text("broken")
    with pytest.raises(UserError, match=rf"{name} cannot be read \(.*\); run genrec prepare again"):
        load_dataset(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=rf"{name} does not exist; run genrec prepare first"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "item"),
    [("id2", 2), ("star wars (1977)", 0), (" STAR WARS (1977) ", 0), ("STRASSE", 3), ("1", 4)],
)
def test_items_are_found_by_id_or_title(titled, name, item):
    assert find_items(titled, [name]) == [item]


def test_an_id_goes_before_a_title():
    table = catalogue(["id1", "other"])
    none = Histories.of([])
    dataset = Dataset(table, np.empty(0, object), none, np.empty(0, np.int64))
    assert find_items(dataset, ["id1", "other", "id1"]) == [1, 1, 1]


def test_a_title_of_several_items_lists_their_ids(titled):
    with pytest.raises(UserError, match=r"2 items are called 'Chasing Amy \(1997\)'.*: id1, id2$"):
        find_items(titled, ["Chasing Amy (1997)"])


@pytest.mark.parametrize("name", ["star wars", "Star Wras (1977)"])
def test_an_unknown_name_brings_the_nearest_titles(titled, name):
    with pytest.raises(UserError, match=r"nearest titles are 'Star Wars \(1977\)'"):
        find_items(titled, ["id0", name])


def test_a_name_like_no_title_says_so(titled):
    with pytest.raises(UserError, match="title 'qqqqqq'; nor one like it"):
        find_items(titled, ["qqqqqq"])
