"""Ragged histories against the same operations on plain lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.data import Histories

rows_of_items = st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=8)


def as_lists(histories: Histories) -> list[list[int]]:
    assert histories.indptr.dtype == np.int64
    assert histories.items.dtype == np.int32
    return [history.tolist() for history in histories]


@given(rows_of_items)
def test_of_keeps_every_history(rows):
    histories = Histories.of(rows)
    assert as_lists(histories) == rows
    assert len(histories) == len(rows)
    assert histories.lengths.tolist() == [len(row) for row in rows]


@given(rows_of_items, st.integers(0, 6))
def test_without_last_is_a_slice_of_each(rows, count):
    expected = [row[: max(0, len(row) - count)] for row in rows]
    assert as_lists(Histories.of(rows).without_last(count)) == expected


@given(st.data(), rows_of_items.filter(len))
def test_select_takes_rows_in_any_order_and_repeatedly(data, rows):
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10))
    selected = Histories.of(rows).select(np.array(chosen, dtype=np.int64))
    assert as_lists(selected) == [rows[b] for b in chosen]


@pytest.mark.parametrize("position", [-1, 2])
def test_select_refuses_a_position_that_is_not_there(position):
    with pytest.raises(IndexError, match="0…1"):
        Histories.of([[1], [2]]).select(np.array([0, position]))
