"""Whether a bundle's manifest and tables make sense, checked before anyone relies on them.

Checksums tell what was damaged; this is for what was written so. Sizes are bounded by what is
there: a small bundle cannot ask for much memory.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from genrec.recommend.explanation import EDGES
from genrec.storage.files import leads_outside
from genrec.storage.json_schema import expect

MOST_ROOM = 64
"""Items that may come later, for each that there is."""
_MOST_LEVELS = 64
_COUNT = range(1, 1 << 20)
_ITEMS = range(1, 1 << 31)
_FILE = re.compile(r"[A-Za-z0-9_./-]{1,200}")
_EXPERT = re.compile(r"[a-z_]{1,50}")
_MANIFEST = {
    "checksum": str,
    "files": {_FILE: {"bytes": range(1 << 62), "sha256": str}},
    "items": _ITEMS,
    "added": range(1 << 31),
    "answers": {
        "beam": _COUNT,
        "batch_size": _COUNT,
        "max_history": _COUNT,
        "unknown_items": str,
        "users": bool,
        "look_ahead": bool,
        "experts?": ({"names": [_EXPERT], "most": range(1 << 31)}, None),  # older bundles have none
        "named": [_COUNT],
        "shapes": {
            "items": _ITEMS,
            "codes": [[_ITEMS, {"|u1", "<u2", "<u4", "<i4"}]],
            "fan_out": [_ITEMS],
        },
    },
    "newcomers": (
        {
            "files": [_FILE],
            "width": _COUNT,
            "codebook_sizes": [_COUNT],
            "cooccurrence": float,
            "collisions": {"code", "reassign", "none"},
        },
        None,
    ),
}


def check_manifest(manifest: Mapping[str, Any]) -> None:
    """Raises ValueError unless all is there that a reader asks for, and of a size that can be."""
    expect(manifest, _MANIFEST)
    for name in manifest["files"]:
        if leads_outside(name):
            raise ValueError(f"it names a file outside of the bundle: {name!r:.100}")
    named, shapes = manifest["answers"]["named"], manifest["answers"]["shapes"]
    if not named or sorted(set(named)) != named:
        raise ValueError("the numbers of items that may be named must ascend")
    items, codes = manifest["items"], shapes["codes"]
    most = 2 * (MOST_ROOM + 1) * items + 1000  # lengths are rounded up
    if not items <= shapes["items"] <= most or any(size > most for size, _ in codes):
        raise ValueError(f"its shapes are not for {items} items")
    if not 0 < len(codes) == len(shapes["fan_out"]) <= _MOST_LEVELS:
        raise ValueError("its shapes have no sensible number of levels")
    if (new_items := manifest["newcomers"]) is not None:
        if not 0 < len(new_items["codebook_sizes"]) <= _MOST_LEVELS:
            raise ValueError("its codebooks have no sensible number of levels")
        if new_items["cooccurrence"] < 0:
            raise ValueError(f"cooccurrence is {new_items['cooccurrence']}")


def check_items(
    answers: Mapping[str, Any],
    count: int,
    tables: Mapping[str, np.ndarray],
    weights: Mapping[str, np.ndarray],
    item_ids: Sequence[str],
    titles: Sequence[str],
) -> None:
    """Raises ValueError or KeyError unless the tables fit each other, the names and the manifest.

    Numbers that are not finite would go unnoticed: a list would just hold some items twice.
    `answers` and `count`, of the items, are those of the manifest, checked; `tables` and `weights`
    the arrays of items.safetensors and weights.safetensors.
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
        codebook = weights.get(f"codes.{level}.embedding")
        if codebook is not None and codebook.shape and code >= len(codebook):
            raise ValueError(f"there is a code {code} at level {level}, of {len(codebook)}")
    learned = {} if vectors is None else {"vectors": vectors}
    for name, values in {**weights, **learned}.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{name} has numbers that are not finite")
    if not len(item_ids) == len(titles) == count:
        raise ValueError(f"{len(item_ids)} ids and {len(titles)} titles are not for {count} items")
    if len(set(item_ids)) < count:
        raise ValueError("two items have the same id")


