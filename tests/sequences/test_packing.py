import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.sequences import packing
from genrec.sequences.histories import Histories
from genrec.sequences.packing import Plan, count_batches, epoch_batches


@st.composite
def cases(draw):
    lengths = draw(st.lists(st.integers(2, 40), min_size=1, max_size=30))
    row_length = draw(st.integers(3, 20))
    plan = Plan(
        every_prefix=draw(st.booleans()),
        rows=draw(st.integers(1, 5)),
        row_length=row_length,
        max_history=draw(st.integers(1, row_length)),
    )
    return lengths, plan


def unique_histories(lengths):
    """Histories in which no item occurs twice, so that a slot tells whose and which it is."""
    ends = np.cumsum([0, *lengths]).astype(np.int64)
    return Histories(
        ends[:-1],
        ends[1:],
        np.arange(ends[-1], dtype=np.int32),
        users=np.arange(100, 100 + len(lengths), dtype=np.uint32),
    )


def batches(histories, plan, **options):
    return list(epoch_batches(histories, plan, **{"seed": 0, "epoch": 0, **options}))


def same(some, others):
    return len(some) == len(others) and all(
        np.array_equal(a.inputs.items, b.inputs.items) and np.array_equal(a.targets, b.targets)
        for a, b in zip(some, others, strict=True)
    )


@given(cases())
def test_every_next_item_is_a_target_once_after_the_item_before_it(case):
    lengths, plan = case
    histories = unique_histories(lengths)
    seen = []
    for batch in batches(histories, plan):
        items, segments = batch.inputs.items, batch.inputs.segments
        assert len(items) == plan.rows
        filled = segments >= 0
        if plan.every_prefix:
            assert items.shape == batch.targets.shape == (plan.rows, plan.row_length)
            assert np.array_equal(batch.wanted, filled)
            last = items[filled]
        else:
            assert batch.targets.shape == (plan.rows, 1)
            assert np.array_equal(batch.wanted[:, 0], filled.any(axis=1))
            counts = filled.sum(axis=1)
            assert all(row[:n].all() for row, n in zip(filled, counts, strict=True))
            last = items[np.flatnonzero(counts), counts[counts > 0] - 1]
        targets = batch.targets[batch.wanted]
        assert np.array_equal(last + 1, targets)
        seen += targets.tolist()
    firsts = set(histories.starts.tolist())
    assert sorted(seen) == [item for item in histories.items.tolist() if item not in firsts]


@pytest.mark.parametrize("every_prefix", [True, False])
def test_held_out_items_are_never_seen_though_they_stand_in_the_same_array(every_prefix):
    histories = unique_histories([5, 9, 3, 12, 4])
    held_out = {item for stop in histories.stops for item in (stop - 1, stop - 2)}
    plan = Plan(every_prefix, rows=2, row_length=12, max_history=6)
    seen = set()
    for batch in batches(histories.without_last(2), plan):
        seen |= set(batch.inputs.items[batch.inputs.segments >= 0].tolist())
        seen |= set(batch.targets[batch.wanted].tolist())
    assert seen == set(histories.items.tolist()) - held_out - {14}  # 14: alone, so no target


@given(cases())
def test_a_segment_is_a_run_of_one_history_of_at_most_max_history(case):
    lengths, plan = case
    histories = unique_histories(lengths)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    for batch in batches(histories, plan):
        items, segments = batch.inputs.items, batch.inputs.segments
        for row in range(plan.rows):
            for segment in range(segments[row].max(initial=-1) + 1):
                slots = np.flatnonzero(segments[row] == segment)
                assert 1 <= len(slots) <= plan.max_history
                assert np.array_equal(np.diff(slots), np.ones(len(slots) - 1))
                assert np.array_equal(np.diff(items[row, slots]), np.ones(len(slots) - 1))
                assert len(set(owner[items[row, slots]])) == 1
                if not plan.every_prefix:
                    assert np.asarray(batch.inputs.users)[row] == 100 + owner[items[row, slots[0]]]
                    # Cut short only where the window would be too long.
                    first = items[row, slots[0]] in histories.starts
                    assert first or len(slots) == plan.max_history


@given(cases(), st.integers(0, 8))
def test_an_epoch_can_be_taken_up_in_the_middle(case, skip):
    lengths, plan = case
    histories = unique_histories(lengths)
    whole = batches(histories, plan)
    assert len(whole) == count_batches(histories, plan, seed=0)
    assert same(batches(histories, plan, skip=skip), whole[skip:])


@given(cases(), st.integers(1, 4))
def test_processes_share_the_rows_of_every_batch(case, count):
    lengths, plan = case
    plan = Plan(**{**plan.__dict__, "rows": plan.rows * count})
    histories = unique_histories(lengths)
    parts = [batches(histories, plan, part=(i, count)) for i in range(count)]
    for whole, *shares in zip(batches(histories, plan), *parts, strict=True):
        for name in ("items", "segments"):
            joined = np.concatenate([getattr(share.inputs, name) for share in shares])
            assert np.array_equal(joined, getattr(whole.inputs, name))
        assert np.array_equal(np.concatenate([share.targets for share in shares]), whole.targets)


@pytest.mark.parametrize("every_prefix", [True, False])
def test_users_beyond_a_block_are_trained_too(monkeypatch, every_prefix):
    monkeypatch.setattr(packing, "BLOCK", 4)
    histories = unique_histories([5, 2, 9, 3, 4, 8, 2, 7, 3, 6, 2])
    plan = Plan(every_prefix, rows=3, row_length=12, max_history=8)
    seen = [target for batch in batches(histories, plan) for target in batch.targets[batch.wanted]]
    firsts = set(histories.starts.tolist())
    assert sorted(seen) == [item for item in histories.items.tolist() if item not in firsts]


def test_of_longer_histories_only_the_recent_items_count_if_so_wished():
    histories = unique_histories([30, 4])
    plan = Plan(True, rows=1, row_length=10, max_history=10, longer="recent")
    seen = [target for batch in batches(histories, plan) for target in batch.targets[batch.wanted]]
    assert sorted(seen) == [*range(20, 30), 31, 32, 33]


def test_windows_come_in_at_most_three_widths():
    lengths = np.random.default_rng(0).integers(2, 40, 200)
    plan = Plan(False, rows=8, row_length=64, max_history=20)
    found = batches(unique_histories(lengths), plan)
    widths = [batch.inputs.items.shape[1] for batch in found]
    assert set(widths) == {5, 10, 20}
    assert widths != sorted(widths)  # shuffled, not short ones first
    for batch, width in zip(found, widths, strict=True):
        longest = (batch.inputs.segments >= 0).sum(axis=1).max()
        assert {5: 0, 10: 5, 20: 10}[width] < longest <= width


def test_an_epoch_repeats_by_seed_and_differs_from_the_next():
    histories = unique_histories([7, 30, 12, 5, 9, 22, 3, 3, 14])
    plan = Plan(True, rows=2, row_length=16, max_history=10)
    assert same(*(batches(histories, plan, seed=1, epoch=4) for _ in range(2)))
    for seed, epoch in ((1, 5), (2, 4)):
        other = batches(histories, plan, seed=seed, epoch=epoch)
        assert not same(batches(histories, plan, seed=1, epoch=4), other)


def test_short_histories_fill_most_slots():
    lengths = np.random.default_rng(0).geometric(1 / 8, 3000).clip(2, 50)
    plan = Plan(True, rows=32, row_length=64, max_history=50)
    filled = [
        (batch.inputs.segments >= 0).mean() for batch in batches(unique_histories(lengths), plan)
    ]
    assert np.mean(sorted(filled)[1:]) > 0.97
