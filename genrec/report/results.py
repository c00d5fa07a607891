"""How good the recommendations are: the headline, every recommender, and for whom."""

from typing import Any

from genrec.evaluation.list_quality import DESCRIPTIONS
from genrec.evaluation.metrics import label
from genrec.evaluation.protocol import PROTOCOLS
from genrec.evaluation.published import Benchmark
from genrec.evaluation.table import (
    cut_offs,
    largest_of_columns,
    measured_recommenders,
    shown_metrics,
)

Metrics = dict[str, Any]
"""What metrics.json holds."""
_SEGMENTS = {
    "history length": "items in the user's history",
    "popularity": "interactions that the test item has in training",
    "target": "whether training saw the test item",
}


def details(test: Metrics, protocol: str, part: str) -> dict[str, Any]:
    """The "intervals", "segments" or "beyond" of a protocol; {} if evaluated without them."""
    return test.get("details", {}).get(protocol, {}).get(part, {})


def headline(metrics: Metrics, cost: dict[str, Any] | None) -> list[dict[str, str]]:
    """The few figures to see first: name, value, and a note beside it.

    `cost` is what decoding_cost.json holds, if it is there.
    """
    test = metrics["test"]
    filtered, there = test["filtered"], cut_offs(test["unfiltered"])
    k = 10 if 10 in there else max((k for k in there if k < 10), default=there[0])
    tiles = []

    def add(name: str, value: str, note: str) -> None:
        tiles.append({"name": name, "value": value, "note": note})

    for metric in (f"ndcg@{k}", f"recall@{k}"):
        note = f"unfiltered {test['unfiltered'][metric]:.4f}"
        if interval := _interval(test, "filtered", metric):
            note = f"95 % within {_range(interval)}; {note}"
        add(f"{label(metric)}, filtered", f"{filtered[metric]:.4f}", note)
    ndcg = f"ndcg@{k}"
    baselines = [
        (splits["test"]["filtered"][ndcg], name.replace("_", " "))
        for name, splits in metrics.get("baselines", {}).items()
    ]
    value, best = max(baselines, key=lambda baseline: baseline[0], default=(0.0, ""))
    if value > 0:
        gain = f"{filtered[ndcg] / value - 1:+.0%}".replace("-", "\N{MINUS SIGN}")
        add("Over the best baseline", gain, f"{label(ndcg)}, filtered; {best} has {value:.4f}")
    for name, value in details(test, "filtered", "beyond").items():
        if name.startswith("coverage"):
            note = f"in the first {name.split('@')[1]} places of any list"
            add("Catalogue used", f"{value:.0%}", note)
    if cost is not None:
        note = f"filtered lists, on {cost['device']}; {cost['peak_memory_gib']:.1f} GiB at most"
        add("Users a second", f"{cost['users_per_second']:,.0f}", note)
    return tiles


def recommenders(metrics: Metrics, benchmark: Benchmark | None) -> dict[str, Any]:
    """Every recommender under both protocols.

    Args:
        benchmark: what was published on this data set, if anything was.

    Returns:
        `measures`: the names of the metrics shown; `protocols`: for each protocol the rows, each
        with name, kind (that of `measured_recommenders`, or "published"), note, `cells` (text, and
        whether no other of the column is larger) and `value`, the last metric, None if it was not
        measured; `low`, `high` and `interval` if it has an interval; `longest`: the largest value.
    """
    test = metrics["test"]
    shown = shown_metrics(test["unfiltered"])
    measured = measured_recommenders(metrics, "test")
    protocols: dict[str, list[dict[str, Any]]] = {}
    for protocol in PROTOCOLS:
        entries = [(name, kind, "", figures[protocol]) for name, kind, figures in measured]
        for row in benchmark.rows if benchmark else ():
            pair = getattr(row, protocol)
            if pair is not None:
                figures = {"recall@10": pair[0], "ndcg@10": pair[1]}
                entries.append((row.name, "published", row.source, figures))
        texts = [
            [f"{figures[metric]:.4f}" if metric in figures else "" for metric in shown]
            for *_, figures in entries
        ]
        protocols[protocol] = [
            {
                "name": name,
                "kind": kind,
                "note": note,
                "cells": list(zip(cells, largest, strict=True)),
                "value": figures.get(shown[-1]),
            }
            for (name, kind, note, figures), cells, largest in zip(
                entries, texts, largest_of_columns(texts), strict=True
            )
        ]
        if interval := _interval(test, protocol, shown[-1]):
            low, high = interval
            protocols[protocol][0] |= {"low": low, "high": high, "interval": _range(interval)}
    bars = [row.get("high") or row["value"] or 0.0 for rows in protocols.values() for row in rows]
    return {
        "measures": [label(metric) for metric in shown],
        "protocols": protocols,
        "longest": max(bars) or 1.0,
        "benchmark": benchmark,
        "users": f"{test['users']:,}",
        "repeats": test.get("repeat_targets", 0),
    }


def all_figures(metrics: Metrics) -> dict[str, Any]:
    """Every metric of the run itself: `cut_offs`, and rows of name, protocol and cells."""
    test = metrics["test"]
    there = cut_offs(test["unfiltered"])
    rows = []
    for protocol in PROTOCOLS:
        for kind in dict.fromkeys(metric.split("@")[0] for metric in test[protocol]):
            cells = []
            for metric in (f"{kind}@{k}" for k in there):
                interval = _interval(test, protocol, metric)
                text = _range(interval) if interval else ""
                cells.append((f"{test[protocol][metric]:.4f}", text))
            rows.append({"name": label(kind), "protocol": protocol, "cells": cells})
    return {"cut_offs": there, "rows": rows}


def segments(metrics: Metrics) -> list[dict[str, Any]]:
    """Filtered metrics for parts of the users: for each cut its rows; [] where there are none."""
    groups_by = details(metrics["test"], "filtered", "segments")
    measured = [row for groups in groups_by.values() for row in groups.values()]
    if not measured:
        return []
    (ndcg,) = (name for name in measured[0] if name.startswith("ndcg@"))
    recall, k = ndcg.replace("ndcg", "recall"), ndcg.split("@")[1]
    longest = max(row[ndcg] for row in measured) or 1.0
    return [
        {
            "by": by,
            "description": _SEGMENTS.get(by, ""),
            "k": k,
            "rows": [
                {
                    "name": name.replace("-", "\N{EN DASH}"),
                    "users": f"{row['users']:,}",
                    "recall": f"{row[recall]:.4f}",
                    "ndcg": f"{row[ndcg]:.4f}",
                    "value": row[ndcg],
                    "bar": row[ndcg] / longest,
                }
                for name, row in groups.items()
            ],
        }
        for by, groups in groups_by.items()
        if groups
    ]


def list_quality(metrics: Metrics) -> list[dict[str, str]]:
    """What the lists are like beyond accuracy, under both protocols; [] if not measured."""
    unfiltered, filtered = (details(metrics["test"], protocol, "beyond") for protocol in PROTOCOLS)
    return [
        {
            "name": label(name),
            "description": DESCRIPTIONS.get(name.split("@")[0], ""),
            "unfiltered": f"{unfiltered[name]:.3f}",
            "filtered": f"{filtered[name]:.3f}",
        }
        for name in filtered
        if name in unfiltered
    ]


def _interval(test: Metrics, protocol: str, metric: str) -> list[float] | None:
    return details(test, protocol, "intervals").get(metric)


def _range(interval: list[float]) -> str:
    low, high = interval
    return f"{low:.4f} to {high:.4f}"
