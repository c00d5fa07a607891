"""How the semantic IDs of a catalogue are spelt: the arrays of their prefix trie, made with NumPy.

Sort the code tuples. The distinct prefixes of each length, in that order, are the nodes of a level;
a node's children stand next to each other one level below, so a child's number is at once its place
in the level's arrays, and a leaf's number is the rank of its tuple (a CSR layout).

Lengths and fan-outs are rounded up, so that a catalogue that changes a little is searched by the
function that was compiled for it before.

Array shapes: N items, L levels, E_l at least the nodes of level l, D width of a vector.
"""

from dataclasses import dataclass

import numpy as np

RARELY = 1e-6
"""How much an item that training never saw counts in a mean, where others count 1."""


@dataclass(frozen=True)
class Shapes:
    """How large the arrays of a trie are.

    Attributes:
        codes: for each level, E_l and the type of its codes.
        items: length of the table from items to leaves.
        fan_out: for each level, at least the number of children that any node above it has.
    """

    codes: tuple[tuple[int, str], ...]
    items: int
    fan_out: tuple[int, ...]


@dataclass(frozen=True)
class Spelling:
    """The arrays of a trie.

    Attributes:
        codes: for each level uint8 (E_l,), or a wider type where a codebook needs it: the last code
            of every node.
        children: for each level int32 (E_l-1 + 1,), where the children of each node one level above
            begin among this level's nodes; level 0 has the root above it. Nodes that are only
            there to round up have no children and are nobody's.
        item: int32 (E_L-1,), the item that a leaf spells; -1 where there is none.
        leaf: int32 (at least N,), the leaf that spells an item; E_L-1 where the item is left out or
            there is none.
        fan_out: see `Shapes`.
    """

    codes: tuple[np.ndarray, ...]
    children: tuple[np.ndarray, ...]
    item: np.ndarray
    leaf: np.ndarray
    fan_out: tuple[int, ...]

    @property
    def shapes(self) -> Shapes:
        sizes = tuple((len(codes), codes.dtype.str) for codes in self.codes)
        return Shapes(sizes, len(self.leaf), self.fan_out)


def spell(
    codes: np.ndarray,
    items: np.ndarray | None = None,
    like: Shapes | None = None,
    *,
    room: float = 0.0,
) -> Spelling:
    """The trie of int (N, L) codes, one row for each item.

    Args:
        items: the items to spell, by index; the others are left out. Without it, all are.
        like: shapes to keep; what was compiled for them serves this trie too.
        room: without `like`, the share of items that shall have room beside those that there are.

    Raises:
        ValueError: there is no item, two items have the same codes, or they do not fit in `like`.
    """
    if codes.ndim != 2 or 0 in codes.shape:
        raise ValueError(f"a trie needs codes of shape (items, levels), got {codes.shape}")
    count, levels = codes.shape
    rows = np.arange(count) if items is None else np.unique(items)
    if len(rows) == 0:
        raise ValueError("a trie needs at least one item")
    item = rows[_order(codes if items is None else codes[rows])]
    fresh = np.zeros(len(item), bool)  # the row is the first with its prefix
    fresh[0] = True
    node_above = np.zeros(len(item), np.int32)
    columns, counts = [], []
    for level in range(levels):
        column = np.ascontiguousarray(codes[item, level])
        fresh[1:] |= column[1:] != column[:-1]
        columns.append(column[fresh])
        counts.append(np.bincount(node_above[fresh]))
        node_above = np.cumsum(fresh, dtype=np.int32) - 1
    if not fresh.all():
        again = int(np.flatnonzero(~fresh)[0])
        first, second = sorted(item[again - 1 : again + 1].tolist())
        raise ValueError(f"items {first} and {second} have the same codes")
    widest = tuple(int(each.max()) for each in counts)
    if like is None:
        like = _shapes(codes, [len(column) for column in columns], widest, room)
    if count > like.items or any(n > most for n, most in zip(widest, like.fan_out, strict=True)):
        raise ValueError("there is no room for so many items")
    level_codes = tuple(
        _padded(column, 0, size, kind)
        for column, (size, kind) in zip(columns, like.codes, strict=True)
    )
    children = tuple(
        _padded(np.cumsum(each) - each, int(each.sum()), above + 1)
        for each, above in zip(counts, (1, *(size for size, _ in like.codes)), strict=False)
    )
    leaves = like.codes[-1][0]
    leaf = np.full(like.items, leaves, np.int32)
    leaf[item] = np.arange(len(item))
    return Spelling(level_codes, children, _padded(item, -1, leaves), leaf, like.fan_out)


def means_below(
    spelling: Spelling, vectors: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, ...]:
    """For each level but the first, float32 (E_l, D): the mean vector of the items below each node.

    Args:
        vectors: float32 (N, D), of the items.
        weights: float32 (N,), how much each item counts, above 0; None counts all alike.
    """
    there = spelling.item >= 0
    weight = np.where(there, 1.0 if weights is None else weights[spelling.item], 0.0)
    weight = weight.astype(np.float32)
    total, means = weight[:, None] * vectors[spelling.item], []
    for level in range(len(spelling.codes) - 1, 0, -1):
        means.append(total / np.where(weight > 0, weight, np.float32(1))[:, None])
        begin = spelling.children[level]
        nodes = int(np.searchsorted(begin, begin[-1]))  # those that have children
        above = len(spelling.codes[level - 1])
        total, weight = (_sums(each, begin[:nodes], above) for each in (total, weight))
    return tuple(reversed(means))


def nodes_in(whole: Spelling, part: Spelling) -> tuple[np.ndarray, ...]:
    """For each level, which node of `whole` each node of `part` is: a trie of fewer items."""
    found = []
    for level in range(len(part.codes)):
        first = np.arange(len(part.codes[level]))
        for children in part.children[level + 1 :]:
            first = children[first]
        node = whole.leaf[np.maximum(part.item[np.minimum(first, len(part.item) - 1)], 0)]
        for children in reversed(whole.children[level + 1 :]):
            node = np.searchsorted(children, node, side="right") - 1
        found.append(node)
    return tuple(found)


def _sums(values: np.ndarray, begin: np.ndarray, length: int) -> np.ndarray:
    """The sum of the rows of each run, the last one to the end, and nought behind them."""
    found = np.zeros((length, *values.shape[1:]), values.dtype)
    found[: len(begin)] = np.add.reduceat(values, begin)
    return found


def _shapes(codes: np.ndarray, nodes: list[int], widest: tuple[int, ...], room: float) -> Shapes:
    def with_room(count: int, grain: int) -> int:
        return _round_up(int(count * (1 + room)), grain)

    kinds = [np.min_scalar_type(int(column.max())).str for column in codes.T]
    return Shapes(
        tuple((with_room(n, 64), kind) for n, kind in zip(nodes, kinds, strict=True)),
        with_room(len(codes), 64),
        tuple(with_room(n, 4) for n in widest),
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


def _padded(values: np.ndarray, fill: int, size: int, kind: str = "<i4") -> np.ndarray:
    """The values and `fill` behind them; ValueError where there is no room for them."""
    if len(values) > size or values.max() > np.iinfo(kind).max:
        raise ValueError("there is no room for so many items")
    padded = np.full(size, fill, kind)
    padded[: len(values)] = values
    return padded
