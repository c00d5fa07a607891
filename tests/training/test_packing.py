import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genrec.data.histories import Histories
from genrec.training.packing import epoch_batches


@st.composite
def cases(draw):
    lengths = draw(st.lists(st.integers(2, 40), min_size=1, max_size=30))
    row_length = draw(st.integers(3, 20))
    return lengths, row_length, draw(st.integers(1, row_length)), draw(st.integers(1, 5))


def unique_histories(lengths):
    """Histories in which no item occurs twice, so that a slot tells whose and which it is."""
    indptr = np.cumsum([0, *lengths])
    return Histories(indptr.astype(np.int64), np.arange(indptr[-1], dtype=np.int32))


def batches(histories, row_length, max_history, rows, seed=0, epoch=0):
    return list(
        epoch_batches(
            histories,
            rows=rows,
            row_length=row_length,
            max_history=max_history,
            seed=seed,
            epoch=epoch,
        )
    )


@given(cases())
def test_every_next_item_is_a_target_once_after_the_item_before_it(case):
    lengths, row_length, max_history, rows = case
    histories = unique_histories(lengths)
    seen = []
    for batch in batches(histories, row_length, max_history, rows):
        assert batch.items.shape == batch.targets.shape == (rows, row_length)
        assert np.array_equal(batch.filled, batch.segments >= 0)
        items, targets = batch.items[batch.filled], batch.targets[batch.filled]
        assert np.array_equal(items + 1, targets)
        seen += targets.tolist()
    firsts = set(histories.indptr[:-1].tolist())
    assert sorted(seen) == [item for item in histories.items.tolist() if item not in firsts]


@given(cases())
def test_a_segment_is_a_run_of_one_history_of_at_most_max_history(case):
    lengths, row_length, max_history, rows = case
    histories = unique_histories(lengths)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    for batch in batches(histories, row_length, max_history, rows):
        for row in range(rows):
            for segment in range(batch.segments[row].max(initial=-1) + 1):
                slots = np.flatnonzero(batch.segments[row] == segment)
                assert 1 <= len(slots) <= max_history
                assert np.array_equal(np.diff(slots), np.ones(len(slots) - 1))
                assert np.array_equal(np.diff(batch.items[row, slots]), np.ones(len(slots) - 1))
                assert len(set(owner[batch.items[row, slots]])) == 1


def test_an_epoch_repeats_by_seed_and_differs_from_the_next():
    histories = unique_histories([7, 30, 12, 5, 9, 22, 3, 3, 14])
    same = [batches(histories, 16, 10, 2, seed=1, epoch=4)[0].items for _ in range(2)]
    assert np.array_equal(same[0], same[1])
    for seed, epoch in ((1, 5), (2, 4)):
        assert not np.array_equal(same[0], batches(histories, 16, 10, 2, seed, epoch)[0].items)


def test_short_histories_fill_most_slots():
    lengths = np.random.default_rng(0).geometric(1 / 8, 3000).clip(2, 50)
    packed = batches(unique_histories(lengths), 64, 50, 32)
    assert np.mean([batch.filled.mean() for batch in packed[:-1]]) > 0.97
