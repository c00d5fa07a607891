"""The figures of a decoding benchmark: lists compared, speeds and ratios over rounds, printed."""

import statistics
from collections.abc import Iterable
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from bench.machine import DISTURBED
from bench.training_report import Round, ratios, speed

Figures = dict[str, Any]

TITLES = {
    "transformers": "TIGER, Hugging Face",
    "tiger": "TIGER, genrec",
    "genrec": "genrec's recipe",
}
WAYS = {
    "free": "any codes",
    "trie": "genrec's trie",
    "scattered": "STATIC, as in the paper",
    "entries": "STATIC, as released",
}
FLOORS = {("tiger", 10): 6.5, ("tiger", 20): 8.0, ("tiger", 50): 13.0}
FLOORS |= {("genrec", beam): 50.0 for beam in (10, 20, 50)}
"""By side and beam, how many times faster than Hugging Face it should be at batch `FLOOR_BATCH`."""
FLOOR_BATCH = 32
LATENCY_FLOOR = ("tiger", 50, 1, 9.0)
"""A side, its beam and batch, and the most milliseconds that a call should take."""
OVERHEAD_FLOOR = 0.05
TRIE_BYTES_FLOOR, BUILD_FLOOR = 16.0, 10.0
TOLERANCE = 1e-4
"""How far two scores may be apart, and two items be taken for equally good."""


def compare_lists(mine: Figures, theirs: Figures) -> Figures:
    """How two sides' "items" and "scores" of the same users agree."""
    items, others = np.array(mine["items"]), np.array(theirs["items"])
    scores, other_scores = np.array(mine["scores"]), np.array(theirs["scores"])
    by_rank = float(np.abs(scores - other_scores).max())
    rows = zip(items, scores, others, other_scores, strict=True)
    by_item = max(_largest_gap(*row) for row in rows)
    return {
        "users": len(items),
        "same_lists": float((items == others).all(axis=1).mean()),
        "largest_by_rank": by_rank,
        "largest_by_item": by_item,
        "between_ranks": float(np.median(-np.diff(scores, axis=1))),
        "agree": max(by_rank, by_item) <= TOLERANCE,
    }


def _largest_gap(
    items: np.ndarray, scores: np.ndarray, others: np.ndarray, other_scores: np.ndarray
) -> float:
    """The largest difference of an item's scores, an unlisted item counting as a list's last."""
    mine, theirs = (
        dict(zip(names.tolist(), values.tolist(), strict=True))
        for names, values in ((items, scores), (others, other_scores))
    )
    gaps = (
        abs(mine.get(item, float(scores[-1])) - theirs.get(item, float(other_scores[-1])))
        for item in mine.keys() | theirs.keys()
    )
    return max(gaps)


def print_check(check: list[Figures], console: Console) -> None:
    for row in check:
        console.print(
            "{verdict} at beam {beam}, {users} users: {same_lists:.1%} of the lists are identical; "
            "scores differ by at most {largest_by_rank:.1e} rank by rank, {largest_by_item:.1e} "
            "item by item ({tolerance:g} may be), neighbours in a list by {between_ranks:.1e}"
            "".format(
                verdict="Both TIGERs agree" if row["agree"] else "THE TIGERS DISAGREE",
                tolerance=TOLERANCE,
                **row,
            ),
            soft_wrap=True,
        )


def recommend_figures(
    names: list[str], beams: list[int], batches: list[int], rounds: list[Round]
) -> Figures:
    """Each side's speed at every beam and batch, and how many times faster than Hugging Face."""
    cells, faster = {}, []
    for beam in beams:
        for batch in batches:
            for name in names:
                cell, other = f"{name}/{beam}/{batch}", f"transformers/{beam}/{batch}"
                cells[cell] = {"beam": beam, "batch": batch} | _cell(cell, rounds)
                floor = FLOORS.get((name, beam)) if batch == FLOOR_BATCH else None
                both = [answers for answers in rounds if cell in answers and other in answers]
                if name != "transformers" and both:
                    faster += ratios([(cell, other, floor)], both)
    return {"cells": cells, "ratios": faster}


