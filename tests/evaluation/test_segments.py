import numpy as np

from genrec.evaluation import summarise
from genrec.evaluation.segments import segments


def test_worked_by_hand():
    ranks = np.array([0, 1, 2, 9, 9, 0, 9, 0])
    lengths = np.array([1, 1, 2, 3, 4, 5, 6, 60])
    counts = np.array([0, 3, 3, 3, 3, 5, 0, 40])
    parts = segments(ranks, lengths, counts, k=2, width=9)
    assert {name: row["users"] for name, row in parts["history length"].items()} == {
        "1": 2,
        "2-3": 2,
        "4-5": 2,
        "6-60": 2,
    }
    assert parts["history length"]["1"]["recall@2"] == 1
    assert parts["history length"]["2-3"]["recall@2"] == 0
    # Equal counts stay together; targets without a training interaction have no popularity.
    assert {name: row["users"] for name, row in parts["popularity"].items()} == {
        "3": 4,
        "5": 1,
        "40": 1,
    }
    assert parts["target"]["cold"] == {"users": 2, **summarise(ranks[[0, 6]], (2,), 9)}
    assert parts["target"]["warm"]["recall@2"] == 3 / 6


def test_every_user_is_in_one_part_of_each():
    rng = np.random.default_rng(0)
    ranks, lengths = rng.integers(0, 11, 500), rng.geometric(0.2, 500)
    counts = rng.integers(1, 4, 500) ** 3
    parts = segments(ranks, lengths, counts, k=10, width=10)
    for groups in parts.values():
        assert sum(row["users"] for row in groups.values()) == 500
        mean = sum(row["users"] * row["recall@10"] for row in groups.values()) / 500
        assert np.isclose(mean, (ranks < 10).mean())
    assert set(parts["target"]) == {"warm"}


def test_only_cold_targets():
    parts = segments(np.zeros(3, int), np.ones(3, int), np.zeros(3, int), k=1, width=1)
    assert parts["popularity"] == {} and set(parts["target"]) == {"cold"}
