"""The rival that trains nothing: the item graph, likeness of content, popularity, what was had.

Its few weights are fitted on validation users, as those of genrec's experts are: first over all
items, then over the best of these, which is where lists are made. What a trained model is better by
is what the training was good for.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from genrec.data.dataset import HeldOut
from genrec.decoding.experts import LOOKED_UP, Memory, Scores, lookups, recent_items
from genrec.decoding.fusion import Choices, fit_weights, fused
from genrec.evaluation.baselines import by_score
from genrec.evaluation.protocol import RankingFunction
from genrec.sequences.histories import Histories
from genrec.sequences.padding import round_up

_USERS = 2000
"""Validation users that the weights are fitted on; of more they hardly change."""
_BEST = 200
"""Items of each user that the weights are fitted on the second time."""
_SCORES_AT_ONCE, _HISTORIES_AT_ONCE = 1 << 21, 256


def graph_and_content(
    memory: Memory, validation: HeldOut, *, seed: int
) -> tuple[RankingFunction, dict[str, float]]:
    """Ranks all items by what is looked up, and by nothing else.

    Args:
        memory: made of training interactions alone.
        validation: at least one user; the weights are fitted on 2,000 of them, drawn at random.

    Returns:
        The recommender, and the weight of each expert by its name.
    """
    memory = jax.device_put(memory)
    num_items, generator = len(memory.content), np.random.default_rng(seed)
    users = generator.permutation(len(validation.targets))[:_USERS]
    asked, targets = validation.histories.select(users), validation.targets[users]
    at_once = min(_HISTORIES_AT_ONCE, max(1, _SCORES_AT_ONCE // num_items))

    def batches() -> Iterator[Choices]:
        for first in range(0, len(users), at_once):
            rows = slice(first, first + at_once)
            some, answers = np.arange(len(users))[rows], targets[rows]
            fill = (0, at_once - len(some)) if len(users) > at_once else (0, 0)
            # The rows that fill up the last batch ask for the first user again, for no target.
            scores = _scores(memory, asked.select(np.pad(some, fill)))
            yield Choices(scores, np.pad(answers, fill, constant_values=-1))

    weights = fit_weights(batches, np.zeros(len(LOOKED_UP)))
    best = [
        _among_the_best(*choices[:2], jnp.asarray(weights, jnp.float32)) for choices in batches()
    ]
    weights = fit_weights(lambda: iter(best), weights)

    def score(histories: Histories) -> np.ndarray:
        return np.array(fused(_scores(memory, histories), jnp.asarray(weights, jnp.float32)))

    return by_score(score, num_items, at_once), dict(zip(LOOKED_UP, weights.tolist(), strict=True))


@jax.jit
def _among_the_best(scores: Scores, targets: jax.Array, weights: jax.Array) -> Choices:
    """The choices among the best items by these weights; users whose target is not there do not
    count."""
    _, best = jax.lax.top_k(fused(scores, weights), min(_BEST, scores.shape[2]))
    right = best == targets[:, None]
    chosen = jnp.where(right.any(axis=1), right.argmax(axis=1), -1)
    return Choices(jnp.take_along_axis(scores, best[None], axis=2), chosen)


def _scores(memory: Memory, histories: Histories) -> Scores:
    longest = int(histories.lengths.max(initial=1))
    return lookups(memory, recent_items(histories, round_up(longest)))
