"""Ragged histories against the same operations on plain lists."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.sequences import histories as module
from genrec.sequences.histories import Histories, hash_user_ids

rows_of_items = st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=8)


def made(rows):
    """Histories of which every item's timestamp and every user's hash tell where they belong."""
    times = [[100 * b + t for t in range(len(row))] for b, row in enumerate(rows)]
    return Histories.of(rows, times, [7 * b for b in range(len(rows))])


def as_lists(histories: Histories) -> list[list[int]]:
    assert histories.starts.dtype == histories.stops.dtype == np.int64
    assert histories.items.dtype == np.int32
    return [history.tolist() for history in histories]


def times_of(histories: Histories) -> list[list[int]]:
    assert histories.timestamps is not None
    assert histories.timestamps.dtype == np.int64
    runs = zip(histories.starts, histories.stops, strict=True)
    return [histories.timestamps[start:stop].tolist() for start, stop in runs]


def users_of(histories: Histories) -> list[int]:
    assert histories.users is not None
    assert histories.users.dtype == np.uint32
    return histories.users.tolist()


@given(rows_of_items)
def test_of_keeps_every_history(rows):
    histories = Histories.of(rows)
    assert as_lists(histories) == rows
    assert len(histories) == len(rows)
    assert histories.lengths.tolist() == [len(row) for row in rows]


@given(rows_of_items, st.integers(0, 6))
def test_without_last_is_a_slice_of_each(rows, count):
    shorter = made(rows).without_last(count)
    expected = [row[: max(0, len(row) - count)] for row in rows]
    assert as_lists(shorter) == expected
    assert times_of(shorter) == [
        [100 * b + t for t in range(len(r))] for b, r in enumerate(expected)
    ]
    assert users_of(shorter) == [7 * b for b in range(len(rows))]


@given(st.data(), rows_of_items.filter(len))
def test_select_takes_rows_in_any_order_and_repeatedly(data, rows):
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10))
    selected = made(rows).select(np.array(chosen, dtype=np.int64))
    assert as_lists(selected) == [rows[b] for b in chosen]
    assert times_of(selected) == [[100 * b + t for t in range(len(rows[b]))] for b in chosen]
    assert users_of(selected) == [7 * b for b in chosen]


@pytest.mark.parametrize("position", [-1, 2])
def test_select_refuses_a_position_that_is_not_there(position):
    with pytest.raises(IndexError, match="0…1"):
        Histories.of([[1], [2]]).select(np.array([0, position]))


def test_what_is_unknown_stays_unknown():
    histories = Histories.of([[1, 2], [3]])
    for derived in (histories, histories.without_last(1), histories.select(np.array([1]))):
        assert derived.timestamps is None
        assert derived.users is None


def test_select_and_without_last_copy_nothing():
    histories = made([[1, 2, 3], [4, 5], [6]])
    derived = histories.select(np.array([2, 0, 0])).without_last(1).select(np.array([1]))
    assert as_lists(derived) == [[1, 2]]
    assert np.shares_memory(derived.items, histories.items)
    assert derived.items.shape == histories.items.shape
    assert np.shares_memory(derived.timestamps, histories.timestamps)


@given(st.data(), rows_of_items, st.integers(1, 6))
def test_csr_has_these_histories_alone_end_to_end(data, rows, at_once):
    histories = made(rows)
    if data.draw(st.booleans()) and rows:
        chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10))
        histories, rows = histories.select(np.array(chosen, np.int64)), [rows[b] for b in chosen]
    count = data.draw(st.integers(0, 2))
    histories, rows = (
        histories.without_last(count),
        [row[: max(0, len(row) - count)] for row in rows],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_ONCE", at_once)
        indptr, items = histories.csr()
    assert (indptr.dtype, items.dtype) == (np.int64, np.int32)
    assert items.tolist() == [item for row in rows for item in row]
    assert indptr.tolist() == [sum(map(len, rows[:b])) for b in range(len(rows) + 1)]


def test_csr_of_what_lies_end_to_end_is_no_copy():
    histories = made([[1], [2, 3], [], [4, 5]])
    middle = histories.select(np.array([1, 2, 3]))
    assert middle.csr()[1].tolist() == [2, 3, 4, 5]
    assert np.shares_memory(middle.csr()[1], histories.items)


@given(st.data(), rows_of_items, st.integers(1, 6), st.integers(0, 2))
def test_counts_are_those_of_the_items_of_these_histories(data, rows, at_once, count):
    chosen = data.draw(st.lists(st.integers(0, max(len(rows) - 1, 0)), max_size=10 * bool(rows)))
    histories = made(rows).select(np.array(chosen, np.int64)).without_last(count)
    found = Counter(item for b in chosen for item in rows[b][: max(0, len(rows[b]) - count)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_ONCE", at_once)
        counts = histories.counts(12)
    assert counts.dtype == np.int64
    assert counts.tolist() == [found[item] for item in range(12)]


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 20))
def test_runs_are_as_long_as_allowed(lengths, most):
    indptr = np.cumsum([0, *lengths])
    found = list(module.runs(indptr, most))
    assert [row for first, last in found for row in range(first, last)] == list(range(len(lengths)))
    for first, last in found:
        assert sum(lengths[first:last]) <= most or last == first + 1
        assert last == len(lengths) or sum(lengths[first : last + 1]) > most


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Histories.of([[1], [2]], [[1], [2, 3]]), "not one timestamp for every item"),
        (lambda: Histories.of([[1], [2]], [[1, 2]]), "not one timestamp for every item"),
        (lambda: Histories.of([[1], [2]], users=[1]), "not one user for every history: 1 for 2"),
        (
            lambda: Histories(np.zeros(2, np.int64), np.zeros(3, np.int64), np.zeros(0, np.int32)),
            "not one stop for every start of a history: 3 for 2",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(make, why):
    with pytest.raises(ValueError, match=why):
        make()


def test_hashes_of_user_ids_never_change():
    # From `printf ID | b2sum -l 32`, read as a little-endian number.
    found = hash_user_ids(["", "7", "ünï"])
    assert found.dtype == np.uint32
    assert found.tolist() == [0x25CF7112, 0x3A0A2210, 0xACCF9B11]
    assert hash_user_ids([]).shape == (0,)


def test_hashes_give_users_to_tokens_evenly():
    tokens = hash_user_ids([f"user{n}" for n in range(20_000)]) % 2000
    counts = np.bincount(tokens, minlength=2000)
    assert counts.min() > 0
    # Ten a token on average; the variance of fair draws is ten, too.
    assert 8.5 < counts.var() < 11.5
