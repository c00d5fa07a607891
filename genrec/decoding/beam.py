"""Beam search over the codes of real items only, and one over all tuples of codes.

Array shapes: B histories, M beam width, R children of a node, L levels.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from genrec.decoding.filters import Filters, marked_nodes
from genrec.decoding.guide import Guide, GuidedLevel, guided_level
from genrec.model import Encoded, EncoderDecoder
from genrec.model.look_ahead import CandidateCodes, Means, candidate_codes, candidates_on_path
from genrec.semantic_ids.trie import Children, Trie, children_of

Normalise = Literal["codes", "allowed"]
"""Over what a level's probabilities sum to one: all its codes, or those that may come next."""


class Sampling(NamedTuple):
    """Draws items at random instead of taking the most probable ones.

    Attributes:
        temperature: float32 (L,), what each level's log-probabilities are divided by, above 0.
        seeds: uint32 (B,), one for each history.
    """

    temperature: np.ndarray | Float[Array, " L"]
    seeds: np.ndarray | UInt32[Array, " B"]


def beam_search(
    model: EncoderDecoder,
    trie: Trie,
    encoded: Encoded,
    filters: Filters,
    *,
    beam: int,
    normalise: Normalise = "codes",
    scored: int | None = None,
    sampling: Sampling | None = None,
    means: Means | None = None,
) -> tuple[Int[Array, "B M"], Float[Array, "B M"]]:
    """The items whose codes the model finds most probable after each history, best first.

    Every step ranks only codes that lead to an item which the filter permits. So the result holds
    `beam` items, or all that are left where there are fewer, and none of them twice. Codes of the
    same score are ranked in the order of the sorted code tuples.

    Args:
        encoded: histories, read with one query each.
        filters: which items each history may get.
        beam: beam width, the number of prefixes kept at every level.
        normalise: over what the probabilities of a level's codes sum to one. "allowed" means those
            that the trie and the filter leave after a prefix.
        scored: how many levels the model scores; None for all that it has. On those below, all
            codes score the same.
        sampling: draws items without replacement, each with the probability that the model gives it
            at these temperatures among those permitted (stochastic beam search: Kool, van Hoof and
            Welling 2019, algorithm 1).
        means: for a model that looks ahead, the mean vector of the items below every node. From the
            second level on, the probabilities of codes that the trie does not have are then 0.

    Returns:
        Item indices, -1 where no item is left; and their scores, the float32 sum of the codes'
        log-probabilities (natural logarithm, at temperature 1).
    """
    search = _Search(model, encoded, beam, normalise, sampling)
    items = _search_down(search, trie, encoded, filters, scored, means, None)
    scores = search.score
    if sampling is not None:
        scores, order = jax.lax.top_k(scores, scores.shape[1])
        items = jnp.take_along_axis(items, order, axis=1)
    return items, scores


def guided_beam_search(
    model: EncoderDecoder,
    trie: Trie,
    encoded: Encoded,
    filters: Filters,
    guide: Guide,
    *,
    beam: int,
    means: Means | None = None,
) -> tuple[Int[Array, "B M"], Float[Array, "B M"], Float[Array, "B M"]]:
    """The items that decoder and guide together find most probable, best first.

    At every level the probabilities of a node's children c are proportional to
    exp(own · logit(c) + other · log mass(c)), and sum to one over those that the trie has.

    Arguments are those of `beam_search`.

    Returns:
        Item indices, -1 where no item is left; the sums of those log-probabilities; and the scores
        that `beam_search` has for the same items.
    """
    search = _Search(model, encoded, beam, "codes", None)
    items = _search_down(search, trie, encoded, filters, None, means, guide)
    return items, search.rank, search.score


