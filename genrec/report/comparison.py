"""The page of several runs: recommenders side by side, seeds together."""

import dataclasses
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrec.config import Config
from genrec.evaluation.compare import (
    METRICS,
    Compared,
    Protocol,
    difference,
    load_recommenders,
    verdict,
)
from genrec.evaluation.details import BEYOND
from genrec.report import figures
from genrec.report.charts import Chart, Series, line_chart
from genrec.report.page import render
from genrec.report.provenance import changed_settings, took
from genrec.report.stored_figures import of_run, read_figures, read_lines
from genrec.runs.folder import config_of
from genrec.runs.manifest import read_manifest
from genrec.storage.files import replacing

_PROTOCOLS: tuple[Protocol, ...] = ("unfiltered", "filtered")
_COLOURS = 6


@dataclass(frozen=True)
class _Run:
    """What the files of one run say."""

    folder: Path
    config: Config
    metrics: dict[str, Any]
    manifest: dict[str, Any]
    cost: dict[str, Any] | None
    lines: list[dict[str, Any]]


def write_comparison(folders: Sequence[Path], out: Path) -> int:
    """Writes the page of several evaluated runs, and returns its size in bytes.

    Raises:
        UserError: a run is not evaluated, or its test users and items are not those of the first.
    """
    text = render("comparison.html", **sections(folders)).encode()
    with replacing(out) as temporary:
        temporary.write_bytes(text)
    return len(text)


def sections(folders: Sequence[Path]) -> dict[str, Any]:
    """What the template shows, by name.

    Raises:
        UserError: see `write_comparison`.
    """
    found = {protocol: load_recommenders(folders, protocol) for protocol in _PROTOCOLS}
    recommenders = found["filtered"]
    runs = [[_read(folder) for folder in each.folders] for each in recommenders]
    names = [each.name for each in recommenders]
    return {
        "names": names,
        "users": f"{runs[0][0].metrics['test']['users']:,}",
        "results": {protocol: _results(found[protocol]) for protocol in _PROTOCOLS},
        "measures": [figures.label(metric) for metric in METRICS],
        "charts": _charts(recommenders, runs),
        "segments": _segments(runs),
        "beyond": _beyond(runs),
        "cost": _cost(runs),
        "settings": _settings([some[0].config for some in runs]),
        "runs": [
            {
                "name": name,
                "folder": str(run.folder),
                "seed": run.config.seed,
                "finished": run.manifest["evaluate"]["finished"][:10],
                "commit": (run.manifest["train"]["git_commit"] or "")[:10],
            }
            for name, some in zip(names, runs, strict=True)
            for run in some
        ],
    }


def _read(folder: Path) -> _Run:
    metrics = read_figures(folder, "metrics.json")
    with of_run(folder, "metrics.json"):
        figures.segments(metrics)
    there = (folder / "decoding_cost.json").exists()
    return _Run(
        folder,
        config_of(folder),
        metrics,
        read_manifest(folder),
        read_figures(folder, "decoding_cost.json") if there else None,
        read_lines(folder),
    )


