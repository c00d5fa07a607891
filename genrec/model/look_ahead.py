"""What the decoder sees of the items that a code would lead to.

A code's row in the output layer is the same whatever came before it, so the decoder can hardly tell
the few items apart that a prefix leaves. Looking ahead, it also compares its state with the mean
vector of the items that each next code leads to: the same vectors as the encoder reads and the
dense head scores. At a leaf that is the item's own; at the first level nothing is gained, for there
a code's row can say as much.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from genrec.model.trie import Children, Trie, children_of, parents

Means = tuple[Float[Array, "_ D"], ...]
"""What `means_below` returns: by level from the second on, a vector for every node."""


class Ahead(NamedTuple):
    """The R codes that may come next, for each of Q queries.

    Attributes:
        code: which they are.
        there: which of the R there are.
        vectors: the mean vector of the items that each leads to.
    """

    code: Int[Array, "B Q R"]
    there: Bool[Array, "B Q R"]
    vectors: Float[Array, "B Q R D"]


def ahead_of(children: Children, means: Float[Array, "_ D"]) -> Ahead:
    """What the decoder is to see of nodes' children, with the means of all nodes of their level."""
    vectors = means.at[children.node].get(mode="clip")
    return Ahead(children.code, children.there, vectors)


def ahead_on_the_way(
    trie: Trie, means: Means, leaves: Int[Array, "B Q"], levels: int
) -> tuple[list[Ahead | None], list[Int[Array, "B Q"]]]:
    """What the decoder is to see at every level on its way to given leaves.

    Returns:
        For each level what lies ahead, None at the first; and which of the codes there, at the
        first level of all codes, leads to the leaf.
    """
    ahead: list[Ahead | None] = [None]
    way = parents(trie, leaves)
    chosen = [trie.codes[0][way[0][1]].astype(jnp.int32)]
    for level, (parent, node) in list(enumerate(way))[1:levels]:
        children = children_of(trie, level, parent)
        ahead.append(ahead_of(children, means[level - 1]))
        chosen.append(node - children.node[..., 0])
    return ahead, chosen
