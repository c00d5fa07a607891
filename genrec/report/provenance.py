"""The settings and versions that a run was made with, as text."""

from collections.abc import Iterable
from typing import Any

from genrec.config.parsing import differences


def changed_settings(before: Any, now: Any) -> list[tuple[str, str, str]]:
    """The settings in which two trees differ: dotted name, and either value as text."""
    return [(name, _as_text(old), _as_text(new)) for name, old, new in differences(before, now)]


def versions(stages: Iterable[dict[str, Any]]) -> dict[str, str]:
    """The version of each package by the entries of a manifest; several where stages differ."""
    by_package: dict[str, dict[str, None]] = {}
    for stage in stages:
        for package, version in stage["versions"].items():
            by_package.setdefault(package, {})[version] = None
    return {package: ", ".join(distinct) for package, distinct in by_package.items()}


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
