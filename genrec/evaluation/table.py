"""The table that ends a run: every recommender, under both protocols, on one split."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from genrec.evaluation.metrics import label
from genrec.evaluation.protocol import PROTOCOLS

_USUAL_CUT_OFFS = (5, 10)


def measured_recommenders(
    metrics: dict[str, Any], split: str
) -> list[tuple[str, str, dict[str, Any]]]:
    """The recommenders of metrics.json: the model, called genrec, its parts and the baselines.

    Returns:
        For each its name; "ours" for the model, "part" for a part of it alone, or "baseline"; and
        what was measured of it on one split: `users`, `unfiltered`, `filtered` and so on.

    Raises:
        ValueError: one has no figures for `split`, or was measured on other users than the model.
    """
    splits_of = [
        ("genrec", "ours", metrics),
        *((f"{part} alone", "part", splits) for part, splits in metrics.get("alone", {}).items()),
        *((name, "baseline", splits) for name, splits in metrics.get("baselines", {}).items()),
    ]
    recommenders = []
    for name, kind, splits in splits_of:
        name = name.replace("_", " ")
        if split not in splits:
            raise ValueError(f"{name} has no figures for the split {split!r}")
        if splits[split]["users"] != metrics[split]["users"]:
            raise ValueError(f"{name} was measured on other users than genrec")
        recommenders.append((name, kind, splits[split]))
    return recommenders


def cut_offs(metric_names: Iterable[str]) -> list[int]:
    """The cut-offs in names such as "recall@10", each once, in their order."""
    return list(dict.fromkeys(int(name.split("@")[1]) for name in metric_names))


def shown_metrics(metric_names: Iterable[str]) -> list[str]:
    """Recall and NDCG at 5 and 10, or else at the first two cut-offs that were measured."""
    there = cut_offs(metric_names)
    usual = [k for k in there if k in _USUAL_CUT_OFFS]
    shown = usual if len(usual) > 1 else there[: len(_USUAL_CUT_OFFS)]
    return [f"{kind}@{k}" for k in shown for kind in ("recall", "ndcg")]


def largest_of_columns(rows: Sequence[Sequence[str]]) -> list[list[bool]]:
    """Which figures are the largest of their column, as printed: what looks equal is equally so."""
    largest = [max(column) for column in zip(*rows, strict=True)]
    return [[text == top for text, top in zip(row, largest, strict=True)] for row in rows]


def results_table(metrics: dict[str, Any], split: str) -> Table:
    """The figures of metrics.json as a table that fits into 80 columns of text.

    Args:
        metrics: {split: {"users", "unfiltered", "filtered", …}, "alone": {name: {split: …}},
            "baselines": {name: {split: …}}}: the model, its parts alone, and others.
        split: the split to show, such as "test". It must be a key of `metrics` and of every
            other recommender, and the caption names it, so that one split's figures cannot pass as
            another's.

    Returns:
        One row per recommender, unfiltered and then filtered; the metrics of `shown_metrics`; the
        best of either protocol in bold.

    Raises:
        ValueError: a recommender has no figures for `split`, or was measured on other users or at
            other cut-offs.
    """
    recommenders = measured_recommenders(metrics, split)
    ours = metrics[split]
    shown = shown_metrics(ours["unfiltered"])
    caption = f"{ours['users']:,} users, {split} items, full catalogue, leave-one-out"
    if ours.get("repeat_targets"):
        caption += (
            f"; {ours['repeat_targets']:,} of the items are in the user's history already, "
            "out of reach of filtered lists"
        )
    table = Table(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left")
    for column in ("", "recommender"):
        table.add_column(column, overflow="fold")
    for metric in shown:
        table.add_column(label(metric), justify="right", no_wrap=True)
    for protocol in PROTOCOLS:
        try:
            figures = [measured[protocol] for _, _, measured in recommenders]
            rows = [[f"{row[metric]:.4f}" for metric in shown] for row in figures]
        except KeyError as missing:
            raise ValueError(f"a recommender was not measured at {missing}") from None
        first = protocol
        largest = largest_of_columns(rows)
        for (name, *_), row, bold in zip(recommenders, rows, largest, strict=True):
            cells = (Text(text, "bold" * best) for text, best in zip(row, bold, strict=True))
            table.add_row(first, name, *cells)
            first = ""
        table.add_section()
    return table
