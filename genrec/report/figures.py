"""How good the recommendations are: the headline, every recommender, and for whom."""

from dataclasses import dataclass
from typing import Any, Literal

from genrec.evaluation.details import BEYOND
from genrec.evaluation.published import Benchmark

PROTOCOLS = ("unfiltered", "filtered")
_NAMES = {"recall": "Recall", "ndcg": "NDCG", "mrr": "MRR", "hit_rate": "Hit rate"}
_USUAL = (5, 10)

Metrics = dict[str, Any]
"""What metrics.json holds."""


@dataclass(frozen=True)
class Cell:
    """One figure of a table, as it is printed.

    Attributes:
        text: with four decimals; "" where it was not measured.
        best: whether no other of its column is printed as larger.
    """

    text: str
    best: bool = False


@dataclass(frozen=True)
class Row:
    """One recommender under one protocol.

    Attributes:
        kind: `ours`, the run's; `part` of it; a `baseline`; or `published`.
        note: where its figures stand, if not here.
        cells: its figures, in the order of the measures.
        bar: its last figure as a share of the longest bar; None where there is none.
        low, high: the ends of the interval of that figure, likewise.
        interval: the same as text.
    """

    name: str
    kind: Literal["ours", "part", "baseline", "published"]
    note: str
    cells: list[Cell]
    bar: float | None
    low: float | None = None
    high: float | None = None
    interval: str = ""


def label(measure: str) -> str:
    """ "ndcg@10" → "NDCG@10"."""
    kind, _, cut_off = measure.partition("@")
    name = _NAMES.get(kind, kind.capitalize())
    return f"{name}@{cut_off}" if cut_off else name


def main_cut_off(metrics: Metrics) -> int:
    """10 where it was measured, or else the last cut-off below it, or the first there is."""
    there = cut_offs(metrics)
    return 10 if 10 in there else max((k for k in there if k < 10), default=there[0])


def cut_offs(metrics: Metrics) -> list[int]:
    return list(dict.fromkeys(int(name.split("@")[1]) for name in metrics["test"]["unfiltered"]))


def headline(metrics: Metrics, cost: dict[str, Any] | None) -> list[dict[str, str]]:
    """The few figures to see first: name, value, and what to know about it."""
    test, k = metrics["test"], main_cut_off(metrics)
    tiles = []
    for measure in (f"ndcg@{k}", f"recall@{k}"):
        low_high = _intervals(test, "filtered").get(measure)
        said = "" if low_high is None else f"95 % within {low_high[0]:.4f} to {low_high[1]:.4f}; "
        said += f"unfiltered {test['unfiltered'][measure]:.4f}"
        value = f"{test['filtered'][measure]:.4f}"
        tiles.append({"name": f"{label(measure)}, filtered", "value": value, "note": said})
    others = {
        name: entry["test"]["filtered"][f"ndcg@{k}"]
        for name, entry in metrics.get("baselines", {}).items()
    }
    if others and max(others.values()) > 0:
        best = max(others, key=lambda name: others[name])
        gain = test["filtered"][f"ndcg@{k}"] / others[best] - 1
        tiles.append(
            {
                "name": "Over the best baseline",
                "value": f"{gain:+.0%}".replace("-", "\N{MINUS SIGN}"),
                "note": f"{label(f'ndcg@{k}')}, filtered; {best.replace('_', ' ')} has "
                f"{others[best]:.4f}",
            }
        )
    beyond = test.get("details", {}).get("filtered", {}).get("beyond", {})
    for name, value in beyond.items():
        if name.startswith("coverage"):
            note = f"in the first {name.split('@')[1]} places of any list"
            tiles.append({"name": "Catalogue used", "value": f"{value:.0%}", "note": note})
    if cost is not None:
        note = f"filtered lists, on {cost['device']}; {cost['peak_memory_gib']:.1f} GiB at most"
        value = f"{cost['users_per_second']:,.0f}"
        tiles.append({"name": "Users a second", "value": value, "note": note})
    return tiles


