"""The page of several runs: recommenders side by side, seeds together."""

import dataclasses
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genrec.config import Config
from genrec.evaluation import compare
from genrec.evaluation.list_quality import DESCRIPTIONS
from genrec.evaluation.metrics import label
from genrec.evaluation.protocol import PROTOCOLS
from genrec.evaluation.table import largest_of_columns
from genrec.report import results
from genrec.report.charts import Chart, Series, line_chart
from genrec.report.page import write_page
from genrec.report.provenance import changed_settings, duration
from genrec.runs.figures import blaming_figures, read_decoding_cost, read_figures, read_training_log
from genrec.runs.folder import config_of
from genrec.runs.manifest import read_manifest

_COLOURS = 6


@dataclass(frozen=True)
class _Run:
    """What the files of one run hold; `cost` is {} without a decoding_cost.json."""

    folder: Path
    config: Config
    test: dict[str, Any]
    segments: list[dict[str, Any]]
    manifest: dict[str, Any]
    cost: dict[str, Any]
    log: list[dict[str, Any]]


def write_comparison(folders: Sequence[Path], out: Path) -> int:
    """Writes the page of several evaluated runs, and returns its size in bytes.

    Raises:
        UserError: a run is not evaluated, or its test users and items are not those of the first.
    """
    return write_page(out, "comparison.html", sections(folders))


def sections(folders: Sequence[Path]) -> dict[str, Any]:
    """The variables of the template.

    Raises:
        UserError: see `write_comparison`.
    """
    compared = {protocol: compare.load_recommenders(folders, protocol) for protocol in PROTOCOLS}
    recommenders = compared["filtered"]
    runs = [[_read(folder) for folder in recommender.folders] for recommender in recommenders]
    names = [recommender.name for recommender in recommenders]
    return {
        "names": names,
        "users": f"{runs[0][0].test['users']:,}",
        "results": {protocol: _results(compared[protocol]) for protocol in PROTOCOLS},
        "measures": [label(metric) for metric in compare.METRICS],
        "charts": _charts(names, runs),
        "segments": _segments(runs),
        "list_quality": _list_quality(runs),
        "cost": _cost(runs),
        "settings": _settings([seeds[0].config for seeds in runs]),
        "runs": [(name, run) for name, seeds in zip(names, runs, strict=True) for run in seeds],
    }


def _read(folder: Path) -> _Run:
    metrics = read_figures(folder, "metrics.json")
    with blaming_figures(folder, "metrics.json"):
        segments = results.segments(metrics)
    config, manifest, log = config_of(folder), read_manifest(folder), read_training_log(folder)
    cost = read_decoding_cost(folder) or {}
    return _Run(folder, config, metrics["test"], segments, manifest, cost, log)


def _results(recommenders: Sequence[compare.RecommenderResults]) -> dict[str, Any]:
    """A row for each recommender, and a verdict for each metric of all but the first."""
    first, last = recommenders[0], compare.METRICS[-1]
    longest = max(recommender.mean(last) for recommender in recommenders) or 1.0
    means = [[f"{each.mean(metric):.4f}" for metric in compare.METRICS] for each in recommenders]
    largest = largest_of_columns(means)
    rows, verdicts = [], []
    for number, recommender in enumerate(recommenders):
        cells = []
        for column, metric in enumerate(compare.METRICS):
            spread, gap_text = recommender.spread(metric), ""
            if recommender is not first:
                gap = compare.difference(first, recommender, metric)
                gap_text = _signed(f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]")
                verdicts.append(_signed(compare.verdict(first, recommender, metric, gap)))
            cells.append(
                {
                    "mean": means[number][column],
                    "spread": "" if spread is None else f"± {spread:.4f}",
                    "best": largest[number][column],
                    "difference": gap_text,
                }
            )
        rows.append(
            {
                "name": recommender.name,
                "seeds": ", ".join(map(str, recommender.seeds)),
                "cells": cells,
                "bar": recommender.mean(last) / longest,
            }
        )
    return {"rows": rows, "verdicts": verdicts}


