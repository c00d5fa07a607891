"""The prefix trie of all semantic IDs, as flat arrays that live on the device."""

import dataclasses
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer

from genrec.semantic_ids.trie import Shapes, spell


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Trie:
    """All codes that spell an item; the attributes are those of `Spelling`."""

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
    """The trie of int (N, L) codes, one row for each item, see `spell`.

    Args:
        items: the items to spell, by index; the others are left out. Without it, all are.
        like: a trie of the same catalogue with more items, whose shapes to keep: what was compiled
            for it serves this one too.

    Raises:
        ValueError: there is no item, or two items have the same codes.
    """
    shapes = None
    if like is not None:
        sizes = tuple((codes.shape[0], np.dtype(codes.dtype).str) for codes in like.codes)
        shapes = Shapes(sizes, like.leaf.shape[0], like.fan_out)
    spelling = spell(codes, items, shapes)
    return Trie(
        codes=tuple(map(jnp.asarray, spelling.codes)),
        children=tuple(map(jnp.asarray, spelling.children)),
        item=jnp.asarray(spelling.item),
        leaf=jnp.asarray(spelling.leaf),
        fan_out=spelling.fan_out,
    )


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
        node = jnp.arange(weight.shape[0], dtype=jnp.int32)
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
