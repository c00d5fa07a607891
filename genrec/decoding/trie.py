"""The prefix trie of all semantic IDs, as flat arrays that live on the device.

Sort the code tuples. The distinct prefixes of each length, in that order, are the nodes of a level;
a node's children stand next to each other one level below, so a child's number is at once its place
in the level's arrays, and a leaf's number is the rank of its tuple (a CSR layout).

Lengths and fan-outs are rounded up, so that a catalogue that changes a little is searched by the
function that was compiled for it before.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Trie:
    """All codes that spell an item. N items, L levels, E_l ≥ the nodes at level l, E_L-1 ≥ N.

    Attributes:
        codes: for each level int32 (E_l,), the last code of every node.
        children: for each level int32 (E_l-1 + 1,), where the children of each node one level above
            begin among this level's nodes; level 0 has the root above it. Nodes that are only
            there to round up have no children and are nobody's.
        item: int32 (E_L-1,), the item that a leaf spells; -1 where there is none.
        leaf: int32 (E_L-1,), the leaf that spells an item.
        fan_out: for each level, at least the number of children that any node above it has.
    """

    codes: tuple[Int[Array, " _"], ...]
    children: tuple[Int[Array, " _"], ...]
    item: Int[Array, " E"]
    leaf: Int[Array, " E"]
    fan_out: tuple[int, ...] = field(metadata={"static": True})

    @property
    def levels(self) -> int:
        return len(self.codes)


def build_trie(codes: np.ndarray) -> Trie:
    """The trie of int (N, L) codes, one row for each item.

    Raises:
        ValueError: there is no item, or two items have the same codes.
    """
    if codes.ndim != 2 or 0 in codes.shape:
        raise ValueError(f"a trie needs codes of shape (items, levels), got {codes.shape}")
    item = np.lexsort(codes.T[::-1])
    ordered = codes[item]
    fresh = np.zeros(len(ordered), bool)  # the row is the first with its prefix
    fresh[0] = True
    node_above = np.zeros(len(ordered), np.int64)
    nodes_above = 1
    level_codes, children, fan_out = [], [], []
    for level in range(codes.shape[1]):
        fresh[1:] |= ordered[1:, level] != ordered[:-1, level]
        counts = np.bincount(node_above[fresh], minlength=nodes_above)
        level_codes.append(_rounded_up(ordered[fresh, level], 0))
        total = int(counts.sum())
        children.append(jnp.append(_rounded_up(np.cumsum(counts) - counts, total), total))
        fan_out.append(1 << int(counts.max() - 1).bit_length())
        node_above = np.cumsum(fresh) - 1
        nodes_above = int(node_above[-1]) + 1
    if not fresh.all():
        again = int(np.flatnonzero(~fresh)[0])
        raise ValueError(f"items {item[again - 1]} and {item[again]} have the same codes")
    leaf = np.empty(len(item), np.int32)
    leaf[item] = np.arange(len(item))
    return Trie(
        codes=tuple(level_codes),
        children=tuple(children),
        item=_rounded_up(item, -1),
        leaf=_rounded_up(leaf, 0),
        fan_out=tuple(fan_out),
    )


def _rounded_up(values: np.ndarray, fill: int) -> Int[Array, " _"]:
    """int32, with `fill` behind the values: at most an eighth more, and at least 64 in all."""
    grain = max(64, 1 << max(0, len(values).bit_length() - 4))
    return jnp.asarray(np.pad(values, (0, -len(values) % grain), constant_values=fill), jnp.int32)


def exhausted_nodes(
    trie: Trie, excluded: Int[Array, "B X"]
) -> list[tuple[Int[Array, "B X"], Int[Array, "B X"]]]:
    """For each level, the nodes that have no leaf left once some items are excluded.

    Args:
        excluded: item indices; entries below 0 exclude nothing, repeats do no harm.

    Returns:
        For each level (parent, child): the node above and which of its children it is; parent is
        -1 where an entry names no exhausted node.
    """
    count = trie.item.shape[0]
    leaves = jnp.sort(jnp.where(excluded >= 0, trie.leaf[jnp.maximum(excluded, 0)], count), axis=1)
    repeated = jnp.pad(leaves[:, 1:] == leaves[:, :-1], ((0, 0), (1, 0)))
    leaves = jnp.sort(jnp.where(repeated, count, leaves), axis=1)
    excluded_before = jax.vmap(lambda row, value: jnp.searchsorted(row, value))

    present = leaves < count
    node = jnp.where(present, leaves, 0)
    first_leaf = jnp.arange(count + 1)  # of each node of the level, and one past the last
    nodes = []
    for children in reversed(trie.children):
        begin, end = first_leaf[node], first_leaf[node + 1]
        gone = excluded_before(leaves, end) - excluded_before(leaves, begin)
        parent = jnp.searchsorted(children, node, side="right") - 1
        exhausted = present & (gone == end - begin)
        nodes.append((jnp.where(exhausted, parent, -1), node - children[parent]))
        node, first_leaf = parent, first_leaf[children]
    return nodes[::-1]
