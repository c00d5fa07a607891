"""Fits what every expert counts, on users whose next item is known.

Three fits, each on what the one before it gives: the retrieval ranks all items by all that is not
codes; the guide weighs the decoder's logits against the masses of that ranking, level by level; the
ranking weighs all experts among the candidates that both have found.

Array shapes: U users, F experts, V candidates, L levels of the trie.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from genrec.decoding.candidates import (
    Candidates,
    Experts,
    ExpertWeights,
    candidates_of,
    log_preference,
    retrieval_scores,
)
from genrec.decoding.filters import Filters, permitted_items
from genrec.decoding.fusion import Choices, fit_weights
from genrec.decoding.guide import guide_on_path, log_masses
from genrec.decoding.recommender import Recommender
from genrec.decoding.search import Structure
from genrec.model.look_ahead import Means
from genrec.semantic_ids.trie import Trie
from genrec.sequences.histories import Histories
from genrec.sequences.inputs import Catalogue, Inputs

_FIRST = 500
"""Users that the retrieval is fitted on first, so that few rounds over all are left."""
_WHOLE_CATALOGUE = 2000
"""Users that the retrieval and the guide are fitted on; of more they hardly change."""


@dataclass(frozen=True)
class Fitted:
    """What was fitted.

    Attributes:
        choices: of all users, what the ranking was fitted on: the candidates, one batch.
        items: int32 (U, V), the candidates, -1 for none.
        log_reached: float32 (U,), see `Candidates`.
    """

    weights: ExpertWeights
    choices: Choices
    items: np.ndarray
    log_reached: np.ndarray


def fit_experts(
    recommender: Recommender, experts: Experts, histories: Histories, targets: np.ndarray
) -> Fitted:
    """Fits the weights of a recommender's experts.

    Args:
        recommender: of the model.
        experts: whose weights are not read.
        targets: int32 (U,), what came next for each user, in any order of users that is random.
    """
    few = slice(0, _WHOLE_CATALOGUE)
    looking = _Looking(recommender, experts, histories.select(np.arange(len(targets))[few]))
    retrieval = looking.fit_retrieval(targets[few])
    own, other = looking.fit_guide(targets[few], retrieval)
    weights = ExpertWeights(retrieval, own, other, np.zeros(len(recommender.expert_names)))
    choices, items, reached = _candidates(recommender, experts, weights, histories, targets)
    ranking = fit_weights(lambda: iter([choices]), np.zeros(len(choices.scores)))
    weights = weights._replace(ranking=ranking.astype(np.float32))
    return Fitted(weights, choices, items, reached)


class _Looking:
    """Some users, and what the experts say to them of the whole catalogue."""

    def __init__(self, recommender: Recommender, experts: Experts, histories: Histories):
        self._recommender, self._experts, self._histories = recommender, experts, histories

    def fit_retrieval(self, targets: np.ndarray) -> np.ndarray:
        """float32 (F - 1,), without the codes, or (F,) for a model without any."""
        count = len(self._recommender.expert_names) - self._recommender.writes_codes
        weights = np.zeros(count)
        for some in (_FIRST, len(targets)):
            weights = fit_weights(functools.partial(self._scores, targets[:some]), weights)
        return weights.astype(np.float32)

    def _scores(self, targets: np.ndarray) -> Iterator[Choices]:
        """What each expert gives each item, for the first users."""
        model = self._recommender
        for rows, batch in model.batches(self._histories.select(np.arange(len(targets)))):
            chosen = np.full(len(batch.allow), -1)
            chosen[: len(rows)] = targets[rows]
            arguments = model.structure, model.params, model.trie, model.catalogue
            scores, there = _all_scores(*arguments, batch.inputs, self._experts)
            yield Choices(scores, chosen, there)

    def fit_guide(
        self, targets: np.ndarray, retrieval: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """float32 (L,) twice: what logits and what log masses count at each level."""
        model = self._recommender
        if not model.writes_codes:
            return np.zeros(0, np.float32), np.zeros(0, np.float32)
        levels: list[list[Choices]] = [[] for _ in range(model.trie.levels)]
        for rows, batch in model.batches(self._histories):
            wanted = np.zeros(len(batch.allow), np.int32)
            wanted[: len(rows)] = targets[rows]
            arguments = model.structure, model.params, model.trie, model.catalogue
            said = _on_path(*arguments, batch.inputs, self._experts, model.means, retrieval, wanted)
            for level, (scores, chosen, there) in zip(levels, said, strict=True):
                chosen = np.where(np.arange(len(chosen)) < len(rows), chosen, -1)
                level.append(Choices(np.asarray(scores), chosen, np.asarray(there)))
        fitted = [fit_weights(functools.partial(iter, level), np.zeros(2)) for level in levels]
        own, other = np.array(fitted, np.float32).T
        return own, other


def _candidates(
    recommender: Recommender,
    experts: Experts,
    weights: ExpertWeights,
    histories: Histories,
    targets: np.ndarray,
) -> tuple[Choices, np.ndarray, np.ndarray]:
    """What each user has to choose from, see `Fitted`."""
    model, found = recommender, []
    experts = experts._replace(weights=jax.tree.map(lambda x: np.asarray(x, np.float32), weights))
    order = []
    for rows, batch in model.batches(histories):
        arguments = model.structure, model.params, model.trie, model.catalogue
        filters = Filters(batch.named, batch.allow)
        some = _search(
            *arguments, batch.inputs, filters, experts, model.means, beam=model.options.beam
        )
        some = jax.tree.map(np.asarray, some)
        found.append(
            (some.items[: len(rows)], some.scores[:, : len(rows)], some.log_reached[: len(rows), 0])
        )
        order.append(rows)
    back = np.argsort(np.concatenate(order))
    items = np.concatenate([part[0] for part in found])[back]
    scores = np.concatenate([part[1] for part in found], axis=1)[:, back]
    reached = np.concatenate([part[2] for part in found])[back]
    right = items == targets[:, None]
    chosen = np.where(right.any(axis=1), right.argmax(axis=1), -1)
    return Choices(scores, chosen, items >= 0), items, reached


@functools.partial(jax.jit, static_argnames="structure")
def _all_scores(
    structure: Structure,
    params,
    trie: Trie,
    catalogue: Catalogue,
    histories: Inputs,
    experts: Experts,
) -> tuple[Array, Array]:
    """Scores (F, B, N), and which items there are, (B, N)."""
    model = structure.model(params)
    encoded = model.encode(histories, catalogue, every_position=False)
    scores = retrieval_scores(model, encoded, histories, experts)
    there = trie.leaf[: scores.shape[2]] < trie.item.shape[0]
    return scores, jnp.broadcast_to(there[None], scores.shape[1:])


@functools.partial(jax.jit, static_argnames="structure")
def _on_path(
    structure: Structure,
    params,
    trie: Trie,
    catalogue: Catalogue,
    histories: Inputs,
    experts: Experts,
    means: Means | None,
    retrieval: Float[Array, " _"],
    targets: Int[Array, " B"],
) -> list[tuple[Array, Array, Array]]:
    """See `guide_on_path`."""
    model = structure.model(params)
    encoded = model.encode(histories, catalogue, every_position=False)
    scores = retrieval_scores(model, encoded, histories, experts)
    nobody = Filters(jnp.full((len(targets), 1), -1), jnp.zeros(len(targets), bool))
    log_p = log_preference(scores, retrieval, permitted_items(nobody, trie, scores.shape[2]))
    codes = jnp.asarray(catalogue.codes)[targets]
    return guide_on_path(model, encoded, trie, targets, codes, log_masses(trie, log_p), means)


@functools.partial(jax.jit, static_argnames=("structure", "beam"))
def _search(
    structure: Structure,
    params,
    trie: Trie,
    catalogue: Catalogue,
    histories: Inputs,
    filters: Filters,
    experts: Experts,
    means: Means | None,
    *,
    beam: int,
) -> Candidates:
    """See `candidates_of`."""
    model = structure.model(params)
    encoded = model.encode(histories, catalogue, every_position=False)
    scores = retrieval_scores(model, encoded, histories, experts)
    return candidates_of(
        model, encoded, trie, catalogue, filters, scores, experts.weights, means, beam=beam
    )