def _search_down(
    search: "_Search",
    trie: Trie,
    encoded: Encoded,
    filters: Filters,
    scored: int | None,
    means: Means | None,
    guide: Guide | None,
) -> Int[Array, "B M"]:
    """Takes the beams of a search to the leaves of a trie; the items there, -1 for none."""
    marks = marked_nodes(trie, filters)
    scored = search.levels if scored is None else scored
    node = jnp.zeros((encoded.states.shape[0], 1), jnp.int32)
    for level in range(trie.levels):
        children = children_of(trie, level, node)
        allowed = children.valid & _permitted(children, node, marks[level], filters)
        beside = None if guide is None else guided_level(guide, level, children)
        if level < scored:
            candidates = None
            if means and level:
                history_items = encoded.with_queries(node.shape[1]).history_items
                candidates = candidate_codes(trie, level, children, means, history_items)
            chosen = search.advance(children.code, allowed, candidates, beside)
        else:
            chosen = search.spread(allowed, beside)
        # A beam without a code to go on with must not come back to life one level below.
        child = children.node.reshape(node.shape[0], -1)
        child = jnp.take_along_axis(child, chosen, axis=1, mode="clip")
        node = jnp.where(jnp.isneginf(search.rank), -1, child)
    return jnp.where(node >= 0, trie.item[jnp.maximum(node, 0)], -1)


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
    search = _Search(model, encoded, beam, "codes", None)
    for size in codebook_sizes:
        every = jnp.arange(size, dtype=jnp.int32)[None, None]
        code = jnp.broadcast_to(every, (*search.score.shape, size))
        search.advance(code, jnp.ones(code.shape, bool))
    return jnp.stack(search.codes, axis=-1), search.score


def log_probabilities(
    model: EncoderDecoder,
    encoded: Encoded,
    trie: Trie,
    items: Int[Array, "B M"],
    codes: Int[Array, "B M L"],
    means: Means | None = None,
) -> Float[Array, "B M"]:
    """The score of given items, which have these codes, as `beam_search` has it over all codes.

    For a model that looks ahead, the scores of items that the trie leaves out mean nothing.
    """
    queries, levels = encoded.with_queries(codes.shape[1]), codes.shape[2]
    candidates, chosen = None, [codes[:, :, level] for level in range(levels)]
    if means is not None:
        candidates, chosen = candidates_on_path(
            trie, means, trie.leaf[items], levels, queries.history_items
        )
    total = jnp.zeros(codes.shape[:2], jnp.float32)
    level_logits = model.decode(codes, queries, candidates=candidates)
    for choice, logits in zip(chosen, level_logits, strict=True):
        log_p = jax.nn.log_softmax(logits)
        total = total + jnp.take_along_axis(log_p, choice[:, :, None], axis=2).squeeze(2)
    return total


