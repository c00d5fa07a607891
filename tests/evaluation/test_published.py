import pytest

from genrec.data.known.amazon import amazon_2014
from genrec.evaluation.published import BENCHMARKS, benchmark_of


def counted(benchmark, **changed):
    sizes = {name: getattr(benchmark.counts, name) for name in ("users", "items", "interactions")}
    return {**sizes, "split": {"kind": "leave-one-out"}, **changed}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_data_set_is_known_by_its_counts(name):
    wanted = BENCHMARKS[name]
    assert benchmark_of(counted(wanted)) is wanted
    assert benchmark_of(counted(wanted, interactions=1)) is None
    assert benchmark_of(counted(wanted, split={"kind": "temporal"})) is None


def test_the_counts_are_those_of_the_known_data_set():
    assert amazon_2014("Beauty").published == BENCHMARKS["beauty"].counts


@pytest.mark.parametrize("benchmark", BENCHMARKS.values())
def test_every_row_says_what_was_measured_how(benchmark):
    assert len({row.name for row in benchmark.rows}) == len(benchmark.rows)
    for row in benchmark.rows:
        pairs = [pair for pair in (row.unfiltered, row.filtered) if pair is not None]
        assert len(pairs) == 1 and row.source
        recall, ndcg = pairs[0]
        assert 0.01 < ndcg < recall < 0.2
