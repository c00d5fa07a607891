"""Teaching the decoder what the dense head knows: its distribution over items, code by code.

In the trie of all codes, the items with a given prefix are leaves next to each other. So the
running sum of the dense head's probabilities over the leaves gives, for any prefix, the exact share
of every code that may come next: a soft target for the decoder that is as good as the head.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genrec.model.trie import Children, Trie, children_of, leaves_below, parents


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
    sums = jnp.cumsum(jax.nn.softmax(scores), axis=-1)
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
