"""Distillation: the dense head's distribution over items, code by code, as the decoder's target.

In the trie of all codes, the items with a given prefix are leaves next to each other. So the
running sum of the dense head's probabilities over the leaves gives, for any prefix, the exact share
of every code that may come next: a soft target for the decoder that is as good as the head.

Array shapes: B rows, Q targets, P leaves of the trie, R children of a node.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genrec.semantic_ids.trie import Children, Trie, children_of, leaves_below, path_to

_BLOCK = 64


def next_code_shares(
    scores: Float[Array, "B Q P"], leaves: Int[Array, "B Q"], trie: Trie, levels: int
) -> list[tuple[Children, Float[Array, "B Q R"]]]:
    """For the first `levels` levels, the probability of every code that may come next.

    Args:
        scores: the dense head's logits of the trie's leaves; -inf for a leaf without an item.
        leaves: the targets, whose prefixes are followed.

    Returns:
        For each level the children of the target's node above it, and the share of each; 0 where
        there is none.
    """
    sums = _running_sums(jax.nn.softmax(scores))
    sums = jnp.pad(sums, ((0, 0), (0, 0), (1, 0)))
    shares = []
    for level, (parent, _) in enumerate(path_to(trie, leaves)[:levels]):
        children = children_of(trie, level, parent)
        begin, end = leaves_below(trie, level, children.node)
        upto, before = (jnp.take_along_axis(sums, x, axis=-1, mode="clip") for x in (end, begin))
        mass = jnp.where(children.valid, jnp.maximum(upto - before, 0.0), 0.0)
        # Rounding may leave nothing of a prefix that the head finds next to impossible.
        shares.append((children, mass / jnp.maximum(mass.sum(-1, keepdims=True), 1e-12)))
    return shares


def _running_sums(values: Float[Array, "B Q P"]) -> Float[Array, "B Q P"]:
    """Cumulative sums along the last axis.

    Within blocks by a product with a triangle of ones, which a CPU does in half the time of
    `jnp.cumsum`.
    """
    count = values.shape[-1]
    blocks = jnp.pad(values, ((0, 0), (0, 0), (0, -count % _BLOCK)))
    blocks = blocks.reshape(*values.shape[:2], -1, _BLOCK)
    within = blocks @ jnp.triu(jnp.ones((_BLOCK, _BLOCK), values.dtype))
    before = jnp.cumsum(within[..., -1], axis=-1) - within[..., -1]
    return (within + before[..., None]).reshape(*values.shape[:2], -1)[..., :count]
