"""Tables of what was measured beside what was published."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genrec.evaluation.protocol import ProtocolName
from genrec.evaluation.published import BENCHMARKS, Pair
from genrec.storage.files import read_json, replacing, write_json
from reproduce.measuring import K, spread

COLUMNS: list[tuple[ProtocolName, str]] = [
    (protocol, metric)
    for protocol in ("unfiltered", "filtered")
    for metric in (f"recall@{K}", f"ndcg@{K}")
]


def baselines(out: Path, runs: dict[str, Any], seeds: list[int]) -> dict[str, Any]:
    """The metrics of those that need no training, which every evaluation has beside its own."""
    entries = read_json(out / f"{next(iter(runs))}-{seeds[0]}" / "metrics.json")["baselines"]
    return {name.replace("_", "-"): entry["test"] for name, entry in entries.items()}


def table(
    data: str,
    runs: dict[str, Any],
    others: dict[str, Any],
    published: Sequence[str] | None = None,
) -> str:
    """The Markdown table: ours, those without a training, and the published ones, or some of them.

    Args:
        data: the name of the data set.
        runs: for each config the figures of every seed, as `measure_seeds` returns them.
        others: what `baselines` returns.
    """
    lines = [
        f"| {data}, test users, Recall@{K} / NDCG@{K} | seeds | unfiltered | filtered | training |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, seeds in runs.items():
        minutes = spread([run["seconds"] / 60 for run in seeds], 1)
        for way in seeds[0]["test"]:
            cells = both([run["test"][way] for run in seeds])
            lines.append(f"| {name}, {way} | {len(seeds)} | {cells} | {minutes} min |")
    for name, entry in others.items():
        lines.append(f"| {name} | | {both([entry])} | |")
    for row in BENCHMARKS[data].rows if data in BENCHMARKS else ():
        if published is None or row.name in published:
            cells = f"{_pair(row.unfiltered)} | {_pair(row.filtered)}"
            lines.append(f"| {row.name} ({row.source}) | published | {cells} | |")
    return "\n".join(lines) + "\n"


def both(entries: list[dict[str, Any]]) -> str:
    """Two cells, unfiltered and filtered: what the seeds have, each as Recall / NDCG."""
    cells = [spread([entry[protocol][metric] for entry in entries]) for protocol, metric in COLUMNS]
    return f"{cells[0]} / {cells[1]} | {cells[2]} / {cells[3]}"


def _pair(figures: Pair | None) -> str:
    return "" if figures is None else " / ".join(f"{f:.4f}".removeprefix("0") for f in figures)


def write(figures: dict[str, Any], text: str, json: Path | None, markdown: Path | None) -> None:
    """Writes figures and table to the files that were asked for."""
    if markdown:
        with replacing(markdown) as temporary:
            temporary.write_text(text, encoding="utf-8")
    if json:
        write_json(json, figures)
