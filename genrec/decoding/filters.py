"""Filters inside the search: which items each request may get.

A request names items, either to exclude them or to allow no others. Beside the many nodes of a trie
those are few, so a filter is a list of items, not a mask of the catalogue. At every level it marks
the nodes on the paths to these items; where items are excluded, only the nodes that have no other
item below. A filter for all requests alike is a smaller trie instead (`build_trie(…, items=…)`),
and costs the search nothing.

Array shapes: B requests, X items that a request names at most, N items.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from genrec.semantic_ids.trie import Trie, leaves_below, path_to


class Filters(NamedTuple):
    """One filter for each of B requests.

    Attributes:
        items: int32 (B, X), item indices; entries below 0 are ignored, and so are repeats.
        allow: bool (B,), whether the items are the only ones allowed, or else the ones excluded.
    """

    items: np.ndarray | Int[Array, "B X"]
    allow: np.ndarray | Bool[Array, " B"]


def permitted_items(filters: Filters, trie: Trie, count: int) -> Bool[Array, "B N"]:
    """Whether each request may get each of the catalogue's `count` items."""
    items, allow = jnp.asarray(filters.items), jnp.asarray(filters.allow)
    row = jnp.arange(items.shape[0])[:, None]
    # JAX would count an index below 0 from the end.
    named = jnp.zeros((items.shape[0], count), bool)
    named = named.at[row, jnp.where(items >= 0, items, count)].set(True, mode="drop")
    return (named == allow[:, None]) & (trie.leaf[None, :count] < trie.item.shape[0])


def marked_nodes(trie: Trie, filters: Filters) -> list[tuple[Int[Array, "B X"], Int[Array, "B X"]]]:
    """The nodes that each filter marks, level by level.

    Returns:
        For each level (parent, child): the node above the marked one, and which of its children
        that is. Marked nodes of an allow list are those that a search may enter; of excluded items,
        those that it may not, for nothing is left below them. Parent is -1 where an entry marks no
        node.
    """
    items, allow = jnp.asarray(filters.items), jnp.asarray(filters.allow)[:, None]
    none = trie.item.shape[0]
    leaf = jnp.where(items >= 0, trie.leaf[jnp.maximum(items, 0)], none)
    leaves = jnp.sort(leaf, axis=1)
    repeats = jnp.pad(leaves[:, 1:] == leaves[:, :-1], ((0, 0), (1, 0)))
    leaves = jnp.sort(jnp.where(repeats, none, leaves), axis=1)
    count_before = jax.vmap(lambda row, stop: jnp.searchsorted(row, stop))

    present = leaves < none
    marks = []
    for level, (parent, node) in enumerate(path_to(trie, jnp.where(present, leaves, 0))):
        begin, end = leaves_below(trie, level, node)
        exhausted = count_before(leaves, end) - count_before(leaves, begin) == end - begin
        child = node - trie.children[level][parent]
        marks.append((jnp.where(present & (allow | exhausted), parent, -1), child))
    return marks
