"""The settings, versions and files that a run was made from, and the time it took."""

import statistics
from collections.abc import Iterable
from typing import Any

from genrec.config import Config
from genrec.config.parsing import differences, dump_config

_STAGES = ("prepare", "embed", "tokenize", "train", "evaluate")


def cost(
    manifest: dict[str, Any], log: Iterable[dict[str, Any]], decoding: dict[str, Any] | None
) -> dict[str, Any]:
    """Seconds of each stage, and how fast training and search were.

    Args:
        manifest: the entries of the stages.
        log: the lines of metrics.jsonl.
        decoding: what decoding_cost.json holds, if it is there.
    """
    stages = {name: manifest[name]["seconds"] for name in _STAGES if name in manifest}
    longest = max(stages.values(), default=0.0) or 1.0
    speeds = [line["targets_per_second"] for line in log if "targets_per_second" in line]
    figures = []
    if speeds:
        figures.append(
            ("Training", f"{statistics.median(speeds):,.0f} next items a second (median)")
        )
    if decoding is not None:
        figures += [
            ("Recommending", f"{decoding['users_per_second']:,.0f} users a second"),
            ("Memory", f"{decoding['peak_memory_gib']:.2f} GiB at most, by then"),
            ("Device", str(decoding["device"])),
        ]
    return {
        "stages": [
            {"name": name, "took": duration(seconds), "bar": seconds / longest}
            for name, seconds in stages.items()
        ],
        "whole": duration(sum(stages.values())),
        "figures": figures,
    }


def provenance(config: Config, manifest: dict[str, Any]) -> dict[str, Any]:
    """The settings that are not the defaults, all of them as YAML, and the manifest's entries."""
    entries = {name: manifest[name] for name in _STAGES if name in manifest}
    return {
        "changed": changed_settings(Config(), config),
        "yaml": dump_config(config),
        "seed": config.seed,
        "stages": [
            {
                "name": name,
                "finished": entry["finished"].replace("T", " ").removesuffix("+00:00"),
                "took": duration(entry["seconds"]),
                "summary": entry["summary"],
                "commit": entry["git_commit"],
            }
            for name, entry in entries.items()
        ],
        "versions": _agreed([entry["versions"] for entry in entries.values()]),
        "outputs": {
            file: digest for entry in entries.values() for file, digest in entry["outputs"].items()
        },
    }


def changed_settings(before: Any, now: Any) -> list[tuple[str, str, str]]:
    """The settings in which two trees differ: dotted name, and either value as text."""
    return [(name, _as_text(old), _as_text(new)) for name, old, new in differences(before, now)]


def duration(seconds: int | float) -> str:
    """ "75.3 s", "12 min 30 s", "2 h 5 min"."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if hours else f"{minutes} min {rest} s"


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)


def _agreed(versions_of_stages: list[dict[str, str]]) -> list[tuple[str, str]]:
    """Each package with its version, or with all that it had where stages differ."""
    by_package: dict[str, dict[str, None]] = {}
    for versions in versions_of_stages:
        for package, version in versions.items():
            by_package.setdefault(package, {})[version] = None
    return [(package, ", ".join(versions)) for package, versions in by_package.items()]