def _charts(names: Sequence[str], runs: Sequence[list[_Run]]) -> list[Chart]:
    """Validation and loss of every run over the same axes; a colour for each recommender."""
    charts = []
    for title, axis, form, metric, note in (
        ("Validation NDCG@10", "epoch", ".4f", "ndcg@10", ""),
        ("Validation Recall@10", "epoch", ".4f", "recall@10", ""),
        ("Training loss", "step", ".3f", "loss", "losses of other objectives are not comparable"),
    ):
        series = []
        for colour, (name, seeds) in enumerate(zip(names, runs, strict=True)):
            for run in seeds:
                lines = [{**line, **line.get("validation", {})} for line in run.log]
                points = [(line[axis], line[metric]) for line in lines if metric in line]
                if points:
                    x, y = map(list, zip(*points, strict=True))
                    line_name = f"{name}, seed {run.config.seed}" if len(seeds) > 1 else name
                    series.append(Series(line_name, x, y, axis == "epoch", colour % _COLOURS))
        if series:
            charts.append(line_chart(title, series, x=axis, form=form, note=note))
    return charts


def _segments(runs: Sequence[list[_Run]]) -> list[dict[str, Any]]:
    """The parts of the users, and the filtered NDCG of every recommender for each, seeds averaged.

    Parts are cut by the data alone, so that all runs have the same; those that only some have, as
    after an evaluation without them, are left out.
    """
    by_cut = [[{_cut(part): part for part in run.segments} for run in seeds] for seeds in runs]
    shared = []
    for cut, part in by_cut[0][0].items():
        if not all(cut in run for seeds in by_cut for run in seeds):
            continue
        rows = []
        for number, row in enumerate(part["rows"]):
            means = [
                statistics.mean(run[cut]["rows"][number]["value"] for run in seeds)
                for seeds in by_cut
            ]
            texts = [f"{mean:.4f}" for mean in means]
            cells = [(text, text == max(texts)) for text in texts]
            rows.append({"name": row["name"], "users": row["users"], "cells": cells})
        shared.append({**part, "rows": rows})
    return shared


def _cut(part: dict[str, Any]) -> tuple[str, ...]:
    """What the users were cut by, and into: the same for parts that can be compared."""
    return (part["by"], part["k"], *(row["name"] for row in part["rows"]))


def _list_quality(runs: Sequence[list[_Run]]) -> list[dict[str, Any]]:
    """What filtered lists are like beyond accuracy, seeds averaged; only what all runs measured."""
    measured = [[results.details(run.test, "filtered", "beyond") for run in s] for s in runs]
    return [
        {
            "name": label(name),
            "description": DESCRIPTIONS.get(name.split("@")[0], ""),
            "cells": [f"{statistics.mean(run[name] for run in seeds):.3f}" for seeds in measured],
        }
        for name in measured[0][0]
        if all(name in run for seeds in measured for run in seeds)
    ]


def _cost(runs: Sequence[list[_Run]]) -> list[dict[str, Any]]:
    """Time and memory, seeds averaged; only what is known of all runs."""
    rows = []
    for stage in ("tokenize", "train", "evaluate"):
        means = [statistics.mean(run.manifest[stage]["seconds"] for run in s) for s in runs]
        rows.append({"name": f"Time of {stage}", "cells": [duration(mean) for mean in means]})
    if all(run.cost for seeds in runs for run in seeds):
        for name, key, form in (
            ("Users a second", "users_per_second", ",.0f"),
            ("Memory at most, GiB", "peak_memory_gib", ".2f"),
        ):
            means = [statistics.mean(run.cost[key] for run in seeds) for seeds in runs]
            rows.append({"name": name, "cells": [format(mean, form) for mean in means]})
    return rows


def _settings(configs: Sequence[Config]) -> list[dict[str, Any]]:
    """The settings in which any two recommenders differ, and what each has."""
    configs = [dataclasses.replace(config, seed=0) for config in configs]
    cells: dict[str, list[str]] = {}
    for column, config in enumerate(configs):
        for name, first, here in changed_settings(configs[0], config):
            cells.setdefault(name, [first] * len(configs))[column] = here
    return [{"name": name, "cells": row} for name, row in sorted(cells.items())]


def _signed(text: str) -> str:
    """Figures below zero with a minus sign, not a hyphen."""
    return re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)
