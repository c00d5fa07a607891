"""A sparse, weighted graph of items: each one's strongest neighbours, in flat arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

Array = Any
"""`np.ndarray` or `jax.Array`."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Neighbours:
    """The neighbours of N items, E of them in all; a pytree.

    Attributes:
        begins: int32 (N + 1,); those of item `i` are `items[begins[i]:begins[i + 1]]`.
        items: int32 (E,), each item's neighbours, the strongest first.
        weights: float32 (E,), above 0.
        most: how many neighbours any item has at most.
    """

    begins: Array
    items: Array
    weights: Array
    most: int = field(metadata={"static": True})


def strongest(
    rows: np.ndarray, columns: np.ndarray, weights: np.ndarray, num_items: int, most: int
) -> Neighbours:
    """The graph with these edges, each given once, but at most `most` of an item.

    Of equal weights those with the lower column come first.

    Args:
        rows, columns: int (E,), the item that an edge leaves, and the one that it leads to.
        weights: float (E,), above 0.
        num_items: N.
    """
    order = np.lexsort((columns, -weights, rows))
    rows, columns, weights = rows[order], columns[order], weights[order]
    kept = np.arange(len(rows)) - np.searchsorted(rows, rows) < most
    begins = np.searchsorted(rows[kept], np.arange(num_items + 1))
    return _graph(begins, columns[kept], weights[kept])


def joined(parts: Sequence[Neighbours]) -> Neighbours:
    """One graph of several, whose items come one after another; neighbours keep their numbers.

    Raises:
        ValueError: there are more edges than int32 can count.
    """
    sizes = np.cumsum([0, *(len(part.items) for part in parts)])
    if sizes[-1] > np.iinfo(np.int32).max:
        raise ValueError(f"a graph of {sizes[-1]:,} edges is too large")
    begins = [part.begins[:-1] + size for part, size in zip(parts, sizes[:-1], strict=True)]
    return _graph(
        np.concatenate([*begins, sizes[-1:]]),
        np.concatenate([np.zeros(0, np.int32), *(part.items for part in parts)]),
        np.concatenate([np.zeros(0, np.float32), *(part.weights for part in parts)]),
    )


def _graph(begins: np.ndarray, items: np.ndarray, weights: np.ndarray) -> Neighbours:
    most = int(np.diff(begins).max(initial=0))
    arrays = begins.astype(np.int32), items.astype(np.int32), weights.astype(np.float32)
    return Neighbours(*arrays, most)