def _cell(cell: str, rounds: list[Round]) -> Figures:
    mine = [(answers[cell], answers) for answers in rounds if cell in answers]
    speeds = [speed(answer) for answer, _ in mine]
    latencies = [1e3 * answer["seconds"] / answer["steps"] for answer, _ in mine]
    shares = [answer["flops"] / answer["seconds"] / _peak(answers) for answer, answers in mine]
    return {
        "users_per_second": statistics.median(speeds),
        "lowest": min(speeds),
        "highest": max(speeds),
        "milliseconds": statistics.median(latencies),
        "shortest": min(latencies),
        "longest": max(latencies),
        "users": sum(answer["targets"] for answer, _ in mine),
        "rounds": len(mine),
        "share_of_peak": statistics.median(shares),
        "matmul_peak": statistics.median(_peak(answers) for _, answers in mine),
        "peak_memory": max(answer["peak_memory"] for answer, _ in mine),
        "others": statistics.mean(answer["others"] for answer, _ in mine),
    }


def _peak(answers: Round) -> float:
    return max(a["flops_per_second"] for side, a in answers.items() if side.endswith("matmul"))


def print_recommend(figures: Figures, console: Console) -> None:
    table = _table("users a second", "beam", "batch", "median", "lowest", "highest")
    for column in ("ms a call", "of peak", "users", "rounds"):
        table.add_column(column, justify="right", no_wrap=True)
    last = None
    for cell, row in figures["cells"].items():
        if last not in (None, (row["beam"], row["batch"])):
            table.add_section()
        last = (row["beam"], row["batch"])
        speeds = (f"{row[key]:,.1f}" for key in ("users_per_second", "lowest", "highest"))
        table.add_row(
            TITLES[cell.split("/")[0]],
            f"{row['beam']}",
            f"{row['batch']}",
            *speeds,
            f"{row['milliseconds']:,.1f}",
            f"{row['share_of_peak']:.0%}",
            f"{row['users']:,}",
            f"{row['rounds']}",
        )
    console.print(table)
    if figures["ratios"]:
        _print_ratios(figures["ratios"], console)
    name, beam, batch, most = LATENCY_FLOOR
    if row := figures["cells"].get(f"{name}/{beam}/{batch}"):
        console.print(
            f"One user at beam {beam}, {TITLES[name]}: {row['milliseconds']:.1f} ms, "
            f"{row['shortest']:.1f} to {row['longest']:.1f} "
            f"(floor {most:g} ms: {_verdict(row['milliseconds'] <= most)})"
        )
    rows = figures["cells"].values()
    peak = statistics.median(row["matmul_peak"] for row in rows)
    console.print(
        f"Fastest float32 matrix product: {peak / 1e9:,.0f} GFLOP/s; "
        "of peak: the products that a list takes, without padding or repetition",
        soft_wrap=True,
    )
    for name, title in TITLES.items():
        memory = [
            row["peak_memory"] for cell, row in figures["cells"].items() if cell.startswith(name)
        ]
        if memory:
            console.print(f"Peak memory of {title}, all beams and batches: {_gigabytes(memory)}")
    _print_disturbance(rows, console)


