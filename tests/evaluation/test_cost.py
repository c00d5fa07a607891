import numpy as np
import pytest

from genrec.evaluation import cost
from genrec.sequences.histories import Histories


@pytest.mark.parametrize(("users", "asked"), [(600, 512), (7, 7)])
def test_speed_is_that_of_a_second_time_with_nothing_to_compile(monkeypatch, users, asked):
    clock, calls = [0.0], []
    monkeypatch.setattr(cost.time, "perf_counter", lambda: clock[0])

    def recommend(histories, k, *, exclude_history):
        clock[0] += 2.0 if calls else 30.0
        calls.append((histories.items[histories.starts].tolist(), k, exclude_history))
        return np.zeros((len(histories), k), np.int32), np.zeros((len(histories), k), np.float32)

    measured = cost.decoding_cost(recommend, Histories.of([[user, 9] for user in range(users)]), 20)
    assert measured["users_per_second"] == asked / 2
    assert 0.05 < measured["peak_memory_gib"] < 1000
    assert measured["device"] == "cpu"
    first, second = calls
    assert first == second
    names, k, filtered = first
    assert (len(set(names)), names[0], names[-1]) == (asked, 0, users - 1)
    assert (k, filtered) == (20, True)
