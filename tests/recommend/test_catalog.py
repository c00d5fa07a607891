import numpy as np
import pytest

from genrec.errors import UserError, instead_of
from genrec.recommend.catalog import (
    Change,
    ItemNames,
    UnknownItem,
    change_of,
    indices_of,
    plan_additions,
)


def test_ids_become_indices():
    ids = ["a", "b", "c"]
    assert indices_of(["c", "x", "a", "c"], ids).tolist() == [2, -1, 0, 2]
    assert indices_of([], ids).dtype == np.int64
    assert indices_of(["b", "B"], ids).tolist() == [1, -1]


def test_additions_are_new_or_there_or_come_back():
    """Hand-worked: b is open, c had been removed, x and y are new."""
    new, after, change = plan_additions(["a", "b", "c", "d"], np.array([0, 1]), [*"xcby"])
    assert new.tolist() == [0, 3]
    assert after.tolist() == [0, 1, 2, 4, 5]
    assert change == Change(items=5, added=2, known=2, returned=1)


def test_a_change_counts_what_came_back_and_what_went():
    assert change_of(np.array([0, 1, 2]), np.array([2, 3])) == Change(2, returned=1, removed=2)


def names(*titles):
    """Of items id0, id1, …"""
    return ItemNames([f"id{n}" for n in range(len(titles))], titles)


FILMS = names("Star Wars (1977)", "Chasing Amy (1997)", "chasing amy (1997)", "Straße", "1")


@pytest.mark.parametrize(
    ("name", "item"),
    [("id2", 2), ("star wars (1977)", 0), (" STAR WARS (1977) ", 0), ("STRASSE", 3), ("1", 4)],
)
def test_items_are_found_by_id_or_title(name, item):
    assert FILMS.find([name]) == [item]


def test_every_name_has_its_place_and_unknown_ones_are_below_0():
    assert FILMS.find(["id1", "nothing", "1", "id1", ""]) == [1, -1, 4, 1, -1]
    assert FILMS.find([]) == []


def test_an_id_goes_before_a_title():
    assert names("id1", "other").find(["id1", "other", "id1"]) == [1, 1, 1]


def test_a_title_of_several_items_lists_their_ids():
    with pytest.raises(UserError, match=r"2 items are called 'Chasing Amy \(1997\)'.*: id1, id2$"):
        FILMS.find(["Chasing Amy (1997)"])


def unknown(catalogue: ItemNames, name: str) -> str:
    """What is said of a name that no item has."""
    with pytest.raises(UnknownItem) as error:
        catalogue.known([name])
    return str(error.value)


@pytest.mark.parametrize("name", ["star wars", "Star Wras (1977)"])
def test_an_unknown_name_brings_the_nearest_titles(name):
    complaint = unknown(FILMS, name)
    assert complaint.startswith(f"no item has the id or title {name!r}; the nearest titles are ")
    assert "'Star Wars (1977)'" in complaint


def test_of_many_titles_that_contain_a_name_the_three_shortest_are_brought():
    several = names("Alien", "Alienor", "Alien: Covenant", "Alien 3", "Alien", "Bug")
    complaint = unknown(several, "alie")
    assert complaint.endswith("the nearest titles are 'Alien', 'Alien 3', 'Alienor'")


def test_a_name_like_no_title_says_so():
    assert unknown(FILMS, "qqqqqq").endswith("title 'qqqqqq'; nor one like it")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("titel", "the nearest is 'title'; it has: asin, title, brand"),
        ("user_id", "it has: asin, title, brand"),
    ],
)
def test_only_a_name_that_is_alike_is_called_the_nearest(name, told):
    assert instead_of(name, ["asin", "title", "brand"], "it has") == told
