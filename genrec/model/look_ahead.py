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

from genrec.model.repeat_bias import Had, repeated_share
from genrec.semantic_ids.device_trie import Children, Trie, children_of, parents

Means = tuple[Float[Array, "_ D"], ...]
"""What `means_below` returns: by level from the second on, a vector for every node."""


class Ahead(NamedTuple):
    """The R codes that may come next, for each of Q queries.

    Attributes:
        code: which they are.
        there: which of the R there are.
        vectors: the mean vector of the items that each leads to.
        repeated: the share of them that is in the query's history; None where nobody asks.
    """

    code: Int[Array, "B Q R"]
    there: Bool[Array, "B Q R"]
    vectors: Float[Array, "B Q R D"]
    repeated: Float[Array, "B Q R"] | None = None


def ahead_of(
    trie: Trie, level: int, children: Children, means: Means, had: Had | None = None
) -> Ahead:
    """What the decoder is to see of nodes' children, at a level from the second on.

    `had` is the histories' items, for a model that learns of repeats.
    """
    vectors = means[level - 1].at[children.node].get(mode="clip")
    repeated = None if had is None else repeated_share(trie, level, children, had)
    return Ahead(children.code, children.there, vectors, repeated)


def ahead_on_the_way(
    trie: Trie, means: Means, leaves: Int[Array, "B Q"], levels: int, had: Had | None = None
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
        ahead.append(ahead_of(trie, level, children, means, had))
        chosen.append(node - children.node[..., 0])
    return ahead, chosen
