"""What the model learns of coming back: whether an item of the history is likely to come again.

Item vectors say what an item is, not that this user has had it. Where nobody buys a thing twice, a
model that compares its state with such vectors recommends what was just bought, and spends its
strength on learning not to. So the score of an item of the history gets a weight of its own, made
from the state; the score of a code gets it by the share of the items below that are in the history.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from genrec.semantic_ids.device_trie import Children, Trie, leaves_below, parents


class Had(NamedTuple):
    """The items that queries had.

    Attributes:
        items: those of each row, -1 where there is none or the same history had it before.
        mask: which of them are in the history of a query.
    """

    items: Int[Array, "B S"]
    mask: Bool[Array, "B Q S"]


def first_visits(items: Int[Array, "B T"], segments: Int[Array, "B T"]) -> Int[Array, "B T"]:
    """The item at each slot; -1 where there is none, or the same history had it before."""
    same = (items[:, :, None] == items[:, None, :]) & (segments[:, :, None] == segments[:, None, :])
    before = jnp.tril(jnp.ones((1, *same.shape[1:]), bool), -1)
    return jnp.where((same & before).any(axis=2) | (segments < 0), -1, items)


def with_repeats(
    scores: Float[Array, "B Q E"],
    weight: Float[Array, "B Q"],
    had: Had,
    column: Int[Array, "B S"],
) -> Float[Array, "B Q E"]:
    """Adds a query's weight to the scores of what it had; `column` is where these stand."""
    there = had.mask & (had.items >= 0)[:, None, :]
    row, query = (
        jnp.arange(scores.shape[0])[:, None, None],
        jnp.arange(scores.shape[1])[None, :, None],
    )
    more = jnp.where(there, weight[:, :, None], 0.0)
    return scores.at[row, query, column[:, None, :]].add(more, mode="drop")


def repeated_share(
    trie: Trie,
    level: int,
    children: Children,
    had: Had,
) -> Float[Array, "B Q R"]:
    """The share of the items below each child, of those that the trie spells, that a query had."""
    leaf = trie.leaf[jnp.maximum(had.items, 0)]
    node = parents(trie, leaf)[level][1]
    node = jnp.where((had.items >= 0) & (leaf < trie.item.shape[0]), node, -1)
    same = children.node[:, :, :, None] == node[:, None, None, :]
    count = (same & had.mask[:, :, None, :]).sum(axis=3)
    begin, end = leaves_below(trie, level, children.node)
    return jnp.where(children.there, count / jnp.maximum(end - begin, 1), 0.0)
