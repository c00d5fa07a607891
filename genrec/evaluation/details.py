"""What is measured of a ranking beside its metrics: intervals, parts of the users, list quality."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from genrec.evaluation import list_quality
from genrec.evaluation.baselines import popularity
from genrec.evaluation.bootstrap import intervals, paired_difference
from genrec.evaluation.metrics import label, per_user
from genrec.evaluation.protocol import PROTOCOLS, Evaluation, Ranking
from genrec.evaluation.segments import segments
from genrec.sequences.histories import Histories

_CUT_OFF = 10
"""Of segments and list quality; the intervals are of every cut-off."""


def ranking_details(
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
    """The "details" of one protocol in metrics.json, as plain numbers.

    Args:
        ranking: of U users.
        histories: of these users, without their targets.
        targets: int32 (U,).
        top_k: the cut-offs of the intervals.
        vectors: float32 (N, C), the content of the items.
        categories: of the N items, "" or None where unknown; None if there are no categories.

    Returns:
        "intervals" and "segments", see the functions; and "beyond", the list quality. The last two
        are at 10, or at the length of shorter lists.
    """
    num_items, width = len(vectors), ranking.items.shape[1]
    k = min(_CUT_OFF, width)
    lists, target_counts = ranking.items[:, :k], training.counts(num_items)[targets]
    quality = {
        "coverage": list_quality.coverage(lists, num_items),
        "gini": list_quality.gini(lists, num_items),
        "novelty": list_quality.novelty(lists, popularity(training, num_items), len(training)),
        "diversity": list_quality.diversity(lists, vectors),
    }
    if categories is not None:
        quality["miscalibration"] = list_quality.miscalibration(lists, histories, categories)
    return {
        "intervals": intervals(ranking.ranks, top_k, width, seed=seed),
        "segments": segments(ranking.ranks, histories.lengths, target_counts, k=k, width=width),
        "beyond": {f"{name}@{k}": value for name, value in quality.items()},
    }


def gains_over(ours: Evaluation, other: Evaluation) -> dict[str, dict[str, list[float]]]:
    """How far the metrics at 10 are above those of another recommender for the same users.

    Returns:
        For each protocol and metric [mean, low, high], the latter the ends of 95 % of a paired
        bootstrap over the users.
    """
    gains: dict[str, dict[str, list[float]]] = {}
    for protocol in PROTOCOLS:
        pair = [getattr(each, protocol) for each in (other, ours)]
        width = pair[0].items.shape[1]
        k = min(_CUT_OFF, width)
        theirs, mine = (per_user(ranking.ranks, [k], width) for ranking in pair)
        gains[protocol] = {}
        for metric in (f"recall@{k}", f"ndcg@{k}"):
            gain = paired_difference(theirs[metric], mine[metric])
            gains[protocol][metric] = [gain.mean, gain.low, gain.high]
    return gains


def details_tables(metrics: dict[str, Any], split: str) -> list[Table]:
    """The details of metrics.json for filtered lists of one split, as tables of 80 columns."""
    measured, details = metrics[split]["filtered"], metrics[split]["details"]["filtered"]
    k = next(iter(details["beyond"])).split("@")[1]
    parts = Table(
        box=box.SIMPLE_HEAD,
        title=f"filtered, {split} items; in brackets 95 % of bootstrap samples of the users",
        title_justify="left",
    )
    for column in ("", "users", f"Recall@{k}", f"NDCG@{k}"):
        parts.add_column(column, justify="right" if column else "left")

    def with_interval(metric: str) -> str:
        low, high = details["intervals"][metric]
        return f"{_short(measured[metric])} [{_short(low)}, {_short(high)}]"

    if f"recall@{k}" in measured:
        everybody = f"{metrics[split]['users']:,}"
        parts.add_row("all", everybody, with_interval(f"recall@{k}"), with_interval(f"ndcg@{k}"))
        parts.add_section()
    for by, groups in details["segments"].items():
        for name, row in groups.items():
            figures = (_short(row[f"{metric}@{k}"]) for metric in ("recall", "ndcg"))
            parts.add_row(f"{by} {name}", f"{row['users']:,}", *figures)
        parts.add_section()
    gained = _gains_table(metrics)
    quality = Table(box=box.SIMPLE_HEAD)
    for column in ("", "", f"filtered, first {k}"):
        quality.add_column(column)
    for name, value in details["beyond"].items():
        kind = name.split("@")[0]
        quality.add_row(kind, f"{value:.3f}", list_quality.DESCRIPTIONS[kind])
    return [parts, *gained, quality]


def _gains_table(metrics: dict[str, Any]) -> list[Table]:
    """How far the run is above its parts and the baselines; none where that was not measured."""
    others = {
        **{f"{name} alone": entry for name, entry in metrics.get("alone", {}).items()},
        **metrics.get("baselines", {}),
    }
    gains = {name: entry["gain"]["filtered"] for name, entry in others.items() if "gain" in entry}
    if not gains:
        return []
    table = Table(
        box=box.SIMPLE_HEAD,
        title="filtered, above each other; in brackets 95 % of a paired bootstrap",
        title_justify="left",
    )
    measures = list(next(iter(gains.values())))
    for column in ("genrec over", *map(label, measures)):
        table.add_column(column, justify="right" if table.columns else "left")
    for name, gain in gains.items():
        cells = (
            f"{gain[metric][0]:+.4f} [{gain[metric][1]:+.4f}, {gain[metric][2]:+.4f}]"
            for metric in measures
        )
        table.add_row(name.replace("_", " "), *cells)
    return [table]


def _short(value: float) -> str:
    return f"{value:.4f}".removeprefix("0")
