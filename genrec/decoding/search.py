"""The compiled search: histories in, ranked items out.

One function for all ways to recommend. Whatever may differ between two requests is an array
argument; an argument that is None leaves its part of the computation out.

Array shapes: B histories, M beam width, V candidates, N items, L levels, D model width.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from genrec.decoding.beam import (
    Normalise,
    Sampling,
    beam_search,
    log_probabilities,
    unconstrained_beam_search,
)
from genrec.decoding.candidates import (
    Candidates,
    Experts,
    ExpertWeights,
    Lists,
    candidates_of,
    dense_scores,
    log_preference,
    retrieval_scores,
)
from genrec.decoding.filters import Filters, permitted_items
from genrec.decoding.fusion import fused
from genrec.model import Encoded, EncoderDecoder
from genrec.model.look_ahead import Means
from genrec.semantic_ids.trie import Trie
from genrec.sequences.inputs import Catalogue, Inputs


class Structure:
    """A model's structure, hashed once: every call of a compiled function asks for the hash."""

    def __init__(self, graph: nnx.GraphDef[EncoderDecoder]):
        self.graph, self._hash = graph, hash(graph)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Structure) and self.graph == other.graph)

    def model(self, params) -> EncoderDecoder:
        """The model with these parameters."""
        return nnx.merge(self.graph, params)


class Fusion(NamedTuple):
    """Ranks by the decoder and the dense head together.

    Attributes:
        share: float32 scalar in 0…1, the dense head's share of the score; None leaves all to it.
        vectors: (N, D), the model's vector of every item.
        count: int32 scalar, how many of them are items; the rows behind these are padding. None if
            all are.
    """

    share: Float[Array, ""] | None
    vectors: Float[Array, "N D"]
    count: Int[Array, ""] | None = None


class Unseen(NamedTuple):
    """Gives items without a training interaction a part of each list.

    Attributes:
        trie: of those items; the other trie must not have them.
        share: float32 scalar in 0…1, the probability that the next item is one of them.
        count: int32 scalar, how many of them a list of `length` holds.
        length: int32 scalar, of the lists that are asked for.
        means: those of this trie, for a model that looks ahead.
    """

    trie: Trie
    share: Float[Array, ""]
    count: int | Int[Array, ""]
    length: int | Int[Array, ""]
    means: Means | None = None


ExplainedLists = tuple[Int[Array, "B M"], Float[Array, "B M"], Float[Array, "B M F"]]
"""`Lists`, and what each expert adds to each score."""


