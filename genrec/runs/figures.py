"""The figures that a run's stages wrote, each file checked for its form when it is read."""

import contextlib
import re
from pathlib import Path
from typing import Any

from genrec.errors import blaming
from genrec.storage.files import parse_json, read_json
from genrec.storage.json_schema import expect

ANY = re.compile(r"(?s).{1,500}")
_MEASURE = re.compile(r"[a-z_]{1,30}@[1-9][0-9]{0,8}")
_FIGURES = {_MEASURE: float}
_SIZES = {"users": int, "items": int, "interactions": int}
_PART = {"users": int, "repeat_targets?": int, "unfiltered": _FIGURES, "filtered": _FIGURES}
_GAIN = {ANY: {_MEASURE: [float, float, float]}}
_DETAILS = {
    "intervals": {_MEASURE: [float]},
    "segments": {ANY: {ANY: {"users": int, ANY: float}}},
    "beyond": _FIGURES,
}
_FORMS: dict[str, Any] = {
    "metrics.json": {
        "test": {**_PART, "details?": {ANY: _DETAILS}},
        "alone?": {ANY: {"test": _PART, "gain?": _GAIN}},
        "baselines?": {ANY: {"test": _PART, "gain?": _GAIN, "weights?": {ANY: float}}},
    },
    "decoding_cost.json": {"device": str, "users_per_second": float, "peak_memory_gib": float},
    "dataset/counts.json": {
        **_SIZES,
        "published": (None, {**_SIZES, "source": str}),
        "bad_rows": {ANY: int},
        "steps": [{"name": str, **_SIZES}],
        "history_length": {ANY: float},
        "split": {
            "kind": str,
            "new_items": int,
            "training_interactions": int,
            "validation_users": int,
            "test_users": int,
        },
        "item_rows_read": int,
        "density": float,
        "first_timestamp": int,
        "last_timestamp": int,
    },
    "tokenizer/health.json": {
        "items": int,
        "distinct_tuples": int,
        "distinct_share": float,
        "colliding_items": int,
        "largest_group": int,
        "same_category?": (float, None),
        "after?": {"colliding_items": int, "largest_group": int, "moved_items?": int},
        "levels": [
            {
                "size": int,
                "used": float,
                "entropy": float,
                "perplexity": float,
                "prefixes": int,
                "relative_error": (float, None),
                "variance_within": (float, None),
                "same_category?": (float, None),
            }
        ],
        "training?": [{"step": int, "relative_error": float, "perplexity": [float]}],
    },
    "graph/health.json": {
        "items": int,
        "edges": int,
        "kinds": {ANY: {"coverage": float, "mean_degree": float, "largest_degree": int}},
    },
    "fusion.json": {
        "fitted": (
            {
                "retrieval": {ANY: float},
                "guide": {"logits": [float], "masses": [float]},
                "ranking": {ANY: float},
                "standard_errors": {ANY: float},
            },
            None,
        ),
        "measured?": {
            "users": int,
            "all": {ANY: float},
            "without": {ANY: {ANY: float}},
            "alone": {ANY: {ANY: float}},
            "reliability": [{"candidates": int, "promised": float, "came_true": float}],
        },
    },
}
_LINE = {
    "step": int,
    "epoch": int,
    "loss?": float,
    "targets_per_second?": float,
    "learning_rate?": float,
    "gradient_norm?": float,
    "validation?": {"recall@10": float, "ndcg@10": float, _MEASURE: float},
}
_STAGES = {
    "dataset": "prepare",
    "tokenizer": "tokenize",
    "graph": "graph",
    "fusion.json": "fuse",
}


def read_figures(folder: Path, name: str) -> Any:
    """One of metrics.json, decoding_cost.json, dataset/counts.json and tokenizer/health.json.

    Raises:
        UserError: it is not there, or not as genrec writes it.
    """
    with blaming_figures(folder, name):
        figures = read_json(folder / name)
        expect(figures, _FORMS[name])
    return figures


def read_decoding_cost(folder: Path) -> dict[str, Any] | None:
    """What decoding_cost.json holds; None where there is none.

    Raises:
        UserError: it is not as genrec writes it.
    """
    name = "decoding_cost.json"
    return read_figures(folder, name) if (folder / name).exists() else None


def read_training_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl; [] where there is none.

    Raises:
        UserError: it is not as genrec writes it.
    """
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    with blaming(path, "; run genrec train again"):
        lines = [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
        expect(lines, [_LINE])
    return lines


def blaming_figures(folder: Path, name: str) -> contextlib.AbstractContextManager[None]:
    """`blaming` for a file that `read_figures` reads, with the stage that makes it anew."""
    stage = _STAGES.get(name.split("/")[0], "evaluate")
    return blaming(folder / name, f"; run genrec {stage} again")
