"""Splits against plain loops over lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.data import splits as module
from genrec.data.splits import leave_one_out, open_split, temporal, write_split
from genrec.sequences.histories import Histories

TIMES = st.lists(
    st.lists(st.integers(0, 9), min_size=1, max_size=6).map(sorted), min_size=1, max_size=6
)


def of(times):
    return Histories.of([range(len(row)) for row in times], timestamps=times)


def test_leave_one_out_takes_the_last_two():
    histories = Histories.of([[5, 6, 7], [1, 2, 3, 4]])
    split = leave_one_out(histories)
    assert [part.tolist() for part in split] == [[1, 5], [1, 5], [2, 6]]


@pytest.mark.parametrize("at_once", [1, 4, 1 << 20])
@given(times=TIMES, cuts=st.lists(st.integers(0, 10), min_size=2, max_size=2).map(sorted))
def test_nothing_that_training_sees_is_younger_than_what_is_asked_for(at_once, times, cuts):
    first, second = cuts
    histories = of(times)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_ONCE", at_once)
        split = temporal(histories, first, second)
    begin = 0
    for user, row in enumerate(times):
        old = sum(time < first for time in row)
        older = sum(time < second for time in row)
        assert split.training[user] == begin + old
        between = [place for place, time in enumerate(row) if first <= time < second]
        wanted = begin + between[0] if between and old else -1
        assert split.validation[user] == wanted
        assert split.test[user] == (begin + older if 0 < older < len(row) else -1)
        begin += len(row)


def test_what_is_written_is_read_and_nothing_is_leave_one_out(tmp_path):
    histories = of([[1, 2, 3], [4, 5, 6, 7]])
    before = open_split(tmp_path, histories)
    assert all(map(np.array_equal, before, leave_one_out(histories)))
    split = temporal(histories, 3, 5)
    write_split(tmp_path, split)
    assert all(map(np.array_equal, open_split(tmp_path, histories), split))
