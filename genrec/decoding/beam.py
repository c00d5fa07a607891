"""Beam search that can only spell items that exist, and one that may spell anything.

Array shapes: B histories, M beams, R children of a node, X excluded items.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from genrec.decoding.trie import Trie, exhausted_nodes
from genrec.model import Encoded, EncoderDecoder


def beam_search(
    model: EncoderDecoder,
    trie: Trie,
    encoded: Encoded,
    excluded: Int[Array, "B X"],
    *,
    beam: int,
) -> tuple[Int[Array, "B M"], Float[Array, "B M"]]:
    """The items whose codes the model finds most probable after each history, best first.

    Every step ranks only codes that lead to an item which is not excluded. So the result holds
    `beam` items, or all that are left where there are fewer, and none of them twice. Codes of the
    same score are ranked in the order of the sorted code tuples.

    Args:
        encoded: histories, read with one query each.
        excluded: item indices that must not come out; entries below 0 exclude nothing.
        beam: beam width, the number of prefixes kept at every level.

    Returns:
        Item indices, -1 where no item is left; and their scores, the float32 sum of the codes'
        log-probabilities (natural logarithm, normalised over all codes of a level).
    """
    exhausted = exhausted_nodes(trie, excluded)
    search = _Search(model, encoded, beam)
    node = jnp.zeros((len(excluded), 1), jnp.int32)
    for level in range(trie.levels):
        child, code, allowed = _children(trie, level, node, exhausted[level])
        chosen = search.advance(code, allowed)
        # A beam without a code to go on with must not come back to life one level below.
        child = jnp.take_along_axis(child.reshape(len(child), -1), chosen, axis=1)
        node = jnp.where(jnp.isneginf(search.score), -1, child)
    return jnp.where(node >= 0, trie.item[jnp.maximum(node, 0)], -1), search.score


def unconstrained_beam_search(
    model: EncoderDecoder,
    codebook_sizes: tuple[int, ...],
    encoded: Encoded,
    *,
    beam: int,
) -> tuple[Int[Array, "B M L"], Float[Array, "B M"]]:
    """The tuples of codes that the model finds most probable, whether an item has them or not.

    Arguments and scores are those of `beam_search`; a `Resolver` finds items for the tuples.
    """
    search = _Search(model, encoded, beam)
    for size in codebook_sizes:
        every = jnp.arange(size, dtype=jnp.int32)[None, None]
        code = jnp.broadcast_to(every, (*search.score.shape, size))
        search.advance(code, jnp.ones(code.shape, bool))
    return jnp.stack(search.codes, axis=-1), search.score


class _Search:
    """The beams of a search that goes down the levels, within one traced call.

    Attributes:
        score: float32 (B, M), the sum of the log-probabilities of each beam's codes.
        codes: for each level so far int32 (B, M), each beam's code.
    """

    def __init__(self, model: EncoderDecoder, encoded: Encoded, beam: int):
        self._model, self._encoded, self._beam = model, encoded, beam
        self._memory = model.remember(encoded.states)
        self._past: list = []
        self.score = jnp.zeros((len(encoded.states), 1), jnp.float32)
        self.codes: list[Int[Array, "B M"]] = []

    def advance(
        self, code: Int[Array, "B M R"], allowed: Bool[Array, "B M R"]
    ) -> Int[Array, "B _"]:
        """Goes down one level, with the best of the allowed codes of all beams.

        Returns:
            Which of the candidates were chosen, as positions among all beams' in turn.
        """
        batch, queries, width = code.shape
        start = self._encoded.start
        logits, present = self._model.decode_level(
            len(self.codes),
            self.codes[-1] if self.codes else None,
            start if start is None else jnp.repeat(start, queries, axis=1),
            self._past,
            self._memory,
            jnp.repeat(self._encoded.mask, queries, axis=1),
        )
        gained = jnp.take_along_axis(jax.nn.log_softmax(logits.astype(jnp.float32)), code, axis=2)
        total = jnp.where(allowed, self.score[:, :, None] + gained, -jnp.inf).reshape(batch, -1)
        self.score, chosen = jax.lax.top_k(total, min(self._beam, total.shape[1]))

        origin = chosen // width
        self._past = jax.tree.map(
            lambda x: jnp.take_along_axis(x, origin[:, :, None], axis=1), [*self._past, present]
        )
        earlier = [jnp.take_along_axis(codes, origin, axis=1) for codes in self.codes]
        self.codes = [*earlier, jnp.take_along_axis(code.reshape(batch, -1), chosen, axis=1)]
        return chosen


def _children(
    trie: Trie, level: int, node: Int[Array, "B M"], exhausted: tuple[Array, Array]
) -> tuple[Int[Array, "B M R"], Int[Array, "B M R"], Bool[Array, "B M R"]]:
    """Every child of every beam's node: its number, its code, and whether it may be chosen."""
    begin = trie.children[level][jnp.maximum(node, 0)]
    end = trie.children[level][jnp.maximum(node, 0) + 1]
    child = begin[:, :, None] + jnp.arange(trie.fan_out[level])[None, None]
    allowed = (child < end[:, :, None]) & (node >= 0)[:, :, None]
    code = trie.codes[level][jnp.minimum(child, trie.codes[level].shape[0] - 1)]

    # Beams hold distinct nodes, so an exhausted child belongs to one beam at most.
    parent, which = exhausted
    of_beam = (node[:, :, None] == parent[:, None, :]) & (parent >= 0)[:, None, :]
    beam = jnp.where(of_beam.any(1), of_beam.argmax(1), node.shape[1])
    batch = jnp.arange(node.shape[0])[:, None]
    return child, code, allowed.at[batch, beam, which].set(False, mode="drop")
