"""The prefix trie of all semantic IDs, as flat arrays that live on the device.

Sort the code tuples. The distinct prefixes of each length, in that order, are the nodes of a level;
a node's children stand next to each other one level below, so a child's number is at once its place
in the level's arrays, and a leaf's number is the rank of its tuple (a CSR layout).

Lengths and fan-outs are rounded up, so that a catalogue that changes a little is searched by the
function that was compiled for it before.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Trie:
    """All codes that spell an item. N items, L levels, E_l ≥ the nodes at level l, E_L-1 ≥ N.

    Attributes:
        codes: for each level uint8 (E_l,), or a wider type where a codebook needs it: the last code
            of every node.
        children: for each level int32 (E_l-1 + 1,), where the children of each node one level above
            begin among this level's nodes; level 0 has the root above it. Nodes that are only
            there to round up have no children and are nobody's.
        item: int32 (E_L-1,), the item that a leaf spells; -1 where there is none.
        leaf: int32 (at least N,), the leaf that spells an item; E_L-1 where the item is left out or
            there is none.
        fan_out: for each level, at least the number of children that any node above it has.
    """

    codes: tuple[Integer[Array, " _"], ...]
    children: tuple[Int[Array, " _"], ...]
    item: Int[Array, " E"]
    leaf: Int[Array, " I"]
    fan_out: tuple[int, ...] = field(metadata={"static": True})

    @property
    def levels(self) -> int:
        return len(self.codes)


def build_trie(
    codes: np.ndarray, items: np.ndarray | None = None, like: Trie | None = None
) -> Trie:
    """The trie of int (N, L) codes, one row for each item.

    Args:
        items: the items to spell, by index; the others are left out. Without it, all are.
        like: a trie of the same catalogue with more items, whose shapes to keep: what was compiled
            for it serves this one too.

    Raises:
        ValueError: there is no item, or two items have the same codes.
    """
    if codes.ndim != 2 or 0 in codes.shape:
        raise ValueError(f"a trie needs codes of shape (items, levels), got {codes.shape}")
    count, levels = codes.shape
    rows = np.arange(count) if items is None else np.unique(items)
    if len(rows) == 0:
        raise ValueError("a trie needs at least one item")
    item = rows[_order(codes if items is None else codes[rows])]
    ordered = [np.ascontiguousarray(codes[item, level]) for level in range(levels)]
    fresh = np.zeros(len(item), bool)  # the row is the first with its prefix
    fresh[0] = True
    node_above = np.zeros(len(item), np.int32)
    nodes_above = 1
    level_codes, children, fan_out = [], [], []
    for level, column in enumerate(ordered):
        fresh[1:] |= column[1:] != column[:-1]
        counts = np.bincount(node_above[fresh], minlength=nodes_above)
        size = None if like is None else like.codes[level].shape[0]
        kind = np.min_scalar_type(int(codes[:, level].max()))
        level_codes.append(_rounded_up(column[fresh], 0, kind, size))
        total = int(counts.sum())
        above = 1 if level == 0 else level_codes[-2].shape[0]
        begin = np.full(above + 1, total, np.int32)
        begin[:nodes_above] = np.cumsum(counts) - counts
        children.append(jnp.asarray(begin))
        fan_out.append(_round_up(int(counts.max()), 4))
        node_above = np.cumsum(fresh, dtype=np.int32) - 1
        nodes_above = total
    if not fresh.all():
        again = int(np.flatnonzero(~fresh)[0])
        first, second = sorted(item[again - 1 : again + 1].tolist())
        raise ValueError(f"items {first} and {second} have the same codes")
    spelt = _rounded_up(item, -1, np.int32, None if like is None else like.item.shape[0])
    leaf = np.full(count, spelt.shape[0], np.int32)
    leaf[item] = np.arange(len(item))
    return Trie(
        codes=tuple(level_codes),
        children=tuple(children),
        item=spelt,
        leaf=_rounded_up(
            leaf, spelt.shape[0], np.int32, None if like is None else like.leaf.shape[0]
        ),
        fan_out=tuple(fan_out) if like is None else like.fan_out,
    )


def _order(codes: np.ndarray) -> np.ndarray:
    """int64 (N,): the rows in lexicographic order."""
    bits = [int(column.max()).bit_length() for column in codes.T]
    if sum(bits) > 63:
        return np.lexsort(codes.T[::-1])
    # One number for each tuple sorts several times faster than one column after the other.
    packed = np.zeros(len(codes), np.int64)
    for column, width in zip(codes.T, bits, strict=True):
        packed <<= width
        packed |= column
    return np.argsort(packed)


def _round_up(count: int, grain: int) -> int:
    """At most an eighth more, or the next multiple of the grain."""
    grain = max(grain, 1 << max(0, count.bit_length() - 4))
    return -(-count // grain) * grain


def _rounded_up(
    values: np.ndarray, fill: int, kind: np.dtype | type, size: int | None
) -> Integer[Array, " _"]:
    """The values and `fill` behind them."""
    if size is None:
        size = _round_up(len(values), 64)
    padded = np.full(size, fill, kind)
    padded[: len(values)] = values
    return jnp.asarray(padded)


def snug(trie: Trie) -> Trie:
    """The same trie with exact fan-outs: cheaper to compute with, where no other is to come."""
    exact = tuple(int(np.diff(np.asarray(children)).max()) for children in trie.children)
    return dataclasses.replace(trie, fan_out=exact)


class Children(NamedTuple):
    """What lies below some nodes; R is the level's fan-out.

    Attributes:
        node: the children's numbers, one after the other.
        code: their codes.
        there: which of the R there are; the others' entries mean nothing.
    """

    node: Int[Array, "*shape R"]
    code: Int[Array, "*shape R"]
    there: Bool[Array, "*shape R"]


def children_of(trie: Trie, level: int, parent: Int[Array, "*shape"]) -> Children:
    """The children at a level of nodes one level above; of a parent below 0 there are none."""
    begin = trie.children[level][jnp.maximum(parent, 0)]
    end = trie.children[level][jnp.maximum(parent, 0) + 1]
    place = jnp.arange(trie.fan_out[level], dtype=jnp.int32)
    node = begin[..., None] + jnp.expand_dims(place, range(begin.ndim))
    there = (node < end[..., None]) & (parent >= 0)[..., None]
    code = trie.codes[level][jnp.minimum(node, trie.codes[level].shape[0] - 1)]
    return Children(node, code.astype(jnp.int32), there)


def parents(
    trie: Trie, leaves: Int[Array, "*shape"]
) -> list[tuple[Int[Array, "*shape"], Int[Array, "*shape"]]]:
    """For each level (parent, node): the nodes on the way to some leaves, and those above them."""
    node, way = leaves, []
    for children in reversed(trie.children):
        parent = jnp.searchsorted(children, node, side="right").astype(jnp.int32) - 1
        way.append((parent, node))
        node = parent
    return way[::-1]


def leaves_below(
    trie: Trie, level: int, node: Int[Array, "*shape"]
) -> tuple[Int[Array, "*shape"], Int[Array, "*shape"]]:
    """The first leaf below each node of a level, and the one after its last."""
    begin, end = node, node + 1
    for children in trie.children[level + 1 :]:
        begin, end = children[begin], children[end]
    return begin, end


def means_below(
    trie: Trie, vectors: Float[Array, "N D"], weights: Float[Array, " N"] | None = None
) -> tuple[Float[Array, "_ D"], ...]:
    """For each level but the first, the mean vector of the items below every node.

    Args:
        vectors: of the items.
        weights: how much each item counts, above 0; None counts all alike.
    """
    item = jnp.maximum(trie.item, 0)
    weight = jnp.ones(item.shape) if weights is None else weights[item]
    weight = jnp.where(trie.item >= 0, weight, 0.0)
    total, means = weight[:, None] * vectors[item], []
    for level in range(trie.levels - 1, 0, -1):
        means.append(total / jnp.where(weight > 0, weight, 1.0)[:, None])
        node = jnp.arange(len(weight), dtype=jnp.int32)
        parent = jnp.searchsorted(trie.children[level], node, side="right") - 1
        count = trie.codes[level - 1].shape[0]
        total, weight = (jax.ops.segment_sum(x, parent, count) for x in (total, weight))
    return tuple(reversed(means))


def nodes_in(whole: Trie, part: Trie) -> tuple[Int[Array, " _"], ...]:
    """For each level, which node of `whole` each node of `part` is: a trie of fewer items."""
    found = []
    for level, codes in enumerate(part.codes):
        first, _ = leaves_below(part, level, jnp.arange(codes.shape[0], dtype=jnp.int32))
        item = part.item[jnp.minimum(first, part.item.shape[0] - 1)]
        found.append(parents(whole, whole.leaf[jnp.maximum(item, 0)])[level][1])
    return tuple(found)