class _Search:
    """The beams of a search that goes down the levels, within one traced call.

    Attributes:
        score: float32 (B, M), the sum of the log-probabilities of each beam's codes.
        rank: float32 (B, M), what the beams are chosen by: the score, or the guided one, or in
            sampling the perturbed log-probability; -inf for a beam without a code to go on with.
        codes: for each level so far int32 (B, M), each beam's code.
        levels: how many the model scores.
    """

    def __init__(
        self,
        model: EncoderDecoder,
        encoded: Encoded,
        beam: int,
        normalise: Normalise,
        sampling: Sampling | None,
    ):
        self._model, self._encoded, self._beam = model, encoded, beam
        self._normalise, self._sampling = normalise, sampling
        self.levels = len(model.codes)
        self._memory = model.remember(encoded.states)
        self._past: list = []
        self.score = self.rank = jnp.zeros((encoded.states.shape[0], 1), jnp.float32)
        self._tempered = self.score
        self.codes: list[Int[Array, "B M"]] = []

    def advance(
        self,
        code: Int[Array, "B M R"],
        allowed: Bool[Array, "B M R"],
        candidates: CandidateCodes | None = None,
        beside: GuidedLevel | None = None,
    ) -> Int[Array, "B _"]:
        """Goes down one level, to the best of the allowed codes of all beams.

        `candidates` are the same codes with the items below them, for a model that looks ahead.

        Returns:
            The codes that were chosen, as positions among the codes of all beams in turn.
        """
        level = len(self.codes)
        read = self._encoded.with_queries(code.shape[1])
        logits, present = self._model.decode_level(
            level,
            self.codes[-1] if self.codes else None,
            read.start,
            self._past,
            self._memory,
            read.mask,
            candidates=candidates,
        )
        gained = logits
        if candidates is None:
            gained = jnp.take_along_axis(logits, code, axis=2, mode="clip")
        guided = None if beside is None else beside.log_probabilities(gained)
        counted = logits if self._normalise == "codes" else jnp.where(allowed, gained, -jnp.inf)
        gained = gained - jax.nn.logsumexp(counted, axis=2, keepdims=True)
        gained = jnp.where(allowed, gained, -jnp.inf)
        total = self.score[:, :, None] + gained
        if guided is not None:
            rank = self.rank[:, :, None] + jnp.where(allowed, guided, -jnp.inf)
            return self._choose(rank, total, total, code, [*self._past, present])
        if self._sampling is None:
            return self._choose(total, total, total, code, [*self._past, present])
        tempered = jax.nn.log_softmax(gained / self._sampling.temperature[level], axis=2)
        tempered = self._tempered[:, :, None] + tempered
        keys = jax.vmap(jax.random.key)(jnp.asarray(self._sampling.seeds))
        keys = jax.vmap(jax.random.fold_in, (0, None))(keys, level)
        noise = jax.vmap(lambda key: jax.random.gumbel(key, code.shape[1:]))(keys)
        rank = _perturbed(tempered, noise, self.rank, allowed)
        return self._choose(rank, total, tempered, code, [*self._past, present])

    def spread(
        self, allowed: Bool[Array, "B M R"], beside: GuidedLevel | None = None
    ) -> Int[Array, "B _"]:
        """Goes down one level that the model does not score: all allowed codes score the same, but
        for what a guide says."""
        rank, score = (
            jnp.where(allowed, values[:, :, None], -jnp.inf) for values in (self.rank, self.score)
        )
        if beside is not None:
            rank = rank + beside.log_probabilities(jnp.zeros(rank.shape))
        return self._choose(rank, score, score, None, [])

    def _choose(
        self,
        rank: Float[Array, "B M R"],
        score: Float[Array, "B M R"],
        tempered: Float[Array, "B M R"],
        code: Int[Array, "B M R"] | None,
        past: list,
    ) -> Int[Array, "B _"]:
        """Keeps the highest-ranked candidates of each history and what belongs to them."""
        batch, _, width = rank.shape
        flat = rank.reshape(batch, -1)
        self.rank, chosen = jax.lax.top_k(flat, min(self._beam, flat.shape[1]))

        # All indices are in range; without "clip" each gather is followed by a check of that.
        def of_chosen(values: Array) -> Array:
            return jnp.take_along_axis(values.reshape(batch, -1), chosen, axis=1, mode="clip")

        self.score = self.rank if score is rank else of_chosen(score)
        self._tempered = self.score if tempered is score else of_chosen(tempered)
        origin = chosen // width

        def of_origin(values: Array) -> Array:
            beams = origin.reshape(*origin.shape, *[1] * (values.ndim - 2))
            return jnp.take_along_axis(values, beams, axis=1, mode="clip")

        # Keys and values of the first level, which has one query, serve every beam as they are.
        self._past = jax.tree.map(lambda x: x if x.shape[1] == 1 else of_origin(x), past)
        self.codes = [of_origin(codes) for codes in self.codes]
        if code is not None:
            self.codes.append(of_chosen(code))
        return chosen


def _perturbed(
    tempered: Float[Array, "B M R"],
    noise: Float[Array, "B M R"],
    above: Float[Array, "B M"],
    allowed: Bool[Array, "B M R"],
) -> Float[Array, "B M R"]:
    """Gumbel-perturbed log-probabilities whose maximum over a beam's codes is that of the beam.

    Kool, van Hoof and Welling (2019), appendix B.3, which is the numerically stable form.
    """
    drawn = jnp.where(allowed, tempered + noise, -jnp.inf)
    above = above[:, :, None]
    value = above - drawn + jnp.log(-jnp.expm1(drawn - drawn.max(axis=2, keepdims=True)))
    moved = above - jnp.maximum(value, 0.0) - jnp.log1p(jnp.exp(-jnp.abs(value)))
    return jnp.where(allowed, moved, -jnp.inf)


def _permitted(
    children: Children,
    node: Int[Array, "B M"],
    marks: tuple[Array, Array],
    filters: Filters,
) -> Bool[Array, "B M R"]:
    """Which children of every beam's node the filter permits."""
    # Beams hold distinct nodes, so a marked child belongs to one beam at most.
    parent, child = marks
    of_beam = (node[:, :, None] == parent[:, None, :]) & (parent >= 0)[:, None, :]
    beam = jnp.where(of_beam.any(1), of_beam.argmax(1), node.shape[1])
    row = jnp.arange(node.shape[0])[:, None]
    allow = jnp.asarray(filters.allow)[:, None, None]
    default = jnp.broadcast_to(~allow, children.valid.shape)
    return default.at[row, beam, child].set(allow[:, :, 0], mode="drop")
