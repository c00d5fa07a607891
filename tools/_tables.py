"""Tables of what was measured beside what was published."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _measured import K, spread

from genrec.compare import Protocol
from genrec.files import read_json, replacing, write_json

COLUMNS: list[tuple[Protocol, str]] = [
    (protocol, metric)
    for protocol in ("unfiltered", "filtered")
    for metric in (f"recall@{K}", f"ndcg@{K}")
]
PUBLISHED: dict[str, dict[str, tuple[str, str, str]]] = {
    # Unfiltered, filtered (Recall@10 / NDCG@10), and where it stands.
    "beauty": {
        "TIGER": (".0648 / .0384", "", "Rajput et al. 2023, table 1"),
        "TIGER, GRID's": (".0655 / .0369", "", "public logs of GRID's re-run"),
        "ActionPiece": (".0775 / .0424", "", "Hou et al. 2025, an ensemble of 5"),
        "MaskGR": (".0815 / .0436", "", "its paper"),
        "RPG": (".0809 / .0464", "", "Hou et al. 2025, its paper"),
        "SASRec, full cross-entropy": (".0821 / .0405", "", "a user's run of RecBole"),
        "SASRec, sampled softmax": ("", ".0921 / .0531", "the eSASRec repository"),
        "eSASRec": ("", ".0928 / .0523", "the eSASRec repository"),
    },
    "sports": {
        "TIGER": (".0400 / .0225", "", "Rajput et al. 2023, table 1"),
        "TIGER, GRID's": (".0346 / .0190", "", "public logs of GRID's re-run"),
        "ActionPiece": (".0500 / .0264", "", "Hou et al. 2025, an ensemble of 5"),
        "MaskGR": (".0463 / .0242", "", "its paper"),
        "RPG": (".0463 / .0263", "", "Hou et al. 2025, its paper"),
        "SASRec, sampled softmax": ("", ".0569 / .0314", "the eSASRec repository"),
        "eSASRec": ("", ".0560 / .0323", "the eSASRec repository"),
    },
}


def baselines(out: Path, runs: dict[str, Any], seeds: list[int]) -> dict[str, Any]:
    """The metrics of those that need no training, which every evaluation has beside its own."""
    found = read_json(out / f"{next(iter(runs))}-{seeds[0]}" / "metrics.json")["baselines"]
    return {name.replace("_", "-"): entry["test"] for name, entry in found.items()}


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
    for name, (unfiltered, filtered, source) in PUBLISHED.get(data, {}).items():
        if published is None or name in published:
            lines.append(f"| {name} ({source}) | published | {unfiltered} | {filtered} | |")
    return "\n".join(lines) + "\n"


def both(entries: list[dict[str, Any]]) -> str:
    """Two cells, unfiltered and filtered: what the seeds have, each as Recall / NDCG."""
    cells = [spread([entry[protocol][metric] for entry in entries]) for protocol, metric in COLUMNS]
    return f"{cells[0]} / {cells[1]} | {cells[2]} / {cells[3]}"


def write(figures: dict[str, Any], text: str, json: Path | None, markdown: Path | None) -> None:
    """Writes figures and table to the files that were asked for."""
    if markdown:
        with replacing(markdown) as temporary:
            temporary.write_text(text, encoding="utf-8")
    if json:
        write_json(json, figures)
