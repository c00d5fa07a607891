"""The prefix trie of a catalogue's semantic IDs: building it, walking it, averaging over it.

Sort the code tuples. The distinct prefixes of each length, in that order, are the nodes of a level;
a node's children stand next to each other one level below, so a child's number is at once its
position in the level's arrays, and a leaf's number is the rank of its tuple (a CSR layout).

Lengths and fan-outs are rounded up, so that a catalogue that changes a little is searched by the
function that was compiled for it before.

A trie is built with NumPy. What walks it or averages over it takes NumPy's arrays, or JAX's under
`jit`, and answers with the same kind. Neither jaxtyping nor Flax is imported here, for a bundle
works without them; shapes are in the docstrings.

Array shapes: N items, L levels, P_l at least the nodes of level l, R fan-out of a level, D width of
a vector.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np

Array = Any
"""`np.ndarray` or `jax.Array`, whichever the caller has."""

_WEIGHT_OF_UNSEEN = 1e-6
"""How much an item that training never saw counts in a mean, where others count 1."""


@dataclass(frozen=True)
class Shapes:
    """How large the arrays of a trie are.

    Attributes:
        codes: for each level, P_l and the type of its codes.
        items: length of the table from items to leaves.
        fan_out: for each level, at least the number of children that any node above it has.
    """

    codes: tuple[tuple[int, str], ...]
    items: int
    fan_out: tuple[int, ...]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Trie:
    """The arrays of a trie, a pytree.

    Attributes:
        codes: for each level uint8 (P_l,), or a wider type where a codebook needs it: the last code
            of every node.
        children: for each level int32 (P_(l-1) + 1,), where among this level's nodes the children
            of each node one level above begin; level 0 has the root above it. Nodes that are only
            there to round up have neither children nor a parent.
        item: int32 (P_(L-1),), the item at each leaf; -1 where there is none.
        leaf: int32 (at least N,), the leaf of each item; P_(L-1) where the item is left out or
            there is none.
        fan_out: see `Shapes`.
    """

    codes: tuple[Array, ...]
    children: tuple[Array, ...]
    item: Array
    leaf: Array
    fan_out: tuple[int, ...] = field(metadata={"static": True})

    @property
    def levels(self) -> int:
        return len(self.codes)

    @property
    def shapes(self) -> Shapes:
        sizes = tuple((codes.shape[0], np.dtype(codes.dtype).str) for codes in self.codes)
        return Shapes(sizes, self.leaf.shape[0], self.fan_out)


def build_trie(
    codes: np.ndarray,
    items: np.ndarray | None = None,
    like: Shapes | None = None,
    *,
    room: float = 0.0,
) -> Trie:
    """The trie of int (N, L) codes, one row for each item, as NumPy arrays.

    Args:
        items: the items in the trie, by index; the others are left out. None takes all.
        like: shapes to keep, so that what was compiled for them serves this trie too.
        room: without `like`, the share of items that shall have room beside those that there are.

    Raises:
        ValueError: there is no item, two items have the same codes, or they do not fit in `like`.
    """
    count, levels = codes.shape
    rows = np.arange(count) if items is None else np.unique(items)
    if len(rows) == 0:
        raise ValueError("a trie needs at least one item")
    item = rows[_lexicographic_order(codes if items is None else codes[rows])]
    first = np.zeros(len(item), bool)  # whether the row is the first with its prefix
    first[0] = True
    parent = np.zeros(len(item), np.int32)
    level_codes, child_counts = [], []
    for level in range(levels):
        column = np.ascontiguousarray(codes[item, level])
        first[1:] |= column[1:] != column[:-1]
        level_codes.append(column[first])
        child_counts.append(np.bincount(parent[first]))
        parent = np.cumsum(first, dtype=np.int32) - 1
    if not first.all():
        repeat = int(np.flatnonzero(~first)[0])
        one, other = sorted(item[repeat - 1 : repeat + 1].tolist())
        raise ValueError(f"items {one} and {other} have the same codes")
    widest = tuple(int(counts.max()) for counts in child_counts)
    if like is None:
        like = _rounded_shapes(codes, [len(column) for column in level_codes], widest, room)
    if count > like.items or any(n > most for n, most in zip(widest, like.fan_out, strict=True)):
        raise ValueError("there is no room for so many items")
    leaves = like.codes[-1][0]
    leaf = np.full(like.items, leaves, np.int32)
    leaf[item] = np.arange(len(item))
    return Trie(
        codes=tuple(
            _padded(column, 0, size, dtype)
            for column, (size, dtype) in zip(level_codes, like.codes, strict=True)
        ),
        children=tuple(
            _padded(np.cumsum(counts) - counts, int(counts.sum()), above + 1)
            for counts, above in zip(
                child_counts, (1, *(size for size, _ in like.codes)), strict=False
            )
        ),
        item=_padded(item, -1, leaves),
        leaf=leaf,
        fan_out=like.fan_out,
    )


def with_exact_fan_out(trie: Trie) -> Trie:
    """The same trie with fan-outs that are not rounded up.

    That is cheaper to compute with, but what is compiled for it serves no other trie.
    """
    exact = tuple(int(np.diff(np.asarray(children)).max()) for children in trie.children)
    return dataclasses.replace(trie, fan_out=exact)


class Children(NamedTuple):
    """The children of some nodes, in arrays of shape (…, R).

    Attributes:
        node: int32, their numbers, one after the other.
        code: int32, their codes.
        valid: bool, which of the R there are; the others' entries mean nothing.
    """

    node: Array
    code: Array
    valid: Array


def children_of(trie: Trie, level: int, parent: Array) -> Children:
    """The children at a level of nodes (…) one level above; a parent below 0 has none."""
    xp = trie.item.__array_namespace__()
    begin = trie.children[level][xp.maximum(parent, 0)]
    end = trie.children[level][xp.maximum(parent, 0) + 1]
    offset = xp.arange(trie.fan_out[level], dtype=xp.int32)
    node = begin[..., None] + xp.expand_dims(offset, tuple(range(begin.ndim)))
    valid = (node < end[..., None]) & (parent >= 0)[..., None]
    code = trie.codes[level][xp.minimum(node, trie.codes[level].shape[0] - 1)]
    return Children(node, code.astype(xp.int32), valid)


def path_to(trie: Trie, leaves: Array) -> list[tuple[Array, Array]]:
    """For each level (parent, node), int32 like the leaves (…): the nodes on the way from the root
    to each leaf, and the nodes above those."""
    node, path = leaves, []
    for children in reversed(trie.children):
        parent = _parent_of(children, node)
        path.append((parent, node))
        node = parent
    return path[::-1]


def leaves_below(trie: Trie, level: int, node: Array) -> tuple[Array, Array]:
    """The first leaf below each node (…) of a level, and the one after its last."""
    begin, end = node, node + 1
    for children in trie.children[level + 1 :]:
        begin, end = children[begin], children[end]
    return begin, end


def nodes_in(whole: Trie, part: Trie) -> tuple[Array, ...]:
    """For each level int (P_l,), which node of `whole` each node of `part` is, a trie of fewer
    items; entries of nodes that are only there to round up mean nothing."""
    xp = whole.item.__array_namespace__()
    nodes = []
    for level, codes in enumerate(part.codes):
        first, _ = leaves_below(part, level, xp.arange(codes.shape[0], dtype=xp.int32))
        item = part.item[xp.minimum(first, part.item.shape[0] - 1)]
        node = whole.leaf[xp.maximum(item, 0)]
        for children in reversed(whole.children[level + 1 :]):
            node = _parent_of(children, node)
        nodes.append(node)
    return tuple(nodes)


def sums_below(trie: Trie, values: Array) -> tuple[Array, ...]:
    """For each level (P_l, …): the sum over the leaves below each node, of values (P_(L-1), …)."""
    sums = [values]
    for level in range(trie.levels - 1, 0, -1):
        nodes = trie.codes[level - 1].shape[0]
        sums.append(_sums_over_children(sums[-1], trie.children[level], nodes))
    return tuple(reversed(sums))


def means_below(trie: Trie, vectors: Array, weights: Array | None = None) -> tuple[Array, ...]:
    """For each level but the first, float32 (P_l, D): the mean vector of the items below each node.

    Args:
        vectors: float32 (N, D), of the items.
        weights: float (N,), how much each item counts, above 0; None counts all alike.
    """
    xp = trie.item.__array_namespace__()
    item = xp.maximum(trie.item, 0)
    weight = xp.ones(item.shape) if weights is None else weights[item]
    weight = xp.where(trie.item >= 0, weight, 0.0).astype(xp.float32)
    sums = (sums_below(trie, values)[1:] for values in (weight[:, None] * vectors[item], weight))
    return tuple(
        total / xp.where(weight > 0, weight, xp.float32(1))[:, None]
        for total, weight in zip(*sums, strict=True)
    )


def means_in(whole: Trie, part: Trie, vectors: Array, seen: Array | None) -> tuple[Array, ...]:
    """For each level but the first, float32 (P_l, D): for each node of `part`, the mean vector of
    all items that `whole` has below that node, also of those that `part` leaves out.

    Args:
        whole: the trie of all items.
        part: a trie of some of them.
        vectors: float32 (N, D), of the items.
        seen: bool (N,), whether an item has a training interaction; None if all have. Those without
            hardly count where there are others, lest they change what the decoder learned of a
            node.
    """
    weights = None
    if seen is not None:
        weights = seen.__array_namespace__().where(seen, 1.0, _WEIGHT_OF_UNSEEN)
    means = means_below(whole, vectors, weights)
    return tuple(mean[node] for mean, node in zip(means, nodes_in(whole, part)[1:], strict=True))


def _parent_of(children: Array, node: Array) -> Array:
    """int32, like `node`: the nodes one level above."""
    xp = children.__array_namespace__()
    return xp.searchsorted(children, node, side="right").astype(xp.int32) - 1


def _sums_over_children(values: Array, children: Array, nodes: int) -> Array:
    """float32 (nodes, …): each node's sum over its children, of values (P_l, …); 0 without any."""
    if not isinstance(values, np.ndarray):
        parent = _parent_of(children, jax.numpy.arange(values.shape[0], dtype=np.int32))
        return jax.ops.segment_sum(values, parent, nodes)
    begin = children[: np.searchsorted(children, children[-1])]  # of the nodes that have children
    sums = np.zeros((nodes, *values.shape[1:]), values.dtype)
    sums[: len(begin)] = np.add.reduceat(values, begin)
    return sums


