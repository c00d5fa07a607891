"""The table that ends a run: every recommender, under both protocols, on one split."""

from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

_SHOWN_CUT_OFFS = (5, 10)
_PROTOCOLS = ("unfiltered", "filtered")
_NAMES = {"recall": "Recall", "ndcg": "NDCG"}


def results_table(metrics: dict[str, Any], split: str, *, name: str = "genrec") -> Table:
    """The figures of metrics.json as a table that fits into 80 columns of text.

    Args:
        metrics: {split: {"users", "unfiltered", "filtered", …}, "alone": {name: {split: …}},
            "baselines": {name: {split: …}}}: the model, what it ranks by alone, and others.
        split: the split to show, such as "test". It must be a key of `metrics` and of every
            other recommender, and the caption names it, so that one split's figures cannot pass as
            another's.
        name: what to call the model's row.

    Returns:
        One row per recommender, unfiltered and then filtered; Recall and NDCG at 5 and 10, or else
        at the first two cut-offs; the best of either part in bold.

    Raises:
        ValueError: a recommender has no figures for `split`, or was measured on other users or at
            other cut-offs.
    """
    alone, baselines = metrics.get("alone", {}), metrics.get("baselines", {})
    measured = {
        name: metrics,
        **{f"{_spaced(part)} alone": splits for part, splits in alone.items()},
        **{_spaced(baseline): splits for baseline, splits in baselines.items()},
    }
    rows: dict[str, Any] = {
        recommender: splits.get(split) for recommender, splits in measured.items()
    }
    for recommender, row in rows.items():
        if row is None:
            raise ValueError(f"{recommender} has no figures for the split {split!r}")
        if row["users"] != rows[name]["users"]:
            raise ValueError(f"{recommender} was measured on other users than {name}")

    there = dict.fromkeys(int(measure.split("@")[1]) for measure in rows[name]["unfiltered"])
    usual = [k for k in there if k in _SHOWN_CUT_OFFS]
    shown = usual if len(usual) > 1 else list(there)[: len(_SHOWN_CUT_OFFS)]
    measures = [f"{measure}@{k}" for k in shown for measure in _NAMES]
    table = Table(box=box.SIMPLE_HEAD, caption=_caption(rows[name], split), caption_justify="left")
    for column in ("", "recommender"):
        table.add_column(column, overflow="fold")
    for measure in measures:
        table.add_column(_header(measure), justify="right", no_wrap=True)
    for protocol in _PROTOCOLS:
        try:
            figures = {
                recommender: [f"{row[protocol][measure]:.4f}" for measure in measures]
                for recommender, row in rows.items()
            }
        except KeyError as missing:
            raise ValueError(f"a recommender was not measured at {missing}") from None
        # Compared as printed: what looks equal is equally bold.
        best = [max(column) for column in zip(*figures.values(), strict=True)]
        for place, (recommender, row) in enumerate(figures.items()):
            cells = (
                Text(figure, style="bold" if figure == top else "")
                for figure, top in zip(row, best, strict=True)
            )
            table.add_row(protocol if place == 0 else "", recommender, *cells)
        table.add_section()
    return table


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _header(measure: str) -> str:
    kind, cut_off = measure.split("@")
    return f"{_NAMES[kind]}@{cut_off}"


def _caption(row: dict[str, Any], split: str) -> str:
    caption = f"{row['users']:,} users, {split} items, full catalogue, leave-one-out"
    if row.get("repeat_targets"):
        caption += (
            f"; {row['repeat_targets']:,} of the items are in the user's history already, "
            "out of reach of filtered lists"
        )
    return caption
