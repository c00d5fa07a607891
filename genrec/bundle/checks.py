"""Whether what a bundle says of itself, and its tables, make sense: before anyone relies on them.

Checksums tell what was damaged; this is for what was written so. Sizes are bounded by what is
there: a small bundle cannot ask for much memory.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from genrec.storage.files import leads_outside
from genrec.storage.json_schema import expect

MOST_ROOM = 64
"""Items that may come later, for each that there is."""
_MOST_LEVELS = 64
_LONGEST_NAME = 200
_MOST = 1 << 20
_CODE_TYPES = ("|u1", "<u2", "<u4", "<i4")
_MANIFEST = {
    "checksum": str,
    "files": {re.compile(r"(?s).*"): {"bytes": int, "sha256": str}},
    "items": int,
    "added": int,
    "answers": {
        "beam": int,
        "batch_size": int,
        "max_history": int,
        "unknown_items": str,
        "users": bool,
        "look_ahead": bool,
        "named": [int],
        "shapes": {"items": int, "codes": [[(int, str)]], "fan_out": [int]},
    },
    "newcomers": (
        {
            "files": [str],
            "width": int,
            "codebook_sizes": [int],
            "cooccurrence": float,
            "collisions": str,
        },
        None,
    ),
}


def check_manifest(manifest: Mapping[str, Any]) -> None:
    """Raises ValueError unless all is there that a reader asks for."""
    expect(manifest, _MANIFEST)
    for name, told in manifest["files"].items():
        if leads_outside(name):
            raise ValueError(f"it names a file outside of the bundle: {name!r:.100}")
        if not _may_be_named(name):
            raise ValueError(f"it names a file {name!r:.100}")
        _within(told["bytes"], f"the size of {name}", 0, 1 << 62)
    items, answers = manifest["items"], manifest["answers"]
    _within(items, "items", 1, 1 << 31)
    _within(manifest["added"], "added", 0, 1 << 31)
    for name in ("beam", "batch_size", "max_history"):
        _within(answers[name], name, 1, _MOST)
    for number in (named := answers["named"]):
        _within(number, "named", 1, _MOST)
    if not named or sorted(set(named)) != named:
        raise ValueError("the numbers of items that may be named must ascend")
    _check_shapes(answers["shapes"], items)
    if (newcomers := manifest["newcomers"]) is not None:
        _check_newcomers(newcomers)


def _check_shapes(shapes: Mapping[str, Any], items: int) -> None:
    most = 2 * (MOST_ROOM + 1) * items + 1000  # lengths are rounded up
    _within(shapes["items"], "shapes.items", items, most)
    codes, fan_out = shapes["codes"], shapes["fan_out"]
    if not 0 < len(codes) == len(fan_out) <= _MOST_LEVELS:
        raise ValueError("it says nothing sensible of the levels of the codes")
    for size in fan_out:
        _within(size, "fan_out", 1, 1 << 31)
    for told in codes:
        if len(told) != 2 or type(told[0]) is not int or told[1] not in _CODE_TYPES:
            raise ValueError(f"codes cannot be {str(told)[:40]}")
        _within(told[0], "shapes.codes", 1, most)


def _check_newcomers(told: Mapping[str, Any]) -> None:
    if not all(map(_may_be_named, told["files"])):
        raise ValueError("it does not name the files for new items")
    _within(told["width"], "width", 1, _MOST)
    if not 0 < len(told["codebook_sizes"]) <= _MOST_LEVELS:
        raise ValueError("it says nothing sensible of the codebooks")
    for size in told["codebook_sizes"]:
        _within(size, "codebook_sizes", 1, _MOST)
    _within(told["cooccurrence"], "cooccurrence", 0, 1 << 30)
    if told["collisions"] not in ("code", "reassign", "none"):
        raise ValueError(f"collisions cannot be {told['collisions']!r:.40}")


def check_items(
    answers: Mapping[str, Any],
    count: int,
    tables: Mapping[str, np.ndarray],
    weights: Mapping[str, np.ndarray],
    item_ids: Sequence[str],
    titles: Sequence[str],
) -> None:
    """Raises ValueError or KeyError unless the tables fit each other, the names and the manifest.

    What is not finite would not be noticed: a list would just hold some items twice.

    Args:
        answers: those of the manifest, checked.
        count: how many items it says that there are.
        tables: the arrays of items.safetensors.
        weights: those of weights.safetensors.
    """
    levels = len(answers["shapes"]["codes"])
    expected = {
        "codes": (np.int32, (count, levels)),
        "counts": (np.int64, (count,)),
        "seen": (np.bool_, (count,)),
        "open": (np.int32, (tables["open"].size,)),
    }
    for name, (kind, shape) in expected.items():
        if tables[name].dtype != kind or tables[name].shape != shape:
            raise ValueError(f"{name} is {tables[name].dtype}{list(tables[name].shape)}")
    if (vectors := tables.get("vectors")) is not None and (
        vectors.ndim != 2 or len(vectors) != count or vectors.dtype.kind not in "fV"
    ):
        raise ValueError(f"vectors is {vectors.dtype}{list(vectors.shape)}")
    if not _ascending(tables["open"], count):
        raise ValueError("open does not name items in ascending order")
    if tables["codes"].min() < 0 or tables["counts"].min() < 0:
        raise ValueError("a code or a count is below 0")
    for level, code in enumerate(tables["codes"].max(axis=0).tolist()):
        known = weights.get(f"codes.{level}.embedding")
        if known is not None and known.shape and code >= len(known):
            raise ValueError(f"there is a code {code} at level {level}, and {len(known)} of them")
    learned = dict(weights) if vectors is None else {**weights, "vectors": vectors}
    for name, values in learned.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{name} has numbers that are not finite")
    if not len(item_ids) == len(titles) == count:
        raise ValueError(f"{len(item_ids)} ids and {len(titles)} titles are not for {count} items")
    if len(set(item_ids)) < count:
        raise ValueError("two items have the same id")


def check_tokenizer(told: Mapping[str, Any], tensors: Mapping[str, np.ndarray], count: int) -> None:
    """Raises ValueError or KeyError unless the tensors are those that new items need.

    Args:
        told: what the manifest says of new items, checked.
        tensors: the arrays of tokenizer.safetensors.
        count: how many items there are.
    """
    parts = ("content", "consumed") if told["cooccurrence"] else ("content",)
    for name in (*(f"{part}.norm" for part in parts), "input.scale"):
        if not 0 < _floats(tensors, name, 0) < np.inf:
            raise ValueError(f"{name} is not above 0")
    widths = [len(_floats(tensors, f"{part}.mean", 1)) for part in parts]
    if widths[0] != told["width"] or len(_floats(tensors, "input.mean", 1)) != sum(widths):
        raise ValueError("the means have other widths than the content")
    if told["cooccurrence"]:
        lenders = tensors["lenders"]
        if lenders.dtype != np.int32 or lenders.ndim != 1 or not _ascending(lenders, count):
            raise ValueError("lenders does not name items in ascending order")


def _floats(tensors: Mapping[str, np.ndarray], name: str, axes: int) -> np.ndarray:
    if tensors[name].dtype != np.float32 or tensors[name].ndim != axes:
        raise ValueError(f"{name} is {tensors[name].dtype}{list(tensors[name].shape)}")
    return tensors[name]


def _ascending(items: np.ndarray, count: int) -> bool:
    """Whether some of so many items are named, each once, in order."""
    return bool(len(items) and items[0] >= 0 and (np.diff(items) > 0).all() and items[-1] < count)


def _may_be_named(name: str) -> bool:
    return name.isprintable() and len(name) <= _LONGEST_NAME


def _within(value: int | float, what: str, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{what} cannot be {value}")
