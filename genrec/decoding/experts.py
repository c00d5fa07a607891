"""Experts: what speaks for an item beside the model, and was not learned but looked up.

Each gives all items a score after a history: what followed its items in training, whose content is
like theirs, and what it holds already. How much each counts is fitted, see `fit_weights`.

Array shapes: B histories, T slots of a history, N items, C width of content, F experts.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from genrec.graph import Neighbours, transition_graph
from genrec.semantic_ids.item_features import directions
from genrec.sequences.histories import Histories

EXPERTS = ("transitions", "content", "had")
"""Their names, in the order of their scores."""
Scores = Float[Array, "F B N"]
_FADING, _CONTENT_FADING, _CONTENT_ITEMS = 0.5, 0.6, 5
"""What an item of the history counts for every one that came after it; what its content does, and
of how many last items."""
_FOLLOWED = 32
"""Last items of a history whose followers count: of those before them next to nothing is left."""


class RecentItems(NamedTuple):
    """The items of histories, the last one first.

    Attributes:
        items: int32 (B, T).
        age: int32 (B, T), how many items of the history came after it; -1 for an empty slot.
    """

    items: np.ndarray | Int[Array, "B T"]
    age: np.ndarray | Int[Array, "B T"]


class Memory(NamedTuple):
    """What the experts look things up in; a pytree.

    Attributes:
        transitions: what followed each of the N items in training.
        content: float32 (N, C), rows of unit norm, or zero for items of which nothing is known.
    """

    transitions: Neighbours
    content: np.ndarray | Float[Array, "N C"]


def remember(training: Histories, vectors: np.ndarray) -> Memory:
    """What can be looked up of N items.

    Args:
        training: the part of the histories that training may see.
        vectors: float (N, C), of the items' content.
    """
    content = directions(vectors, vectors.mean(axis=0))
    return Memory(transition_graph(training, len(vectors)), content)


def recent_items(histories: Histories, slots: int) -> RecentItems:
    """The last T items of each history, T being `slots`."""
    age = np.arange(slots)
    there = age < histories.lengths[:, None]
    position = np.where(there, histories.stops[:, None] - 1 - age, 0)
    return RecentItems(
        np.where(there, histories.items[position], 0).astype(np.int32),
        np.where(there, age, -1).astype(np.int32),
    )


@jax.jit
def expert_scores(memory: Memory, recent: RecentItems) -> Scores:
    """What each expert gives each item after each history."""
    return jnp.stack([expert(memory, recent) for expert in (followers, likeness, had)])


def followers(memory: Memory, recent: RecentItems) -> Float[Array, "B N"]:
    """The weights of the edges from the items of the history, halved for every later item."""
    graph = memory.transitions
    last, age = (jnp.asarray(x)[:, :_FOLLOWED] for x in recent)
    scores = jnp.zeros((len(age), len(memory.content)), jnp.float32)
    if graph.most == 0:
        return scores
    edge = graph.begins[last][:, :, None] + jnp.arange(graph.most)[None, None]
    present = (edge < graph.begins[1:][last][:, :, None]) & (age >= 0)[:, :, None]
    weight = graph.weights[edge] * (_FADING**age)[:, :, None]
    row = jnp.arange(len(age))[:, None, None]
    return scores.at[row, graph.items[edge]].add(jnp.where(present, weight, 0.0))


def likeness(memory: Memory, recent: RecentItems) -> Float[Array, "B N"]:
    """The cosine with the mean of the content of the last items, of which later ones count more."""
    age, content = jnp.asarray(recent.age), jnp.asarray(memory.content)
    share = jnp.where((age >= 0) & (age < _CONTENT_ITEMS), _CONTENT_FADING**age, 0.0)
    mean = jnp.einsum("bt,btc->bc", share, content[recent.items])
    mean = mean / jnp.maximum(jnp.linalg.norm(mean, axis=1, keepdims=True), 1e-6)
    return mean @ content.T


def had(memory: Memory, recent: RecentItems) -> Float[Array, "B N"]:
    """1 for the items of the history."""
    age, count = jnp.asarray(recent.age), len(memory.content)
    row = jnp.arange(len(age))[:, None]
    scores = jnp.zeros((len(age), count), jnp.float32)
    return scores.at[row, jnp.where(age >= 0, recent.items, count)].set(1.0, mode="drop")