def recommenders(metrics: Metrics, benchmark: Benchmark | None, name: str) -> dict[str, Any]:
    """Every recommender under both protocols: `measures`, and for each protocol its rows.

    Args:
        benchmark: what was published on this data set, if anything was.
        name: what to call the run's own.
    """
    there = cut_offs(metrics)
    usual = [k for k in there if k in _USUAL]
    shown = usual if len(usual) > 1 else there[:2]
    measures = [f"{kind}@{k}" for k in shown for kind in ("recall", "ndcg")]
    measured: list[tuple[str, Any, Metrics]] = [(name, "ours", metrics["test"])]
    for part, kind in (("alone", "part"), ("baselines", "baseline")):
        for key, entry in metrics.get(part, {}).items():
            called = key.replace("_", " ") + " alone" * (kind == "part")
            measured.append((called, kind, entry["test"]))
    plain: dict[str, list[tuple[str, Any, str, dict[str, float]]]] = {}
    for protocol in PROTOCOLS:
        plain[protocol] = [(n, kind, "", entry[protocol]) for n, kind, entry in measured]
        for row in benchmark.rows if benchmark else ():
            pair = row.unfiltered if protocol == "unfiltered" else row.filtered
            if pair is not None:
                figures: dict[str, float] = dict(zip(("recall@10", "ndcg@10"), pair, strict=True))
                plain[protocol].append((row.name, "published", row.source, figures))
    bars, intervals = measures[-1], {p: _intervals(metrics["test"], p) for p in PROTOCOLS}
    longest = max(
        [row[3].get(bars, 0.0) for rows in plain.values() for row in rows]
        + [interval[bars][1] for interval in intervals.values() if bars in interval]
    )
    return {
        "measures": [label(measure) for measure in measures],
        "protocols": {
            protocol: _rows(rows, measures, longest or 1.0, intervals[protocol])
            for protocol, rows in plain.items()
        },
        "benchmark": benchmark,
        "users": f"{metrics['test']['users']:,}",
        "repeats": metrics["test"].get("repeat_targets", 0),
    }


def _rows(
    rows: list[tuple[str, Any, str, dict[str, float]]],
    measures: list[str],
    longest: float,
    intervals: dict[str, list[float]],
) -> list[Row]:
    texts = [
        [f"{figures[m]:.4f}" if m in figures else "" for m in measures] for *_, figures in rows
    ]
    best = [max(column) for column in zip(*texts, strict=True)]
    found = []
    for (name, kind, note, figures), cells in zip(rows, texts, strict=True):
        low, high = intervals.get(measures[-1], (None, None)) if kind == "ours" else (None, None)
        value = figures.get(measures[-1])
        found.append(
            Row(
                name,
                kind,
                note,
                [Cell(text, text == top) for text, top in zip(cells, best, strict=True)],
                None if value is None else value / longest,
                None if low is None else low / longest,
                None if high is None else high / longest,
                "" if low is None else f"{low:.4f} to {high:.4f}",
            )
        )
    return found


def all_figures(metrics: Metrics) -> dict[str, Any]:
    """Every metric of the run itself: `cut_offs`, and rows of name, protocol and cells."""
    test, there = metrics["test"], cut_offs(metrics)
    rows = []
    for protocol in PROTOCOLS:
        intervals = _intervals(test, protocol)
        for kind in dict.fromkeys(name.split("@")[0] for name in test[protocol]):
            cells = []
            for k in there:
                low_high = intervals.get(f"{kind}@{k}")
                said = f"{low_high[0]:.4f} to {low_high[1]:.4f}" if low_high else ""
                cells.append((f"{test[protocol][f'{kind}@{k}']:.4f}", said))
            rows.append({"name": label(kind), "protocol": protocol, "cells": cells})
    return {"cut_offs": there, "rows": rows}


def segments(metrics: Metrics) -> list[dict[str, Any]]:
    """Filtered figures for parts of the users: `by` what, and rows; [] where there are none."""
    found = metrics["test"].get("details", {}).get("filtered", {}).get("segments", {})
    parts = []
    longest = max(
        (row[_ndcg(row)] for groups in found.values() for row in groups.values()), default=0.0
    )
    for by, groups in found.items():
        rows = [
            {
                "name": name.replace("-", "\N{EN DASH}"),
                "users": f"{row['users']:,}",
                "recall": f"{row[_ndcg(row).replace('ndcg', 'recall')]:.4f}",
                "ndcg": f"{row[_ndcg(row)]:.4f}",
                "value": row[_ndcg(row)],
                "bar": row[_ndcg(row)] / (longest or 1.0),
            }
            for name, row in groups.items()
        ]
        if rows:
            k = _ndcg(next(iter(groups.values()))).split("@")[1]
            parts.append({"by": by, "said": _SAID.get(by, ""), "k": k, "rows": rows})
    return parts


_SAID = {
    "history length": "items in the user's history",
    "popularity": "interactions that the test item has in training",
    "target": "whether training saw the test item",
}


def _ndcg(row: dict[str, Any]) -> str:
    (name,) = (name for name in row if name.startswith("ndcg@"))  # a ValueError if there is none
    return name


def beyond(metrics: Metrics) -> list[dict[str, str]]:
    """What accuracy does not say, for both protocols; [] where it was not measured."""
    details = metrics["test"].get("details", {})
    figures = {protocol: details.get(protocol, {}).get("beyond", {}) for protocol in PROTOCOLS}
    return [
        {
            "name": label(name),
            "said": BEYOND.get(name.split("@")[0], ""),
            **{protocol: f"{figures[protocol][name]:.3f}" for protocol in PROTOCOLS},
        }
        for name in figures["filtered"]
        if name in figures["unfiltered"]
    ]


def _intervals(test: dict[str, Any], protocol: str) -> dict[str, list[float]]:
    return test.get("details", {}).get(protocol, {}).get("intervals", {})
