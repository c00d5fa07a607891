"""Every way to clean and to split, against lists that are filtered one after the other."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_prepare import sequences_in, write_csv

from genrec.config import Columns
from genrec.data import Source, load_dataset, prepare
from genrec.errors import UserError

HEADER = ["user_id", "item_id", "timestamp", "rating"]
RATED = Columns(rating="rating")

USER, ITEM, TIME, RATING, LINE = range(5)


def core(rows, k):
    while True:
        users, items = Counter(r[USER] for r in rows), Counter(r[ITEM] for r in rows)
        kept = [r for r in rows if users[r[USER]] >= k and items[r[ITEM]] >= k]
        if len(kept) == len(rows):
            return rows
        rows = kept


def by_user(rows):
    rows = sorted(rows, key=lambda r: (r[USER], r[TIME], r[LINE]))
    return {user: [r for r in rows if r[USER] == user] for user in sorted({r[USER] for r in rows})}


def cleaned(rows, k, min_rating, duplicates, most, least):
    """{user: rows in order} of what is left, as the documentation of `prepare` has it."""
    rows = [r for r in rows if min_rating is None or r[RATING] >= min_rating]
    if duplicates != "all":
        ordered = sorted(rows, key=lambda r: (r[TIME], r[LINE]), reverse=duplicates == "last")
        kept = {}
        for row in ordered:
            kept.setdefault(row[:2], row)
        rows = list(kept.values())
    users = by_user(core(rows, k))
    users = {user: own[-most:] if most else own for user, own in users.items()}
    return {user: own for user, own in users.items() if len(own) >= least}


rows_of = st.lists(
    st.tuples(
        st.sampled_from("uvwxy"), st.sampled_from("abcde"), st.integers(0, 6), st.integers(1, 5)
    ),
    max_size=50,
).map(lambda rows: [(*row, line) for line, row in enumerate(rows)])


def told(found):
    return {user: [(r[ITEM], r[TIME]) for r in own] for user, own in found.items()}


@settings(max_examples=30, deadline=None)
@given(
    rows=rows_of,
    k=st.integers(1, 3),
    min_rating=st.sampled_from([None, 2.0, 3.5]),
    duplicates=st.sampled_from(["all", "first", "last"]),
    most=st.sampled_from([None, 3, 5]),
    split=st.sampled_from(["leave-one-out", "temporal"]),
    share=st.sampled_from([0.1, 0.3]),
)
def test_equals_the_reference(
    tmp_path_factory, rows, k, min_rating, duplicates, most, split, share
):
    folder = tmp_path_factory.mktemp("prepare")
    path = write_csv(folder / "i.csv", HEADER, [row[:4] for row in rows])
    least = 2 if split == "temporal" else 3
    expected = cleaned(rows, k, min_rating, duplicates, most, least)
    how = {"k_core": k, "seed": 0, "min_rating": min_rating, "duplicates": duplicates}
    how |= {"max_interactions": most, "split": split, "held_out": share}
    source = Source(path, columns=RATED)
    try:
        counts = prepare(source, folder / "out", **how)
    except UserError as error:
        asked = "nothing is left" in str(error) or "no interaction that" in str(error)
        assert not expected if asked else "both sides of the test's moment" in str(error)
        assert not (folder / "out").exists()
        return
    assert sequences_in(folder / "out") == told(expected)
    assert counts["interactions"] == sum(map(len, expected.values()))
    assert [step["interactions"] for step in counts["steps"]] == sorted(
        (step["interactions"] for step in counts["steps"]), reverse=True
    )
    if split == "temporal":
        _check_temporal(load_dataset(folder / "out"), expected, share)


def _check_temporal(dataset, expected, share):
    times = sorted(r[TIME] for own in expected.values() for r in own)
    first, second = (times[min(len(times) - 1, int(len(times) * (1 - n * share)))] for n in (2, 1))
    ids = dataset.item_ids
    trained = [[ids[i] for i in history] for history in dataset.training()]
    own = list(expected.values())
    assert trained == [[r[ITEM] for r in rows if r[TIME] < first] for rows in own]
    for name, moment, until in (("validation", first, second), ("test", second, 10**9)):
        held_out = dataset.held_out(name)
        asked = {
            user: (before, next(r[ITEM] for r in rows if moment <= r[TIME] < until))
            for user, rows in enumerate(own)
            for before in [[r[ITEM] for r in rows if r[TIME] < moment]]
            if before and any(moment <= r[TIME] < until for r in rows)
        }
        assert held_out.users.tolist() == sorted(asked)
        for user, history, target in zip(
            held_out.users.tolist(), held_out.histories, held_out.targets, strict=True
        ):
            assert ([ids[i] for i in history], ids[target]) == asked[user]


@settings(max_examples=20, deadline=None)
@given(rows=rows_of, seed=st.integers(0, 3), share=st.sampled_from([0.1, 0.4]))
def test_cold_start_items_are_met_in_the_test_alone(tmp_path_factory, rows, seed, share):
    folder = tmp_path_factory.mktemp("prepare")
    path = write_csv(folder / "i.csv", HEADER, [row[:4] for row in rows])
    before = cleaned(rows, 1, None, "all", None, 3)
    how = {"k_core": 1, "seed": seed, "held_out": share}
    try:
        counts = prepare(Source(path), folder / "out", split="cold-start", **how)
    except UserError as error:
        assert "nothing is left" in str(error) or "no interaction that" in str(error)
        return
    last = {own[-1][ITEM] for own in before.values()}
    assert counts["split"]["new_items"] == max(1, round(share * len(last)))
    dataset = load_dataset(folder / "out")
    met = dataset.training().counts(dataset.num_items)
    met += np.bincount(dataset.held_out("validation").targets, minlength=dataset.num_items)
    new = {item for item, count in zip(dataset.item_ids, met, strict=True) if not count}
    # Of those drawn some may be left to nobody; of the others, only in a test of very few users.
    drawn = [
        items
        for items in [new, *({*new, item} for item in last)]
        if told(_without(before, items)) == sequences_in(folder / "out")
    ]
    assert drawn


def _without(users, items):
    left = {
        user: [r for place, r in enumerate(own) if place == len(own) - 1 or r[ITEM] not in items]
        for user, own in users.items()
    }
    return {user: own for user, own in left.items() if len(own) >= 3}


BAD = [("", "a", 1, 3), ("u", "", 1, 3), ("u", "a", "soon", 3), ("u", "a", "-1", 3)]
BAD += [("u", "a", "99999999999999", 3), ("u", "a", 1, "good"), ("", "", "", "")]
REASONS = ["no user", "no item", "no time", "time before 1970", "time beyond 9999", "no rating"]


@settings(max_examples=20, deadline=None)
@given(rows=rows_of, bad=st.lists(st.tuples(st.integers(0, 50), st.sampled_from(BAD)), max_size=8))
def test_bad_rows_are_left_out_and_counted(tmp_path_factory, rows, bad):
    folder = tmp_path_factory.mktemp("prepare")
    lines = [row[:4] for row in rows]
    for place, row in bad:
        lines.insert(place, row)
    source = Source(write_csv(folder / "i.csv", HEADER, lines), columns=RATED)
    expected = cleaned(rows, 1, None, "all", None, 3)
    try:
        how = {"min_rating": 0.0, "on_bad_rows": "drop"}
        counts = prepare(source, folder / "out", k_core=1, seed=0, **how)
    except UserError:
        assert not expected
        return
    assert sequences_in(folder / "out") == told(expected)
    reasons = [*REASONS, "no user"]
    wanted = Counter(reasons[BAD.index(row)] for _, row in bad)
    assert counts["bad_rows"] == dict(wanted)
    assert counts["interactions_read"] == len(lines)


def test_ratings_that_nobody_asks_for_may_be_anything(tmp_path):
    rows = [("u", "a", 1, "good"), ("u", "b", 2, ""), ("u", "c", 3, 5)]
    source = Source(write_csv(tmp_path / "i.csv", HEADER, rows), columns=RATED)
    counts = prepare(source, tmp_path / "out", k_core=1, seed=0)
    assert (counts["interactions"], counts["bad_rows"]) == (3, {})


def test_several_kinds_of_bad_rows_are_told_at_once(tmp_path):
    rows = [("u", "a", 1, 3), ("", "a", 2, 3), ("u", "b", "x", 3), ("u", "", "x", 3)]
    source = Source(write_csv(tmp_path / "i.csv", HEADER, rows))
    with pytest.raises(UserError) as caught:
        prepare(source, tmp_path / "out", k_core=1, seed=0)
    assert "is empty in 1 row, first in row 2; no item in 1 row; no time in 1 row; mend" in str(
        caught.value
    )


def test_items_that_cannot_be_used_are_left_out_when_asked(tmp_path):
    rows = [("u", item, place, 3) for place, item in enumerate("abcdxa")]
    (tmp_path / "items.csv").write_text(
        "item_id,title\na,A\nb,B\n,nameless\nb,B again\nc,C\nd,D\nnever,N\n"
    )
    source = Source(write_csv(tmp_path / "i.csv", HEADER, rows), tmp_path / "items.csv")
    counts = prepare(source, tmp_path / "out", k_core=1, seed=0, on_bad_rows="drop")
    assert [item for item, _ in sequences_in(tmp_path / "out")["u"]] == list("abcda")
    assert sorted(load_dataset(tmp_path / "out").titles) == list("ABCD")
    assert (counts["item_rows_read"], counts["item_rows_dropped"]) == (7, 2)
    assert counts["items_left_out"] == 1
    assert [step["name"] for step in counts["steps"]][1] == "item is in the items file"


@pytest.mark.parametrize(
    ("unit", "times", "seconds"),
    [
        ("seconds", ["1393675200", "1393675200.5", "2014-03-02"], [1393675200] * 2 + [1393718400]),
        (
            "milliseconds",
            ["1393675200123", "1393675200124", "1393675201000"],
            [1393675200] * 2 + [1393675201],
        ),
        (
            "seconds",
            ["2014-03-01T12:00:00Z", "2014-03-01 14:00:00+01:00", "2014-03-01 13:00:00.25"],
            [1393675200, 1393678800, 1393678800],
        ),
    ],
)
def test_times_are_numbers_or_dates(tmp_path, unit, times, seconds):
    rows = [("u", item, time, 3) for item, time in zip("abc", times, strict=True)]
    source = Source(write_csv(tmp_path / "i.csv", HEADER, rows[::-1]))
    source = replace(source, timestamp_unit=unit)
    prepare(source, tmp_path / "out", k_core=1, seed=0)
    assert sequences_in(tmp_path / "out")["u"] == list(zip("abc", seconds, strict=True))
