"""The figures of a training benchmark: over its rounds, side against side, and printed."""

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench.machine import DISTURBED

Round = dict[str, dict[str, Any]]
"""By side, what it answered; those that measured matrix products are called "…-matmul"."""


def speed(answer: dict[str, Any]) -> float:
    """Targets per second."""
    return answer["targets"] / answer["seconds"]


def summary(name: str, ready: dict[str, Any], rounds: list[Round]) -> dict[str, Any]:
    """The figures of one side over all rounds; `ready` is what it said of its preparation."""
    mine = [answers[name] for answers in rounds]
    flops = [answer["flops"] / answer["seconds"] for answer in mine]
    peaks = [
        max(
            answer["flops_per_second"]
            for side, answer in answers.items()
            if side.endswith("matmul")
        )
        for answers in rounds
    ]
    speeds = [speed(answer) for answer in mine]
    return {
        "targets_per_second": statistics.median(speeds),
        "lowest": min(speeds),
        "highest": max(speeds),
        "flops_per_second": statistics.median(flops),
        "matmul_peak": statistics.median(peaks),
        "share_of_peak": statistics.median(x / peak for x, peak in zip(flops, peaks, strict=True)),
        "slots_filled": sum(a["filled"] for a in mine) / sum(a["slots"] for a in mine),
        "peak_memory": mine[-1]["peak_memory"],
        "device_memory": mine[-1].get("device_memory"),
        "compile_seconds": ready.get("compile_seconds"),
        "parameters": ready["parameters"],
        "others": statistics.mean(answer["others"] for answer in mine),
    }


def ratios(
    wanted: Iterable[tuple[str, str, float | None]], rounds: list[Round]
) -> list[dict[str, Any]]:
    """How many times faster one side is than another: within each round, and best against best.

    Args:
        wanted: a side, the one it is compared with, and how many times faster it should be.
    """
    rows = []
    for side, other, aim in wanted:
        if side not in rounds[0] or other not in rounds[0]:
            continue
        pairs = [(speed(each[side]), speed(each[other])) for each in rounds]
        values = [mine / theirs for mine, theirs in pairs]
        best, best_other = (max(speeds) for speeds in zip(*pairs, strict=True))
        rows.append(
            {
                "side": side,
                "other": other,
                "aim": aim,
                "median": statistics.median(values),
                "lowest": min(values),
                "highest": max(values),
                "of_best": best / best_other,
            }
        )
    return rows


def print_report(figures: dict[str, Any], titles: Mapping[str, str], console: Console) -> None:
    """The table of all sides, the ratios, and a warning if other programs were at work."""
    sides = figures["sides"]
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("targets a second", no_wrap=True)
    for column in (
        "median",
        "lowest",
        "highest",
        "GFLOP/s",
        "of peak",
        "filled",
        "memory",
        "compile",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    for name, title in titles.items():
        table.add_row(title, *(_cells(sides[name]) if name in sides else ["not measured"]))
    console.print(table)
    for ratio in figures["ratios"]:
        aim = f" (aim {ratio['aim']:g})" if ratio["aim"] else ""
        console.print(
            f"{titles[ratio['side']]} / {titles[ratio['other']]}: {ratio['median']:.1f} times"
            f"{aim}, {ratio['lowest']:.1f} to {ratio['highest']:.1f}; best against best "
            f"{ratio['of_best']:.1f}",
            soft_wrap=True,
        )
    peak = statistics.median(row["matmul_peak"] for row in sides.values())
    console.print(f"Fastest float32 matrix product: {peak / 1e9:,.0f} GFLOP/s")
    cores, others = figures["machine"]["cores"], max(row["others"] for row in sides.values())
    if others > DISTURBED * cores:
        console.print(f"Disturbed: other programs kept up to {others:.1f} of {cores} cores busy")


def _cells(row: dict[str, Any]) -> list[str]:
    compiling = row["compile_seconds"]
    return [
        f"{row['targets_per_second']:,.0f}",
        f"{row['lowest']:,.0f}",
        f"{row['highest']:,.0f}",
        f"{row['flops_per_second'] / 1e9:,.0f}",
        f"{row['share_of_peak']:.0%}",
        f"{row['slots_filled']:.0%}",
        f"{(row['device_memory'] or row['peak_memory']) / 1e9:.1f} GB",
        "" if compiling is None else f"{compiling:.0f} s",
    ]
