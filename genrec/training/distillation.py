"""Teaching the decoder what the dense head knows: its distribution over items, code by code.

In the trie of all codes, the items with a given prefix are leaves next to each other. So the
running sum of the dense head's probabilities over the leaves gives, for any prefix, the exact share
of every code that may come next: a soft target for the decoder that is as good as the head.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genrec.semantic_ids.device_trie import Children, Trie, children_of, leaves_below, parents

_BLOCK = 64


def next_code_shares(
    scores: Float[Array, "R Q E"], leaves: Int[Array, "R Q"], trie: Trie, levels: int
) -> list[tuple[Children, Float[Array, "R Q C"]]]:
    """For the first `levels` levels, the probability of every code that may come next.

    Args:
        scores: the dense head's logits of the trie's leaves; -inf for one that spells no item.
        leaves: the targets, whose prefixes are followed.

    Returns:
        For each level the children of the target's node above it, and the share of each; 0 where
        there is none.
    """
    sums = _running_sums(jax.nn.softmax(scores))
    sums = jnp.pad(sums, ((0, 0), (0, 0), (1, 0)))
    found = []
    for level, (parent, _) in enumerate(parents(trie, leaves)[:levels]):
        children = children_of(trie, level, parent)
        begin, end = leaves_below(trie, level, children.node)
        upto, before = (jnp.take_along_axis(sums, x, axis=-1, mode="clip") for x in (end, begin))
        mass = jnp.where(children.there, jnp.maximum(upto - before, 0.0), 0.0)
        # Rounding may leave nothing of a prefix that the head finds next to impossible.
        found.append((children, mass / jnp.maximum(mass.sum(-1, keepdims=True), 1e-12)))
    return found


def _running_sums(values: Float[Array, "R Q E"]) -> Float[Array, "R Q E"]:
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
