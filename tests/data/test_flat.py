"""Flat arrays on disk: what is written in pieces comes back, through a map and in runs."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from genrec.data.flat import open_histories, read_run, write_histories

NAMES = ["7", "a", "ünï"]
rows_of_items = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5), max_size=3)


@given(st.data(), rows_of_items, st.integers(1, 6))
def test_what_is_written_in_pieces_comes_back(tmp_path_factory, data, rows, piece):
    folder = tmp_path_factory.mktemp("flat") / "histories"
    items = [item for row in rows for item in row]
    times = [2**40 + n for n in range(len(items))]
    # Wider or narrower integers than those of the files, as another database may give them.
    events = (
        (np.array(items[at : at + piece], np.int64), np.array(times[at : at + piece], np.uint64))
        for at in range(0, len(items), piece)
    )
    names = pa.chunked_array([[name] for name in NAMES[: len(rows)]], pa.string())
    write_histories(folder, names, np.array([len(row) for row in rows], np.int64), events)

    histories = open_histories(folder)
    assert [history.tolist() for history in histories] == rows
    assert histories.timestamps is not None
    assert histories.timestamps.tolist() == times
    # From `printf ID | b2sum -l 32`, read as little-endian numbers.
    assert histories.users is not None
    assert histories.users.tolist() == [0x3A0A2210, 0x554C23CA, 0xACCF9B11][: len(rows)]

    start = data.draw(st.integers(0, len(items)))
    stop = data.draw(st.integers(start, len(items)))
    run = read_run(folder / "items.npy", start, stop)
    assert run.dtype == np.int32
    assert run.tolist() == items[start:stop]
    assert run.flags.owndata
