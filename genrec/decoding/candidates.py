"""The candidates of a list, and what all experts say of them.

Array shapes: B histories, M beam width, V candidates, N items, F experts, D model width.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from genrec.decoding.beam import guided_beam_search, log_probabilities
from genrec.decoding.experts import Memory, Scores, items_read, lookups
from genrec.decoding.filters import Filters, permitted_items
from genrec.decoding.fusion import fused
from genrec.decoding.guide import Guide, log_masses
from genrec.model import Encoded, EncoderDecoder
from genrec.model.look_ahead import Means
from genrec.semantic_ids.trie import Trie
from genrec.sequences.inputs import Catalogue, Inputs

Lists = tuple[Int[Array, "B M"], Float[Array, "B M"]]
"""Item indices, best first, -1 where no item is left; and their scores, -inf there."""


class ExpertWeights(NamedTuple):
    """What every expert counts; fitted, see `decoding.fitting`. The experts of a model are `codes`,
    if it writes any, `dense_head`, if it has one, and `LOOKED_UP`, in this order.

    Attributes:
        retrieval: float32, of all but the codes: their sum ranks all items.
        own: float32, for each level of the trie what the decoder's logits count in a guided search.
        other: float32, for each level what the log masses of that ranking count.
        ranking: float32, of all: their sum ranks the candidates.
    """

    retrieval: np.ndarray | Float[Array, " _"]
    own: np.ndarray | Float[Array, " levels"]
    other: np.ndarray | Float[Array, " levels"]
    ranking: np.ndarray | Float[Array, " F"]


class Experts(NamedTuple):
    """Ranks by all that is learned and looked up.

    Attributes:
        vectors: (N, D), the model's vector of every item; None for a model without a dense head.
        count: int32 scalar, how many of them are items, see `dense_scores`.
    """

    memory: Memory
    weights: ExpertWeights
    vectors: Float[Array, "N D"] | None = None
    count: Int[Array, ""] | None = None


class Candidates(NamedTuple):
    """The items that a history's list is chosen from, and what the experts say of them.

    Attributes:
        items: -1 where there is none.
        scores: 0 there.
        log_reached: the log of the probability that the next item is among them, by the retrieval.
        codes: what the guided search alone found, best first; None for a model without codes.
    """

    items: Int[Array, "B V"]
    scores: Float[Array, "F B V"]
    log_reached: Float[Array, "B 1"]
    codes: Lists | None


def retrieval_scores(
    model: EncoderDecoder, encoded: Encoded, histories: Inputs, experts: Experts
) -> Scores:
    """What each expert but the codes gives each item after each history."""
    scores = lookups(experts.memory, items_read(histories))
    if experts.vectors is None:
        return scores
    dense = dense_scores(model, encoded, experts.vectors, experts.count)
    # Rows of no item are never permitted; 0 there, lest a weight of 0 makes it not a number.
    dense = jnp.where(jnp.isneginf(dense), 0.0, dense)
    return jnp.concatenate([dense[None], scores])


def candidates_of(
    model: EncoderDecoder,
    encoded: Encoded,
    trie: Trie,
    catalogue: Catalogue,
    filters: Filters,
    scores: Scores,
    weights: ExpertWeights,
    means: Means | None,
    *,
    beam: int,
) -> Candidates:
    """Those of the guided search and as many others of the retrieval, see `search`.

    `scores` are those of `retrieval_scores`.
    """
    permitted = permitted_items(filters, trie, scores.shape[2])
    log_p = log_preference(scores, jnp.asarray(weights.retrieval), permitted)
    (rows, count), codes, own = log_p.shape, None, None
    row, items = jnp.arange(rows)[:, None], jnp.zeros((rows, 0), jnp.int32)
    others = log_p
    if len(model.codes):
        guide = Guide(log_masses(trie, log_p), *map(jnp.asarray, weights[1:3]))
        items, guided, own = guided_beam_search(
            model, trie, encoded, filters, guide, beam=beam, means=means
        )
        codes = items, guided
        others = others.at[row, jnp.where(items >= 0, items, count)].set(-jnp.inf, mode="drop")
    preference, more = jax.lax.top_k(others, min(beam, count))
    none = jnp.isneginf(preference)
    every = jnp.concatenate([items, jnp.where(none, -1, more)], axis=1)
    at = jnp.maximum(every, 0)
    said = jnp.take_along_axis(scores, at[None], axis=2)
    if own is not None:
        wanted = jnp.asarray(catalogue.codes)[more]
        exact = log_probabilities(model, encoded, trie, more, wanted, means)
        said = jnp.concatenate([jnp.concatenate([own, exact], axis=1)[None], said])
    said = jnp.where((every >= 0)[None], said, 0.0)
    reached = jnp.where(every >= 0, jnp.take_along_axis(log_p, at, axis=1), -jnp.inf)
    return Candidates(every, said, jax.nn.logsumexp(reached, axis=1, keepdims=True), codes)


def log_preference(
    scores: Scores, weights: Float[Array, " _"], permitted: Bool[Array, "B N"]
) -> Float[Array, "B N"]:
    """The log-probability of every item by a weighted sum; -inf if it is not permitted."""
    log_p = jax.nn.log_softmax(jnp.where(permitted, fused(scores, weights), -jnp.inf))
    return jnp.where(permitted, log_p, -jnp.inf)


def dense_scores(
    model: EncoderDecoder,
    encoded: Encoded,
    vectors: Float[Array, "N D"],
    count: Int[Array, ""] | None = None,
) -> Float[Array, "B N"]:
    """The dense head's log-probability of every item after each history.

    `count` is how many of the vectors are those of items; the rows behind are padding.

    Raises ValueError where the model has no dense head.
    """
    if encoded.start is None:
        raise ValueError("a model with a bidirectional encoder has no dense head")
    scores = model.with_repeat_bias(model.score_vectors(encoded.start, vectors), encoded)
    scores = scores[:, 0]
    if count is not None:
        scores = jnp.where(jnp.arange(vectors.shape[0]) < count, scores, -jnp.inf)
    return jax.nn.log_softmax(scores)
