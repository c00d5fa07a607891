"""The counts of a preparation, as tables for people."""

import datetime
from typing import Any

from rich import box
from rich.table import Table


def steps_table(counts: dict[str, Any]) -> Table:
    """The "steps" of counts.json: how much each left, and how many interactions it dropped."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("", "dropped", "interactions", "users", "items"):
        table.add_column(name, justify="right" if name else "left", overflow="fold")
    for reason, count in counts["bad_rows"].items():
        table.add_row(reason, f"{count:,}", "", "", "")
    if published := counts["published"]:
        sizes = (f"{published[name]:,}" for name in ("interactions", "users", "items"))
        table.add_row(f"published ({published['source']})", "", *sizes)
    before = None
    for step in counts["steps"]:
        dropped = "" if before is None else f"{before - step['interactions']:,}"
        left = (f"{step[name]:,}" for name in ("interactions", "users", "items"))
        table.add_row(step["name"], dropped, *left)
        before = step["interactions"]
    return table


def counts_table(counts: dict[str, Any]) -> Table:
    """The other figures of counts.json, in two columns: name and value."""
    lengths, split = counts["history_length"], counts["split"]
    quantiles = ", ".join(
        f"{name} {lengths[key]:,.0f}"
        for name, key in (
            ("at least", "min"),
            ("a quarter up to", "p25"),
            ("half up to", "median"),
            ("95 % up to", "p95"),
            ("at most", "max"),
        )
    )
    new = f", {split['new_items']:,} items made new" if split["new_items"] else ""
    rows = {"published": _agreement(counts)} if counts["published"] else {}
    rows |= {
        "density": f"{counts['density']:.4%} of all users and items have met",
        "histories": f"mean {lengths['mean']:.1f} interactions; {quantiles}",
        "time": f"{_date(counts['first_timestamp'])} to {_date(counts['last_timestamp'])}",
        "split": f"{split['kind']}{new}: {split['training_interactions']:,} interactions to train "
        f"on, {split['validation_users']:,} users to validate with, "
        f"{split['test_users']:,} to test",
    }
    texts = {
        "items_without_text": "items have no text",
        "items_left_out": "rows of the items file are of items that no interaction is left of",
        "item_rows_dropped": "rows of the items file had no id, or one that had a row already",
        "users_too_short": "users had too few interactions for the split",
        "repeated_pairs": "interactions are of a user and an item that had met before",
        "tied_ends": "users have two last interactions of one time, in the order of the file",
    }
    notes = [f"{counts[name]:,} {text}" for name, text in texts.items() if counts.get(name)]
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    for number, note in enumerate(notes):
        table.add_row("" if number else "also", note)
    return table


def _agreement(counts: dict[str, Any]) -> str:
    published, read = counts["published"], counts["steps"][0]
    differing = [
        f"{read[name]:,} {name} were read, not {published[name]:,}"
        for name in ("interactions", "users", "items")
        if read[name] != published[name]
    ]
    return "exactly these were read" if not differing else f"other files: {'; '.join(differing)}"


def _date(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d")