@functools.partial(jax.jit, static_argnames=("structure", "beam", "normalise"))
def search(
    structure: Structure,
    params,
    trie: Trie,
    catalogue: Catalogue,
    histories: Inputs,
    filters: Filters,
    sampling: Sampling | None = None,
    fusion: Fusion | None = None,
    unseen: Unseen | None = None,
    means: Means | None = None,
    experts: Experts | None = None,
    *,
    beam: int,
    normalise: Normalise = "codes",
) -> dict[str, Lists | ExplainedLists]:
    """Encodes histories, one to a row, and searches the trie.

    Returns:
        "whole", the lists that were asked for; and where several made them together, what each has
        alone: "codes" and "dense_head", or "guided_codes".

    With `experts`, which take the place of `fusion`, the candidates are those of a guided beam
    search and as many others that the retrieval prefers. Their scores are Σ_f weight_f · score_f,
    made log-probabilities: a softmax over the candidates, times the probability that the retrieval
    gives to all of them.

    With `fusion`, the candidates are those of the beams and as many of the dense head, each with
    the score (1 - share) · log p(codes) + share · log p(item), the logarithm of a weighted product
    of both distributions. (LIGER, Yang et al. 2024, ranks the beams' candidates by the dense score
    alone.) Without a share, the dense head ranks all items and no codes are searched, which is all
    that a model without codes can do.

    A model that looks ahead needs `means`, see `means_in`.

    With `unseen`, the items without a training interaction are searched apart, among themselves:
    their codes' probabilities sum to one over those that lead to such an item, and the last code is
    left out, for it describes nothing (Rajput et al. 2023, section 4.3). Both lists' scores are
    those of a mixture, in which such an item comes next with probability `share`.
    """
    model = structure.model(params)
    encoded = model.encode(histories, catalogue, every_position=False)
    if experts is not None:
        said = retrieval_scores(model, encoded, histories, experts)
        found = candidates_of(
            model, encoded, trie, catalogue, filters, said, experts.weights, means, beam=beam
        )
        whole = _explained(found, experts, beam)
        if unseen is not None:
            whole = _with_unseen(whole, said, filters, experts.weights, unseen, beam)
        return {"whole": whole} | ({} if found.codes is None else {"guided_codes": found.codes})
    lists: dict[str, Lists | ExplainedLists]
    dense = None if fusion is None else dense_scores(model, encoded, fusion.vectors, fusion.count)
    if fusion is not None and fusion.share is None:
        assert dense is not None
        permitted = permitted_items(filters, trie, dense.shape[1])
        every = jnp.broadcast_to(jnp.arange(dense.shape[1], dtype=jnp.int32), dense.shape)
        lists = {"whole": _best(every, jnp.where(permitted, dense, -jnp.inf), beam)}
    else:
        codes = beam_search(
            model,
            trie,
            encoded,
            filters,
            beam=beam,
            normalise=normalise,
            sampling=sampling,
            means=means,
        )
        lists = {"whole": codes}
        if fusion is not None:
            assert dense is not None
            permitted = permitted_items(filters, trie, dense.shape[1])
            items, scores = _with_dense_candidates(
                model, encoded, catalogue, *codes, dense, permitted, trie, means
            )
            whole, head = (_fused(items, scores, dense, share) for share in (fusion.share, None))
            lists = {
                "whole": _best(items, whole, beam),
                "codes": codes,
                "dense_head": _best(items, head, beam),
            }
    if unseen is not None:
        new, new_scores = beam_search(
            model,
            unseen.trie,
            encoded,
            filters,
            beam=beam,
            normalise="allowed",
            scored=trie.levels - 1,
            means=unseen.means,
        )
        if fusion is not None and dense is not None:
            new_scores = _fused(new, new_scores, dense, fusion.share)
        lists = {"whole": _best(*_joined(*lists["whole"][:2], new, new_scores, unseen), beam)}
    return lists


@functools.partial(jax.jit, static_argnames=("structure", "sizes", "beam"))
def search_freely(
    structure: Structure,
    params,
    catalogue: Catalogue,
    histories: Inputs,
    *,
    sizes: tuple[int, ...],
    beam: int,
) -> tuple[Int[Array, "B M L"], Float[Array, "B M"]]:
    """Encodes histories and searches all tuples of codes."""
    model = structure.model(params)
    encoded = model.encode(histories, catalogue, every_position=False)
    return unconstrained_beam_search(model, sizes, encoded, beam=beam)


@functools.partial(jax.jit, static_argnames="structure")
def item_vectors(structure: Structure, params, catalogue: Catalogue) -> Float[Array, "N D"]:
    """The model's vector of every item, for the dense head."""
    return structure.model(params).item_vectors(jnp.arange(len(catalogue.codes)), catalogue)


def _explained(found: Candidates, experts: Experts, beam: int) -> ExplainedLists:
    """The best of the candidates, with what each expert adds to their scores."""
    weights = jnp.asarray(experts.weights.ranking)
    total = jnp.where(found.items >= 0, fused(found.scores, weights), -jnp.inf)
    log_p = jnp.where(found.items >= 0, jax.nn.log_softmax(total) + found.log_reached, -jnp.inf)
    log_p, order = jax.lax.top_k(log_p, min(beam, log_p.shape[1]))
    items = jnp.take_along_axis(found.items, order, axis=1)
    said = jnp.take_along_axis(found.scores, order[None], axis=2) * weights[:, None, None]
    return items, log_p, jnp.moveaxis(said, 0, 2)