def check_tokenizer(
    settings: Mapping[str, Any], tensors: Mapping[str, np.ndarray], count: int
) -> None:
    """Raises ValueError or KeyError unless tokenizer.safetensors holds what new items need.

    `settings` is the manifest's entry for them, checked; `count`, how many items there are.
    """
    parts = ("content", "consumed") if settings["cooccurrence"] else ("content",)
    for name in (*(f"{part}.norm" for part in parts), "input.scale"):
        if not 0 < _floats(tensors, name, 0) < np.inf:
            raise ValueError(f"{name} is not above 0")
    widths = [len(_floats(tensors, f"{part}.mean", 1)) for part in parts]
    if widths[0] != settings["width"] or len(_floats(tensors, "input.mean", 1)) != sum(widths):
        raise ValueError("the means have other widths than the content")
    if settings["cooccurrence"]:
        lenders = tensors["lenders"]
        if lenders.dtype != np.int32 or lenders.ndim != 1 or not _ascending(lenders, count):
            raise ValueError("lenders does not name items in ascending order")


def check_experts(
    answers: Mapping[str, Any],
    count: int,
    width: int | None,
    tables: Mapping[str, np.ndarray],
) -> None:
    """Raises ValueError or KeyError unless experts.safetensors holds what the programs look up.

    `answers` and `count`, of the items, are those of the manifest, checked; `width` is that of the
    content of new items, None where the bundle takes none.
    """
    names, most = answers["experts"]["names"], answers["experts"]["most"]
    if len(set(names)) < len(names) or [name for name in names if name in EDGES] != list(EDGES):
        raise ValueError(f"there are no experts such as {', '.join(names)}")
    codes, edges = "codes" in names, tables["items"].size
    levels = len(answers["shapes"]["codes"]) if codes else 0
    content = tables["content"].shape[1] if tables["content"].ndim == 2 else 0
    expected = {
        "begins": (np.int32, (count + 1,)),
        "items": (np.int32, (edges,)),
        "weights": (np.float16, (edges, len(EDGES))),
        "content": (np.float16, (count, content if width is None else width)),
        "popularity": (np.float32, (count,)),
        "retrieval": (np.float32, (len(names) - codes,)),
        "own": (np.float32, (levels,)),
        "other": (np.float32, (levels,)),
        "ranking": (np.float32, (len(names),)),
    }
    for name, (kind, shape) in expected.items():
        if tables[name].dtype != kind or tables[name].shape != shape:
            raise ValueError(f"{name} is {tables[name].dtype}{list(tables[name].shape)}")
        if not np.isfinite(tables[name]).all():
            raise ValueError(f"{name} has numbers that are not finite")
    begins, items = tables["begins"], tables["items"]
    degrees = np.diff(begins.astype(np.int64))
    if begins[0] != 0 or begins[-1] != edges or degrees.min() < 0 or degrees.max() > most:
        raise ValueError(f"begins does not share {edges:,} edges out, up to {most} to an item")
    if edges and not 0 <= items.min() <= items.max() < count:
        raise ValueError("an edge leads to no item")
    if tables["weights"].min(initial=0) < 0 or tables["popularity"].min() < 0:
        raise ValueError("a weight of an edge or a popularity is below 0")


def _floats(tensors: Mapping[str, np.ndarray], name: str, axes: int) -> np.ndarray:
    if tensors[name].dtype != np.float32 or tensors[name].ndim != axes:
        raise ValueError(f"{name} is {tensors[name].dtype}{list(tensors[name].shape)}")
    return tensors[name]


def _ascending(items: np.ndarray, count: int) -> bool:
    """Whether some of so many items are named, each once, in order."""
    return bool(len(items) and items[0] >= 0 and (np.diff(items) > 0).all() and items[-1] < count)
