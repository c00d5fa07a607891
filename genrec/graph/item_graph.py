"""The item graph: for each item its strongest neighbours in several senses, in flat arrays."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from genrec.errors import blaming
from genrec.storage.npy import open_npy, save_array

KINDS = ("transitions", "two_hops", "together", "relayed")
"""What an edge from a to b says, each as a weight in 0…1; a column of `ItemGraph.weights`.

transitions: b came one, two or three steps after a. two_hops: b came so after what came so after a.
together: users who had a had b too. relayed: b came after items whose content is like a's.
"""
Array = Any
"""`np.ndarray` or `jax.Array`."""
_TYPES = {"begins": np.dtype("<i4"), "items": np.dtype("<i4"), "weights": np.dtype("<f2")}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ItemGraph:
    """The neighbours of N items, E of them in all; a pytree.

    Attributes:
        begins: int32 (N + 1,); those of item `i` are `items[begins[i]:begins[i + 1]]`.
        items: int32 (E,), each item's neighbours, the one of the largest sum of weights first.
        weights: float (E, K), what each edge weighs in each of `KINDS`, 0 if it is none of it;
            float16 in files, which is all that a weight is known to.
        most: how many neighbours any item has at most.
    """

    begins: Array
    items: Array
    weights: Array
    most: int = field(metadata={"static": True})

    def with_room(self, count: int) -> "ItemGraph":
        """The same for `count` items: those behind the first N have no neighbours."""
        more = np.full(count + 1 - len(self.begins), self.begins[-1], np.int32)
        return ItemGraph(np.append(self.begins, more), self.items, self.weights, self.most)


def save_graph(folder: Path, graph: ItemGraph) -> None:
    """Writes a graph into a folder, an array to a file."""
    for name, kind in _TYPES.items():
        save_array(folder / f"{name}.npy", np.asarray(getattr(graph, name), kind))


def open_graph(folder: Path, num_items: int) -> ItemGraph:
    """The graph of N items in a folder, memory-mapped.

    Raises:
        UserError: a file is missing or damaged, or they do not fit each other or the items.
    """
    with blaming(folder, "; run genrec graph again"):
        begins, items, weights = (open_npy(folder / f"{name}.npy") for name in _TYPES)
        if [x.dtype for x in (begins, items, weights)] != list(_TYPES.values()):
            raise ValueError("an array is of another type")
        if begins.shape != (num_items + 1,) or items.ndim != 1:
            raise ValueError(f"it is not a graph of {num_items:,} items")
        if weights.shape != (len(items), len(KINDS)):
            raise ValueError("edges and weights do not fit each other")
        degrees = np.diff(begins)
        if begins[0] != 0 or begins[-1] != len(items) or degrees.min(initial=0) < 0:
            raise ValueError("its rows do not follow each other")
        if len(items) and not 0 <= items.min() <= items.max() < num_items:
            raise ValueError("an edge leads to no item")
    return ItemGraph(begins, items, weights, int(degrees.max(initial=0)))


def health(graph: ItemGraph) -> dict[str, Any]:
    """How much a graph knows: the entry of graph/health.json.

    Returns:
        `items`, `edges`; and for each of `KINDS` `coverage`, the share of items that have such an
        edge, with the mean and the largest `degree`, their number of such edges.
    """
    count = len(graph.begins) - 1
    source = np.repeat(np.arange(count), np.diff(graph.begins))
    kinds = {}
    for kind, weights in zip(KINDS, np.asarray(graph.weights).T, strict=True):
        degree = np.bincount(source[weights > 0], minlength=count)
        kinds[kind] = {
            "coverage": float((degree > 0).mean()),
            "mean_degree": float(degree.mean()),
            "largest_degree": int(degree.max(initial=0)),
        }
    return {"items": count, "edges": len(graph.items), "kinds": kinds}