def _with_unseen(
    whole: ExplainedLists,
    scores: Float[Array, "_ B N"],
    filters: Filters,
    weights: ExpertWeights,
    unseen: Unseen,
    beam: int,
) -> ExplainedLists:
    """The lists with a part for new items, which the retrieval ranks among themselves."""
    permitted = permitted_items(filters, unseen.trie, scores.shape[2])
    log_p = log_preference(scores, jnp.asarray(weights.retrieval), permitted)
    new_scores, new = jax.lax.top_k(log_p, min(beam, log_p.shape[1]))
    new = jnp.where(jnp.isneginf(new_scores), -1, new)
    items, scores_of_all = _joined(*whole[:2], new, new_scores, unseen)
    ranking = jnp.asarray(weights.ranking)
    said = jnp.take_along_axis(scores, jnp.maximum(new, 0)[None], axis=2)
    said = jnp.pad(said, ((len(ranking) - len(scores), 0), (0, 0), (0, 0)))
    said = jnp.moveaxis(said * ranking[:, None, None], 0, 2)
    said = jnp.concatenate([whole[2], said], axis=1)
    best, order = jax.lax.top_k(scores_of_all, min(beam, scores_of_all.shape[1]))
    items = jnp.take_along_axis(items, order, axis=1)
    said = jnp.take_along_axis(said, order[:, :, None], axis=1)
    return jnp.where(jnp.isneginf(best), -1, items), best, said


def _with_dense_candidates(
    model: EncoderDecoder,
    encoded: Encoded,
    catalogue: Catalogue,
    items: Int[Array, "B M"],
    scores: Float[Array, "B M"],
    dense: Float[Array, "B N"],
    permitted: Bool[Array, "B N"],
    trie: Trie,
    means: Means | None,
) -> tuple[Int[Array, "B V"], Float[Array, "B V"]]:
    """The beams' items and as many others that the dense head prefers, with the decoder's score."""
    row, count = jnp.arange(items.shape[0])[:, None], dense.shape[1]
    beams = jnp.where(items >= 0, items, count)
    others = jnp.where(permitted, dense, -jnp.inf).at[row, beams].set(-jnp.inf, mode="drop")
    preference, more = jax.lax.top_k(others, min(items.shape[1], count))
    codes = jnp.asarray(catalogue.codes)[more]
    exact = log_probabilities(model, encoded, trie, more, codes, means)
    none = jnp.isneginf(preference)
    more, exact = jnp.where(none, -1, more), jnp.where(none, -jnp.inf, exact)
    return jnp.concatenate([items, more], axis=1), jnp.concatenate([scores, exact], axis=1)


def _fused(
    items: Int[Array, "B V"],
    scores: Float[Array, "B V"],
    dense: Float[Array, "B N"],
    share: Float[Array, ""] | None,
) -> Float[Array, "B V"]:
    """The candidates' scores by decoder and dense head together, see `search`."""
    head = jnp.take_along_axis(dense, jnp.maximum(items, 0), axis=1)
    fused = head if share is None else (1.0 - share) * scores + share * head
    return jnp.where(items >= 0, fused, -jnp.inf)


def _joined(
    items: Int[Array, "B M"],
    scores: Float[Array, "B M"],
    new: Int[Array, "B V"],
    new_scores: Float[Array, "B V"],
    unseen: Unseen,
) -> tuple[Int[Array, "B _"], Float[Array, "B _"]]:
    """Both lists, each cut to its part; where one is too short, the other may be longer."""
    new, new_scores = _best(new, new_scores, new.shape[1])
    usual_length, new_length = ((x >= 0).sum(axis=1, keepdims=True) for x in (items, new))
    count = jnp.minimum(jnp.maximum(unseen.count, unseen.length - usual_length), new_length)
    usual = _cut(items, scores + jnp.log1p(-unseen.share), unseen.length - count)
    others = _cut(new, new_scores + jnp.log(unseen.share), count)
    items, scores = (jnp.concatenate(parts, axis=1) for parts in zip(usual, others, strict=True))
    return items, scores


def _cut(items: Int[Array, "B V"], scores: Float[Array, "B V"], length: Int[Array, "B 1"]) -> Lists:
    """Lists without what comes after the first `length` items."""
    kept = jnp.arange(items.shape[1])[None] < length
    return jnp.where(kept, items, -1), jnp.where(kept, scores, -jnp.inf)


def _best(items: Int[Array, "B V"], scores: Float[Array, "B V"], count: int) -> Lists:
    """The `count` candidates of the highest scores, best first."""
    scores, order = jax.lax.top_k(scores, min(count, scores.shape[1]))
    items = jnp.take_along_axis(items, order, axis=1)
    return jnp.where(jnp.isneginf(scores), -1, items), scores
