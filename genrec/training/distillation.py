"""Teaching the decoder what the dense head knows: its distribution over items, code by code.

With the items in the order of their codes, all items with a given prefix stand next to each other.
So the running sum of the dense head's probabilities gives, for any prefix, the exact share of every
code that may come next: a soft target for the decoder that is as good as the head.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


class CodeOrder(NamedTuple):
    """The N items in the order of their codes, and where every prefix's continuations begin.

    Attributes:
        items: int32 (N,), item indices in the order of their codes.
        rank: int32 (N,), the place of an item in that order.
        prefix: for each level int32 (N,), the number of an item's prefix before that level.
        begins: for each level int32 (prefixes, K + 1), the rank at which the items with a prefix
            and each code of the level begin; the last entry is where those with the prefix end.
    """

    items: np.ndarray | jax.Array
    rank: np.ndarray | jax.Array
    prefix: tuple[np.ndarray | jax.Array, ...]
    begins: tuple[np.ndarray | jax.Array, ...]


def order_by_codes(codes: np.ndarray, codebook_sizes: list[int]) -> CodeOrder:
    """The order of int (N, L) codes, of which no two rows are the same."""
    items = np.lexsort(codes.T[::-1]).astype(np.int32)
    rank = np.empty_like(items)
    rank[items] = np.arange(len(items), dtype=np.int32)
    number = np.zeros(len(items), np.int64)  # of each prefix, in the sorted order
    prefixes, begins = [], []
    for level, size in enumerate(codebook_sizes):
        prefixes.append(number[rank].astype(np.int32))
        key = number * size + codes[items, level]
        wanted = np.arange(number[-1] + 1)[:, None] * size + np.arange(size + 1)
        begins.append(np.searchsorted(key, wanted).astype(np.int32))
        number = np.cumsum(np.diff(key, prepend=key[:1]) != 0)
    return CodeOrder(items, rank, tuple(prefixes), tuple(begins))


def next_code_shares(
    scores: Float[Array, "R Q N"], targets: Int[Array, "R Q"], order: CodeOrder
) -> list[Float[Array, "R Q K"]]:
    """For each level, the probability of every code after the target's codes before that level.

    Args:
        scores: the dense head's logits of the items in the order of their codes.
        targets: the items whose prefixes are followed.
    """
    sums = jnp.cumsum(jax.nn.softmax(scores), axis=-1)
    sums = jnp.pad(sums, ((0, 0), (0, 0), (1, 0)))
    shares = []
    for prefix, begins in zip(order.prefix, order.begins, strict=True):
        edges = jnp.asarray(begins)[jnp.asarray(prefix)[targets]]
        mass = jnp.maximum(jnp.diff(jnp.take_along_axis(sums, edges, axis=-1)), 0.0)
        # Rounding may leave nothing of a prefix that the head finds next to impossible.
        shares.append(mass / jnp.maximum(mass.sum(-1, keepdims=True), 1e-12))
    return shares
