"""Experts: what speaks for an item after a history, learned or looked up.

The decoder and the dense head are learned. All others look up: what followed the history's items in
training, what is had together with them, what is like them, what is popular, what was had. Each
gives every item a score; how much each counts is fitted, see `decoding.fusion`. To add one, write a
function of `Memory` and `RecentItems` and name it in `LOOKUPS`.

Array shapes: B histories, T slots of a history, N items, C width of content, F experts.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from genrec.graph import KINDS, ItemGraph
from genrec.sequences.histories import Histories
from genrec.sequences.inputs import Inputs

Scores = Float[Array, "F B N"]
_FADING, _CONTENT_FADING, _CONTENT_ITEMS = 0.5, 0.6, 5
"""What an item of the history counts for every one that came after it; what its content does, and
of how many last items."""
_FOLLOWED = 32
"""Last items of a history whose neighbours count: of those before them next to nothing is left."""


class RecentItems(NamedTuple):
    """The items of histories.

    Attributes:
        items: int32 (B, T).
        age: int32 (B, T), how many items of the history came after it; -1 for an empty slot.
    """

    items: np.ndarray | Int[Array, "B T"]
    age: np.ndarray | Int[Array, "B T"]


class Memory(NamedTuple):
    """What is looked up of N items; a pytree.

    Attributes:
        graph: the item graph.
        content: float (N, C), rows of unit norm, or zero for items of which nothing is known.
        popularity: float32 (N,), log(1 + training interactions).
    """

    graph: ItemGraph
    content: np.ndarray | Float[Array, "N C"]
    popularity: np.ndarray | Float[Array, " N"]


def recent_items(histories: Histories, slots: int) -> RecentItems:
    """The last T items of each history, T being `slots`, the last one first."""
    age = np.arange(slots)
    there = age < histories.lengths[:, None]
    position = np.where(there, histories.stops[:, None] - 1 - age, 0)
    return RecentItems(
        np.where(there, histories.items[position], 0).astype(np.int32),
        np.where(there, age, -1).astype(np.int32),
    )


def items_read(inputs: Inputs) -> RecentItems:
    """The items of rows that hold one history each."""
    there = jnp.asarray(inputs.segments) >= 0
    age = there.sum(axis=1, keepdims=True) - 1 - jnp.arange(there.shape[1])[None]
    return RecentItems(jnp.asarray(inputs.items), jnp.where(there, age, -1))


def neighbours(memory: Memory, recent: RecentItems) -> Float[Array, "B N K"]:
    """For each kind of edge the weights of those from the items of the history, halved for every
    later item."""
    graph = memory.graph
    order = jnp.argsort(jnp.where(recent.age < 0, jnp.iinfo(jnp.int32).max, recent.age), axis=1)
    last, age = (jnp.take_along_axis(jnp.asarray(x), order, axis=1)[:, :_FOLLOWED] for x in recent)
    scores = jnp.zeros((age.shape[0], len(memory.content), len(KINDS)), jnp.float32)
    if graph.most == 0:
        return scores
    begins, items, weights = (jnp.asarray(x) for x in (graph.begins, graph.items, graph.weights))
    edge = begins[last][:, :, None] + jnp.arange(graph.most)[None, None]
    present = (edge < begins[1:][last][:, :, None]) & (age >= 0)[:, :, None]
    fading = jnp.where(present, (_FADING ** age.astype(jnp.float32))[:, :, None], 0.0)
    edge = jnp.minimum(edge, len(items) - 1)
    row = jnp.arange(age.shape[0])[:, None, None]
    return scores.at[row, items[edge]].add(fading[..., None] * weights[edge])


def recent_content(memory: Memory, recent: RecentItems) -> Float[Array, "B N"]:
    """The cosine with the mean of the content of the last items, of which later ones count more."""
    age = jnp.asarray(recent.age)
    counts = (age >= 0) & (age < _CONTENT_ITEMS)
    return _cosines(
        memory, recent, jnp.where(counts, _CONTENT_FADING ** age.astype(jnp.float32), 0.0)
    )


def whole_content(memory: Memory, recent: RecentItems) -> Float[Array, "B N"]:
    """The cosine with the mean of the content of all items of the history."""
    return _cosines(memory, recent, (jnp.asarray(recent.age) >= 0).astype(jnp.float32))


def popularity(memory: Memory, recent: RecentItems) -> Float[Array, "B N"]:
    """log(1 + training interactions), whatever the history."""
    count = jnp.asarray(memory.popularity)
    return jnp.broadcast_to(count[None], (recent.age.shape[0], len(count)))


def had(memory: Memory, recent: RecentItems) -> Float[Array, "B N"]:
    """1 for the items of the history."""
    age, count = jnp.asarray(recent.age), len(memory.content)
    row = jnp.arange(age.shape[0])[:, None]
    scores = jnp.zeros((age.shape[0], count), jnp.float32)
    return scores.at[row, jnp.where(age >= 0, recent.items, count)].set(1.0, mode="drop")


LOOKUPS = {
    "recent_content": recent_content,
    "whole_content": whole_content,
    "popularity": popularity,
    "had": had,
}
"""The experts that look up, beside those of the graph's edges, by name."""
LOOKED_UP = (*KINDS, *LOOKUPS)
"""The names of all that look up, in the order of `lookups`."""


@jax.jit
def lookups(memory: Memory, recent: RecentItems) -> Scores:
    """What each expert that looks up gives each item after each history."""
    edges = jnp.moveaxis(neighbours(memory, recent), 2, 0)
    others = jnp.stack([expert(memory, recent) for expert in LOOKUPS.values()])
    return jnp.concatenate([edges, others])


def _cosines(
    memory: Memory, recent: RecentItems, share: Float[Array, "B T"]
) -> Float[Array, "B N"]:
    content = jnp.asarray(memory.content)
    mean = jnp.einsum("bt,btc->bc", share, content[recent.items].astype(jnp.float32))
    mean = mean / jnp.maximum(jnp.linalg.norm(mean, axis=1, keepdims=True), 1e-6)
    return jnp.matmul(mean.astype(content.dtype), content.T, preferred_element_type=jnp.float32)
