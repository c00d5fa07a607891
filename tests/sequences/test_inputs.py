import numpy as np

from genrec.sequences.histories import Histories
from genrec.sequences.inputs import GAP_BUCKETS, gap_buckets, lay_out


def test_gaps_are_counted_in_doublings_of_seconds():
    times = np.array([100, 100, 101, 104, 104 + 86_400, 104 + 86_400 + 2**40])
    # log2 of 1 + 0, 1, 3, 86 400 and more than there is room for.
    assert gap_buckets(times).tolist() == [0, 1, 2, 3, 17, GAP_BUCKETS - 1]
    assert gap_buckets(np.array([5, 3])).tolist() == [0, 1]  # never back in time
    assert gap_buckets(np.zeros(0, np.int64)).tolist() == []


def test_pieces_go_where_they_are_told():
    histories = Histories.of([[7, 8, 9], [5, 6]], timestamps=[[0, 1, 1], [50, 53]])
    inputs, source = lay_out(
        histories,
        starts=np.array([1, 3]),
        stops=np.array([3, 5]),
        rows=np.array([1, 0]),
        offsets=np.array([0, 2]),
        segments=np.array([0, 3]),
        shape=(3, 4),
    )
    assert inputs.items.tolist() == [[0, 0, 5, 6], [8, 9, 0, 0], [0, 0, 0, 0]]
    assert inputs.segments.tolist() == [[-1, -1, 3, 3], [0, 0, -1, -1], [-1, -1, -1, -1]]
    # The gap before a piece's first item is unknown to whoever reads the piece.
    assert np.asarray(inputs.gaps).tolist() == [[0, 0, 0, 3], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert source.tolist() == [[0, 0, 3, 4], [1, 2, 0, 0], [0, 0, 0, 0]]


def test_nothing_to_lay_out_gives_empty_rows():
    none = np.zeros(0, np.int64)
    inputs, _ = lay_out(Histories.of([]), none, none, none, none, none, (2, 3))
    assert inputs.segments.tolist() == [[-1] * 3] * 2
    assert inputs.gaps is None and inputs.users is None
