"""One recommender looked at from all sides: intervals, parts of the users, and beyond accuracy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from genrec.evaluation.baselines import popularity
from genrec.evaluation.bootstrap import intervals
from genrec.evaluation.list_quality import coverage, diversity, gini, miscalibration, novelty
from genrec.evaluation.protocol import Ranking
from genrec.evaluation.segments import segments
from genrec.sequences.histories import Histories

K = 10
"""Places of a list that count, but for the intervals, which are of every cut-off."""
BEYOND = {
    "coverage": "share of the catalogue in any list",
    "gini": "inequality of exposure: 0 evenly, 1 all to one item",
    "novelty": "mean -log2 of the share of users who have an item",
    "diversity": "mean cosine distance of the content of two items of a list",
    "miscalibration": "divergence of a list's categories from the history's, nats",
}
"""What each figure of "beyond" says."""


def details(
    ranking: Ranking,
    histories: Histories,
    targets: np.ndarray,
    training: Histories,
    *,
    top_k: Sequence[int],
    vectors: np.ndarray,
    categories: Sequence[str | None] | None,
    seed: int,
) -> dict[str, Any]:
    """What stands beside a ranking's metrics, as plain numbers.

    Args:
        ranking: of U users, by lists of at least min(K, all) items.
        histories: of these users, without their targets.
        targets: int (U,).
        training: the histories that training saw.
        top_k: the cut-offs of the intervals.
        vectors: float (N, E), the content of the items.
        categories: of the items, if there are any.
        seed: of the bootstrap.

    Returns:
        `intervals`, see there; `segments`, see there; `beyond`: the figures of `beyond` at K.
    """
    num_items, width = len(vectors), ranking.items.shape[1]
    k = min(K, width)
    lists, counts = ranking.items[:, :k], training.counts(num_items)
    beyond = {
        f"coverage@{k}": coverage(lists, num_items),
        f"gini@{k}": gini(lists, num_items),
        f"novelty@{k}": novelty(lists, popularity(training, num_items), len(training)),
        f"diversity@{k}": diversity(lists, vectors),
    }
    if categories is not None:
        beyond[f"miscalibration@{k}"] = miscalibration(lists, histories, categories)
    return {
        "intervals": intervals(ranking.ranks, top_k, width, seed=seed),
        "segments": segments(ranking.ranks, histories.lengths, counts[targets], k=k, width=width),
        "beyond": beyond,
    }


def details_tables(metrics: dict[str, Any], split: str, protocol: str = "filtered") -> list[Table]:
    """The entry of one split of metrics.json under one protocol: two tables of 80 columns."""
    found = metrics[split]["details"][protocol]
    k = next(iter(found["beyond"])).split("@")[1]
    parts = Table(
        box=box.SIMPLE_HEAD,
        title=f"{protocol}, {split} items; in brackets 95 % of bootstrap samples of the users",
        title_justify="left",
    )
    for name in ("", "users", f"Recall@{k}", f"NDCG@{k}"):
        parts.add_column(name, justify="right" if name else "left")

    def whole(name: str) -> str:
        value, (low, high) = metrics[split][protocol][name], found["intervals"][name]
        return f"{_short(value)} [{_short(low)}, {_short(high)}]"

    if f"recall@{k}" in metrics[split][protocol]:
        everybody = f"{metrics[split]['users']:,}"
        parts.add_row("all", everybody, whole(f"recall@{k}"), whole(f"ndcg@{k}"))
        parts.add_section()
    for by, groups in found["segments"].items():
        for name, row in groups.items():
            figures = (_short(row[f"{metric}@{k}"]) for metric in ("recall", "ndcg"))
            parts.add_row(f"{by} {name}", f"{row['users']:,}", *figures)
        parts.add_section()
    others = Table(box=box.SIMPLE_HEAD)
    for name in ("", "", f"{protocol}, first {k}"):
        others.add_column(name)
    for name, value in found["beyond"].items():
        kind = name.split("@")[0]
        others.add_row(kind, f"{value:.3f}", BEYOND[kind])
    return [parts, others]


def _short(value: float) -> str:
    return f"{value:.4f}".removeprefix("0")
