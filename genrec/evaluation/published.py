"""Results that papers and their authors' repositories report for widely used data sets.

All are leave-one-out over the full catalogue, on the test items. A row says under which protocol it
was measured; figures of one protocol are not comparable with figures of the other.
"""

from dataclasses import dataclass
from typing import Any

from genrec.data import Published
from genrec.data.known.amazon import PUBLISHED_2014

Pair = tuple[float, float]
"""Recall@10 and NDCG@10."""


@dataclass(frozen=True)
class PublishedRow:
    """One recommender as published.

    Attributes:
        source: where the figures were published.
        unfiltered, filtered: Recall@10 and NDCG@10, where they were reported.
    """

    name: str
    source: str
    unfiltered: Pair | None = None
    filtered: Pair | None = None


@dataclass(frozen=True)
class Benchmark:
    """A data set with published results.

    Attributes:
        title: its name, for people.
        counts: its users, items and interactions.
        rows: the recommenders measured on it.
    """

    title: str
    counts: Published
    rows: tuple[PublishedRow, ...]


_PAPER, _LOGS = "Rajput et al. 2023, table 1", "public logs of GRID's re-run"
_ENSEMBLE, _OWN, _RPG = (
    "Hou et al. 2025, an ensemble of 5",
    "its paper",
    "Hou et al. 2025, its paper",
)
_ESASREC = "the eSASRec repository"

BENCHMARKS = {
    "beauty": Benchmark(
        "Amazon 2014 Beauty",
        PUBLISHED_2014["Beauty"],
        (
            PublishedRow("TIGER", _PAPER, (0.0648, 0.0384)),
            PublishedRow("TIGER, GRID's", _LOGS, (0.0655, 0.0369)),
            PublishedRow("ActionPiece", _ENSEMBLE, (0.0775, 0.0424)),
            PublishedRow("MaskGR", _OWN, (0.0815, 0.0436)),
            PublishedRow("RPG", _RPG, (0.0809, 0.0464)),
            PublishedRow("SASRec, full cross-entropy", "a user's run of RecBole", (0.0821, 0.0405)),
            PublishedRow("SASRec, sampled softmax", _ESASREC, filtered=(0.0921, 0.0531)),
            PublishedRow("eSASRec", _ESASREC, filtered=(0.0928, 0.0523)),
        ),
    ),
    "sports": Benchmark(
        "Amazon 2014 Sports and Outdoors",
        PUBLISHED_2014["Sports_and_Outdoors"],
        (
            PublishedRow("TIGER", _PAPER, (0.0400, 0.0225)),
            PublishedRow("TIGER, GRID's", _LOGS, (0.0346, 0.0190)),
            PublishedRow("ActionPiece", _ENSEMBLE, (0.0500, 0.0264)),
            PublishedRow("MaskGR", _OWN, (0.0463, 0.0242)),
            PublishedRow("RPG", _RPG, (0.0463, 0.0263)),
            PublishedRow("SASRec, sampled softmax", _ESASREC, filtered=(0.0569, 0.0314)),
            PublishedRow("eSASRec", _ESASREC, filtered=(0.0560, 0.0323)),
        ),
    ),
    "toys": Benchmark(
        "Amazon 2014 Toys and Games",
        PUBLISHED_2014["Toys_and_Games"],
        (
            PublishedRow("TIGER", _PAPER, (0.0712, 0.0432)),
            PublishedRow("TIGER, GRID's", _LOGS, (0.0605, 0.0329)),
            PublishedRow("MaskGR", _OWN, (0.0806, 0.0455)),
            PublishedRow("RPG", _RPG, (0.0869, 0.0490)),
            PublishedRow("SASRec, sampled softmax", _ESASREC, filtered=(0.0970, 0.0580)),
            PublishedRow("eSASRec", _ESASREC, filtered=(0.0939, 0.0538)),
        ),
    ),
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
