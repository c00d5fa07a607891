"""Beam search that can only spell items that exist.

Array shapes: B histories, T positions, D width, M beams, R children of a node, X excluded items.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from genrec.decoding.trie import Trie, exhausted_nodes
from genrec.model import EncoderDecoder


def beam_search(
    model: EncoderDecoder,
    trie: Trie,
    states: Float[Array, "B T D"],
    readable: Bool[Array, "B T"],
    excluded: Int[Array, "B X"],
    *,
    beam: int,
) -> tuple[Int[Array, "B M"], Float[Array, "B M"]]:
    """The items whose codes the model finds most probable after each history, best first.

    Every step ranks only codes that lead to an item which is not excluded. So the result holds
    `beam` items, or all that are left where there are fewer, and none of them twice. Codes of the
    same score are ranked in the order of the sorted code tuples.

    Args:
        states: what the encoder says at every position; the search goes on from the last one.
        readable: the positions that hold an item.
        excluded: item indices that must not come out; entries below 0 exclude nothing.
        beam: beam width, the number of prefixes kept at every level.

    Returns:
        Item indices, -1 where no item is left; and their scores, the float32 sum of the codes'
        log-probabilities (natural logarithm, normalised over all codes of a level).
    """
    memory = model.remember(states)
    exhausted = exhausted_nodes(trie, excluded)
    node = jnp.zeros((len(states), 1), jnp.int32)
    score = jnp.zeros((len(states), 1), jnp.float32)
    previous, past = None, []
    for level in range(trie.levels):
        queries = node.shape[1]
        state = jnp.repeat(states[:, -1:], queries, axis=1)
        mask = jnp.repeat(readable[:, None], queries, axis=1)
        logits, present = model.decode_level(level, previous, state, past, memory, mask)
        past.append(present)
        log_probability = jax.nn.log_softmax(logits.astype(jnp.float32))

        child, code, allowed = _children(trie, level, node, exhausted[level])
        gained = jnp.take_along_axis(log_probability, code, axis=2)
        total = jnp.where(allowed, score[:, :, None] + gained, -jnp.inf).reshape(len(states), -1)
        score, chosen = jax.lax.top_k(total, min(beam, total.shape[1]))

        node = jnp.take_along_axis(child.reshape(total.shape), chosen, axis=1)
        previous = jnp.take_along_axis(code.reshape(total.shape), chosen, axis=1)
        origin = chosen // trie.fan_out[level]
        past = jax.tree.map(
            lambda x, origin=origin: jnp.take_along_axis(x, origin[:, :, None], axis=1), past
        )
        # A beam without a code to go on with must not come back to life one level below.
        node = jnp.where(jnp.isneginf(score), -1, node)
    item = jnp.where(node >= 0, trie.item[jnp.maximum(node, 0)], -1)
    return item, score


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