def _rounded_shapes(
    codes: np.ndarray, nodes: list[int], widest: tuple[int, ...], room: float
) -> Shapes:
    def with_room(count: int, grain: int) -> int:
        """With at most an eighth more, or the next multiple of the grain."""
        count = int(count * (1 + room))
        grain = max(grain, 1 << max(0, count.bit_length() - 4))
        return -(-count // grain) * grain

    dtypes = [np.min_scalar_type(int(column.max())).str for column in codes.T]
    return Shapes(
        tuple((with_room(n, 64), dtype) for n, dtype in zip(nodes, dtypes, strict=True)),
        with_room(len(codes), 64),
        tuple(with_room(n, 4) for n in widest),
    )


def _lexicographic_order(codes: np.ndarray) -> np.ndarray:
    """int64 (N,): the rows of codes (N, L) in lexicographic order."""
    bits = [int(column.max()).bit_length() for column in codes.T]
    if sum(bits) > 63:
        return np.lexsort(codes.T[::-1])
    # One number for each tuple sorts several times faster than one column after the other.
    packed = np.zeros(len(codes), np.int64)
    for column, width in zip(codes.T, bits, strict=True):
        packed <<= width
        packed |= column
    return np.argsort(packed)


def _padded(values: np.ndarray, fill: int, size: int, dtype: str = "<i4") -> np.ndarray:
    """The values and `fill` behind them; ValueError where there is no room for them."""
    if len(values) > size or values.max() > np.iinfo(dtype).max:
        raise ValueError("there is no room for so many items")
    padded = np.full(size, fill, dtype)
    padded[: len(values)] = values
    return padded
