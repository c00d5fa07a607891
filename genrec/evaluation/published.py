"""Results that papers and their authors' repositories report for widely used data sets.

All are leave-one-out over the full catalogue, on the test items. A row says under which protocol it
was measured; figures of one protocol are not comparable with figures of the other.
"""

from typing import Any, NamedTuple

from genrec.data import Published
from genrec.data.known.amazon import PUBLISHED_2014

Pair = tuple[float, float]
"""Recall@10 and NDCG@10."""


class PublishedRow(NamedTuple):
    """One recommender as published: by whom, and what was reported under either protocol."""

    name: str
    source: str
    unfiltered: Pair | None = None
    filtered: Pair | None = None


class Benchmark(NamedTuple):
    """A data set with published results: its name for people, its size, and the results."""

    title: str
    counts: Published
    rows: list[PublishedRow]


_PAPER, _LOGS = "Rajput et al. 2023, table 1", "public logs of GRID's re-run"
_ENSEMBLE, _RPG = "Hou et al. 2025, an ensemble of 5", "Hou et al. 2025, its paper"
_RECBOLE, _ESASREC = "a user's run of RecBole", "the eSASRec repository"
_LIME, _GRAM = "its summary, arXiv 2608.01260, 3 seeds", "arXiv 2506.01673"
_BSAREC = "its authors' log, arXiv 2312.10325, one seed"

# Recommender, source, and the figures on Beauty, Sports and Toys.
_UNFILTERED = (
    ("TIGER", _PAPER, (0.0648, 0.0384), (0.0400, 0.0225), (0.0712, 0.0432)),
    ("TIGER, GRID's", _LOGS, (0.0655, 0.0369), (0.0346, 0.0190), (0.0605, 0.0329)),
    ("ActionPiece", _ENSEMBLE, (0.0775, 0.0424), (0.0500, 0.0264), None),
    ("MaskGR", "its paper", (0.0815, 0.0436), (0.0463, 0.0242), (0.0806, 0.0455)),
    ("RPG", _RPG, (0.0809, 0.0464), (0.0463, 0.0263), (0.0869, 0.0490)),
    ("SASRec, full cross-entropy", _RECBOLE, (0.0821, 0.0405), None, None),
    ("GRAM", _GRAM, (0.0890, 0.0531), (0.0554, 0.0314), None),
    ("LIME-Rec", _LIME, (0.0996, 0.0587), (0.0593, 0.0341), None),
)
_FILTERED = (
    ("SASRec, sampled softmax", _ESASREC, (0.0921, 0.0531), (0.0569, 0.0314), (0.0970, 0.0580)),
    ("eSASRec", _ESASREC, (0.0928, 0.0523), (0.0560, 0.0323), (0.0939, 0.0538)),
    ("BSARec", _BSAREC, (0.1008, 0.0611), None, None),
)


def _benchmark(title: str, category: str, column: int) -> Benchmark:
    rows = [PublishedRow(name, by, pairs[column]) for name, by, *pairs in _UNFILTERED]
    rows += [PublishedRow(name, by, None, pairs[column]) for name, by, *pairs in _FILTERED]
    reported = [row for row in rows if row.unfiltered or row.filtered]
    return Benchmark(f"Amazon 2014 {title}", PUBLISHED_2014[category], reported)


BENCHMARKS = {
    "beauty": _benchmark("Beauty", "Beauty", 0),
    "sports": _benchmark("Sports and Outdoors", "Sports_and_Outdoors", 1),
    "toys": _benchmark("Toys and Games", "Toys_and_Games", 2),
}
"""By the name of their config."""


def benchmark_of(counts: dict[str, Any]) -> Benchmark | None:
    """The data set with published results to which `counts`, of counts.json, belong; else None.

    It is recognised by its numbers, not by its name: other cleaning makes another data set, and
    files of one's own may hold the same.
    """
    if counts["split"]["kind"] != "leave-one-out":
        return None
    for benchmark in BENCHMARKS.values():
        published = benchmark.counts
        sizes = published.users, published.items, published.interactions
        if sizes == (counts["users"], counts["items"], counts["interactions"]):
            return benchmark
    return None
