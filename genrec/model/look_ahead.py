"""Looking ahead: the decoder sees which items a candidate code leads to.

A code's row in the output layer is the same whatever came before it, so the decoder can hardly tell
the few items apart that a prefix leaves. Looking ahead, it also compares its state with the mean
vector of the items that each next code leads to: the same vectors as the encoder reads and the
dense head scores. At a leaf that is the item's own; at the first level nothing is gained, for there
a code's row can say as much.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from genrec.model.repeat_bias import HistoryItems, share_in_history
from genrec.semantic_ids.trie import Children, Trie, children_of, path_to

Means = tuple[Float[Array, "_ D"], ...]
"""For each level but the first (P_l, D), a vector for every node, see `means_below`."""


class CandidateCodes(NamedTuple):
    """The R codes that may come next, for each of Q queries.

    Attributes:
        code: the codes.
        valid: which of the R there are; the others' entries mean nothing.
        vectors: the mean vector of the items that each code leads to.
        repeated_share: the share of those items that is in the query's history; None for a model
            without `repeats`.
    """

    code: Int[Array, "B Q R"]
    valid: Bool[Array, "B Q R"]
    vectors: Float[Array, "B Q R D"]
    repeated_share: Float[Array, "B Q R"] | None = None


def candidate_codes(
    trie: Trie,
    level: int,
    children: Children,
    means: Means,
    history_items: HistoryItems | None = None,
) -> CandidateCodes:
    """The codes of nodes' children (B, Q, R), at a level from the second on.

    `history_items` is needed by a model with `repeats`.
    """
    vectors = means[level - 1].at[children.node].get(mode="clip")
    share = history_items and share_in_history(trie, level, children, history_items)
    return CandidateCodes(children.code, children.valid, vectors, share)


def candidates_on_path(
    trie: Trie,
    means: Means,
    leaves: Int[Array, "B Q"],
    levels: int,
    history_items: HistoryItems | None = None,
) -> tuple[list[CandidateCodes | None], list[Int[Array, "B Q"]]]:
    """The candidate codes at each of the first `levels` levels on the way to given leaves.

    Returns:
        For each level the candidates, None at the first, where all codes are; and the position of
        the code that leads to the leaf among them, or at the first level among all codes.
    """
    candidates: list[CandidateCodes | None] = [None]
    path = path_to(trie, leaves)
    chosen = [trie.codes[0][path[0][1]].astype(jnp.int32)]
    for level, (parent, node) in list(enumerate(path))[1:levels]:
        children = children_of(trie, level, parent)
        candidates.append(candidate_codes(trie, level, children, means, history_items))
        chosen.append(node - children.node[..., 0])
    return candidates, chosen
