"""The repeat bias: whether an item of the history is likely to come again.

Item vectors say what an item is, not that this user has had it. Where nobody buys a thing twice, a
model that compares its state with such vectors recommends what was just bought, and spends its
strength on learning not to. So the score of an item of the history gets a bias of its own, made
from the state; the score of a code gets it by the share of the items below that are in the history.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from genrec.semantic_ids.trie import Children, Trie, leaves_below, path_to


class HistoryItems(NamedTuple):
    """The items in the histories of Q queries, each item once.

    Attributes:
        items: the items of each row, -1 where there is none or the same history has it before.
        mask: which of them are in the history of each query.
    """

    items: Int[Array, "B T"]
    mask: Bool[Array, "B Q T"]


def first_occurrences(items: Int[Array, "B T"], segments: Int[Array, "B T"]) -> Int[Array, "B T"]:
    """The item at each slot; -1 where there is none, or the same history has it before."""
    same = (items[:, :, None] == items[:, None, :]) & (segments[:, :, None] == segments[:, None, :])
    before = jnp.tril(jnp.ones((1, *same.shape[1:]), bool), -1)
    return jnp.where((same & before).any(axis=2) | (segments < 0), -1, items)


def add_repeat_bias(
    scores: Float[Array, "B Q V"],
    bias: Float[Array, "B Q"],
    history_items: HistoryItems,
    column: Int[Array, "B T"],
) -> Float[Array, "B Q V"]:
    """Adds each query's bias to the scores of the items of its history, whose columns are given."""
    valid = history_items.mask & (history_items.items >= 0)[:, None, :]
    row = jnp.arange(scores.shape[0])[:, None, None]
    query = jnp.arange(scores.shape[1])[None, :, None]
    more = jnp.where(valid, bias[:, :, None], 0.0)
    return scores.at[row, query, column[:, None, :]].add(more, mode="drop")


def share_in_history(
    trie: Trie, level: int, children: Children, history_items: HistoryItems
) -> Float[Array, "B Q R"]:
    """The share of the trie's items below each child that are in the query's history."""
    items = history_items.items
    leaf = trie.leaf[jnp.maximum(items, 0)]
    node = path_to(trie, leaf)[level][1]
    node = jnp.where((items >= 0) & (leaf < trie.item.shape[0]), node, -1)
    same = children.node[:, :, :, None] == node[:, None, None, :]
    count = (same & history_items.mask[:, :, None, :]).sum(axis=3)
    begin, end = leaves_below(trie, level, children.node)
    return jnp.where(children.valid, count / jnp.maximum(end - begin, 1), 0.0)
