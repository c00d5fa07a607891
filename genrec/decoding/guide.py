"""The guide of a search: what speaks for the items below each node of the trie.

Array shapes: B histories, M beam width, R children of a node, L levels, N items, P_l nodes of a
level.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from genrec.model import Encoded, EncoderDecoder
from genrec.model.look_ahead import Means, candidates_on_path
from genrec.semantic_ids.trie import Children, Trie, children_of, path_to, sums_below

_LEAST = 1e-30
"""Of a probability, so that it has a logarithm."""


class Guide(NamedTuple):
    """What speaks for the items below each node of a trie, to weigh beside the decoder's logits.

    Attributes:
        log_mass: for each level of the trie float32 (B, P_l), see `log_masses`.
        own: float32, what each level's logits count; 0 where the decoder has none.
        other: float32, for each level what the logarithms count.
    """

    log_mass: tuple[Float[Array, "B _"], ...]
    own: Float[Array, " levels"]
    other: Float[Array, " levels"]


def log_masses(trie: Trie, log_p: Float[Array, "B N"]) -> tuple[Float[Array, "B _"], ...]:
    """For each level float32 (B, P_l): the log of the probability of all items below each node.

    Args:
        log_p: of all items, -inf for those that are not to be found.
    """
    there = trie.item >= 0
    mass = jnp.where(there, jnp.exp(log_p)[:, jnp.maximum(trie.item, 0)], 0.0).T
    return tuple(jnp.log(jnp.maximum(x, _LEAST)).T for x in sums_below(trie, mass))


class GuidedLevel(NamedTuple):
    """What a guide adds to the logits of the codes that may come next, and what those count."""

    own: Float[Array, ""]
    added: Float[Array, "B M R"]
    valid: Bool[Array, "B M R"]

    def log_probabilities(self, logits: Float[Array, "B M R"]) -> Float[Array, "B M R"]:
        """Of the codes, with these logits of the decoder; those that there are sum to one."""
        log_p = jax.nn.log_softmax(
            jnp.where(self.valid, self.own * logits + self.added, -jnp.inf), axis=2
        )
        return jnp.where(self.valid, log_p, -jnp.inf)


def guided_level(guide: Guide, level: int, children: Children) -> GuidedLevel:
    """What a guide says of the children of the beams' nodes, at a level."""
    log_mass = guide.log_mass[level]
    row = jnp.arange(log_mass.shape[0])[:, None, None]
    added = guide.other[level] * log_mass.at[row, children.node].get(mode="clip")
    return GuidedLevel(guide.own[level], added, children.valid)


def guide_on_path(
    model: EncoderDecoder,
    encoded: Encoded,
    trie: Trie,
    items: Int[Array, " B"],
    codes: Int[Array, "B L"],
    log_mass: tuple[Float[Array, "B _"], ...],
    means: Means | None = None,
) -> list[tuple[Float[Array, "2 B R"], Int[Array, " B"], Bool[Array, "B R"]]]:
    """What a guided search would have to weigh on the way to one item for each history.

    Returns:
        For each level of the trie: the logits of the children of the node above the item (0 where
        the decoder has none), and their log masses; which child leads to the item; and which of the
        R children there are.
    """
    path = path_to(trie, trie.leaf[items][:, None])
    candidates = None
    if means is not None:
        leaves = trie.leaf[items][:, None]
        candidates, _ = candidates_on_path(
            trie, means, leaves, codes.shape[1], encoded.history_items
        )
    logits = model.decode(codes[:, None], encoded, candidates=candidates)
    row, levels = jnp.arange(items.shape[0])[:, None], []
    for level, (parent, node) in enumerate(path):
        children = children_of(trie, level, parent)
        own = jnp.zeros(children.code.shape)
        if level < len(logits):
            own = logits[level]
            if candidates is None or level == 0:
                own = jnp.take_along_axis(own, children.code, axis=2, mode="clip")
        mass = log_mass[level].at[row, children.node[:, 0]].get(mode="clip")
        valid = children.valid[:, 0]
        scores = jnp.where(valid[None], jnp.stack([own[:, 0], mass]), 0.0)
        levels.append((scores, (node - children.node[..., 0])[:, 0], valid))
    return levels