def _results(found: Sequence[Compared]) -> dict[str, Any]:
    """A row for each recommender, and a verdict for each metric of all but the first."""
    first, last = found[0], METRICS[-1]
    longest = max(each.mean(last) for each in found) or 1.0
    rows, verdicts = [], []
    texts = [[f"{each.mean(metric):.4f}" for metric in METRICS] for each in found]
    best = [max(column) for column in zip(*texts, strict=True)]
    for each, cells in zip(found, texts, strict=True):
        spreads = [each.spread(metric) for metric in METRICS]
        differences = [None if each is first else difference(first, each, m) for m in METRICS]
        rows.append(
            {
                "name": each.name,
                "seeds": ", ".join(map(str, each.seeds)),
                "cells": [
                    {
                        "mean": cell,
                        "spread": "" if spread is None else f"± {spread:.4f}",
                        "best": cell == top,
                        "difference": ""
                        if gap is None
                        else _signed(f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"),
                        "told": gap is not None and gap.told,
                    }
                    for cell, spread, top, gap in zip(
                        cells, spreads, best, differences, strict=True
                    )
                ],
                "bar": each.mean(last) / longest,
            }
        )
        verdicts += [
            _signed(verdict(first, each, metric, gap))
            for metric, gap in zip(METRICS, differences, strict=True)
            if gap is not None
        ]
    return {"rows": rows, "verdicts": verdicts}


def _charts(recommenders: Sequence[Compared], runs: Sequence[Sequence[_Run]]) -> list[Chart]:
    """Validation and loss of every run over the same axes; a colour for each recommender."""
    charts = []
    wanted: list[tuple[str, str, str, Callable[[dict[str, Any]], float | None], str]] = [
        ("Validation NDCG@10", "epoch", ".4f", lambda line: _validated(line, "ndcg@10"), ""),
        ("Validation Recall@10", "epoch", ".4f", lambda line: _validated(line, "recall@10"), ""),
        (
            "Training loss",
            "step",
            ".3f",
            lambda line: line.get("loss"),
            "losses of other objectives are not comparable",
        ),
    ]
    for title, axis, form, value, note in wanted:
        series = []
        for place, (each, some) in enumerate(zip(recommenders, runs, strict=True)):
            for run in some:
                points = [(line[axis], y) for line in run.lines if (y := value(line)) is not None]
                if points:
                    x, y = map(list, zip(*points, strict=True))
                    name = f"{each.name}, seed {run.config.seed}" if len(some) > 1 else each.name
                    series.append(Series(name, x, y, axis == "epoch", place % _COLOURS))
        if series:
            charts.append(line_chart(title, series, x=axis, form=form, note=note))
    return charts


def _validated(line: dict[str, Any], metric: str) -> float | None:
    return line.get("validation", {}).get(metric)


def _segments(runs: Sequence[Sequence[_Run]]) -> list[dict[str, Any]]:
    """The parts of the users, and the filtered NDCG of every recommender for each, seeds averaged.

    Parts are cut by the data alone, so that all runs have the same; those that only some have, as
    after an evaluation without them, are left out.
    """
    parts = [[_by_cut(run.metrics) for run in some] for some in runs]
    found = []
    for cut, part in parts[0][0].items():
        if not all(cut in run for some in parts for run in some):
            continue
        rows = []
        for number, row in enumerate(part["rows"]):
            means = [statistics.mean(run[cut]["rows"][number]["value"] for run in s) for s in parts]
            texts = [f"{mean:.4f}" for mean in means]
            cells = [(text, text == max(texts)) for text in texts]
            rows.append({"name": row["name"], "users": row["users"], "cells": cells})
        found.append({"by": part["by"], "said": part["said"], "k": part["k"], "rows": rows})
    return found


def _by_cut(metrics: dict[str, Any]) -> dict[tuple[str, ...], dict[str, Any]]:
    """The parts of one run by what they were cut by, and into."""
    return {
        (part["by"], part["k"], *(row["name"] for row in part["rows"])): part
        for part in figures.segments(metrics)
    }


def _beyond(runs: Sequence[Sequence[_Run]]) -> list[dict[str, Any]]:
    """What accuracy does not say of filtered lists, seeds averaged."""
    each = [
        [run.metrics["test"].get("details", {}).get("filtered", {}).get("beyond", {}) for run in s]
        for s in runs
    ]
    shared = [name for name in each[0][0] if all(name in run for some in each for run in some)]
    return [
        {
            "name": figures.label(name),
            "said": BEYOND.get(name.split("@")[0], ""),
            "cells": [f"{statistics.mean(run[name] for run in some):.3f}" for some in each],
        }
        for name in shared
    ]


def _cost(runs: Sequence[Sequence[_Run]]) -> list[dict[str, Any]]:
    """Time and memory, seeds averaged; only what is known of all runs."""
    rows = [
        {
            "name": f"Time of {stage}",
            "cells": [took(statistics.mean(r.manifest[stage]["seconds"] for r in s)) for s in runs],
        }
        for stage in ("tokenize", "train", "evaluate")
    ]
    for name, key, form in (
        ("Users a second", "users_per_second", ",.0f"),
        ("Memory at most, GiB", "peak_memory_gib", ".2f"),
    ):
        costs = [[run.cost for run in some] for some in runs]
        if all(cost is not None for some in costs for cost in some):
            cells = [format(statistics.mean(c[key] for c in some if c), form) for some in costs]
            rows.append({"name": name, "cells": cells})
    return rows


def _settings(configs: Sequence[Config]) -> list[dict[str, Any]]:
    """The settings in which any two recommenders differ, and what each has."""
    same = [dataclasses.replace(config, seed=0) for config in configs]
    values: dict[str, list[str]] = {}
    for place, config in enumerate(same):
        for name, first, now in changed_settings(same[0], config):
            values.setdefault(name, [first] * len(same))[place] = now
    return [{"name": name, "cells": cells} for name, cells in sorted(values.items())]


def _signed(text: str) -> str:
    """Figures below zero with a minus sign, not a hyphen."""
    return re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)