def _print_ratios(rows: list[Figures], console: Console) -> None:
    table = _table("times Hugging Face", "beam", "batch", "median", "lowest", "highest")
    for column in ("best/best", "floor", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        name, beam, batch = row["side"].split("/")
        values = (f"{row[key]:.1f}" for key in ("median", "lowest", "highest", "of_best"))
        floor, verdict = "", ""
        if row["aim"]:
            floor, verdict = f"{row['aim']:g}", _verdict(row["median"] >= row["aim"])
        table.add_row(TITLES[name], beam, batch, *values, floor, verdict)
    console.print(table)


def search_figures(cases: dict[str, list[str]], rounds: list[dict[str, Figures]]) -> Figures:
    """For each case and way the milliseconds of a search, and its ratio to that for any codes."""
    figures = {}
    for case, ways in cases.items():
        answers = [each[case] for each in rounds]
        figures[case] = {"calls": sum(a["calls"] for a in answers)} | {
            way: _timing([a["seconds"][way] for a in answers], [a["ratios"][way] for a in answers])
            for way in ways
        }
        figures[case]["peak_memory"] = max(a["peak_memory"] for a in answers)
        figures[case]["others"] = statistics.mean(a["others"] for a in answers)
    return figures


def _timing(seconds: list[float], ratio: list[float]) -> Figures:
    taken = [1e3 * each for each in seconds]
    return {
        "milliseconds": statistics.median(taken),
        "shortest": min(taken),
        "longest": max(taken),
        "ratio": statistics.median(ratio),
        "lowest_ratio": min(ratio),
        "highest_ratio": max(ratio),
    }


def print_search(figures: Figures, tries: Figures, settings: Figures, console: Console) -> None:
    where = f"batch {settings['batch']}, beam {settings['beam']}"
    names = (("constraint", f"ms, encoded input, {where}"), ("search", f"ms, no model, {where}"))
    for part, title in names:
        cases = {name: row for name, row in figures.items() if name.startswith(part)}
        if cases:
            _print_cases(title, cases, console)
    for case, row in figures.items():
        if case.startswith("constraint"):
            _, name, items = case.split("/")
            median, lowest, highest = (
                row["trie"][key] - 1 for key in ("ratio", "lowest_ratio", "highest_ratio")
            )
            console.print(
                f"{TITLES[name]}, {int(items):,} items: the constraint costs {median:+.1%} "
                f"({lowest:+.1%} to {highest:+.1%}; floor {OVERHEAD_FLOOR:.0%}: "
                f"{_verdict(median <= OVERHEAD_FLOOR)})",
                soft_wrap=True,
            )
    for name, row in tries.items():
        size, matrix = row["trie_bytes"] / row["items"], row.get("matrix_bytes")
        beside = f"; STATIC's matrix {matrix / row['items']:.1f} bytes" if matrix else ""
        console.print(
            f"Trie of {name}: {size:.1f} bytes an item (floor {TRIE_BYTES_FLOOR:g}: "
            f"{_verdict(size <= TRIE_BYTES_FLOOR)}), built in {row['build_seconds']:.2f} s "
            f"(floor {BUILD_FLOOR:g} s: {_verdict(row['build_seconds'] <= BUILD_FLOOR)}){beside}",
            soft_wrap=True,
        )
    memory = _gigabytes(row["peak_memory"] for row in figures.values())
    console.print(f"Peak memory, with all tries and matrices: {memory}")
    _print_disturbance(figures.values(), console)


def _print_cases(title: str, cases: Figures, console: Console) -> None:
    table = _table(title, "items", "median", "lowest", "highest", "/ any codes", "calls")
    for case, row in cases.items():
        model = case.split("/")[1] if case.startswith("constraint") else None
        for way in (way for way in WAYS if way in row):
            each = row[way]
            table.add_row(
                f"{TITLES[model]}, {WAYS[way]}" if model else WAYS[way],
                f"{int(case.split('/')[-1]):,}",
                *(f"{each[key]:,.2f}" for key in ("milliseconds", "shortest", "longest")),
                f"{each['ratio']:.2f}",
                f"{row['calls']:,}",
            )
        table.add_section()
    console.print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(title, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _verdict(met: bool) -> str:
    return "met" if met else "missed"


def _gigabytes(sizes: Iterable[int]) -> str:
    return f"{max(sizes) / 1e9:.1f} GB"


def _print_disturbance(rows: Iterable[Figures], console: Console) -> None:
    others = max(row["others"] for row in rows)
    if others > DISTURBED:
        console.print(f"Disturbed: other programs kept up to {others:.1f} cores busy")
