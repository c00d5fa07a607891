"""The rival that trains nothing: the graph of what followed what, and likeness of content.

Its three weights are fitted on validation users. What a trained model is better by is what the
training was good for.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from genrec.data.dataset import HeldOut
from genrec.decoding.experts import EXPERTS, Memory, Scores, expert_scores, recent_items
from genrec.decoding.fusion import fit_weights, fused
from genrec.evaluation.baselines import by_score
from genrec.evaluation.protocol import RankingFunction
from genrec.sequences.histories import Histories
from genrec.sequences.padding import round_up

_USERS = 4000
"""Validation users that the weights are fitted on; of more they hardly change."""
_SCORES_AT_ONCE, _HISTORIES_AT_ONCE = 1 << 21, 256


def graph_and_content(
    memory: Memory, validation: HeldOut, *, seed: int
) -> tuple[RankingFunction, dict[str, float]]:
    """Ranks all items by what followed the history's items, and by likeness to its last ones.

    Args:
        memory: made of training interactions alone.
        validation: at least one user; the weights are fitted on 4,000 of them, drawn at random.

    Returns:
        The recommender, and the weight of each expert by its name.
    """
    memory = jax.device_put(memory)
    num_items, generator = len(memory.content), np.random.default_rng(seed)
    count = len(validation.targets)
    users = np.sort(generator.choice(count, min(count, _USERS), replace=False))
    asked, targets = validation.histories.select(users), validation.targets[users]
    at_once = min(_HISTORIES_AT_ONCE, max(1, _SCORES_AT_ONCE // num_items))

    def batches() -> Iterator[tuple[Scores, np.ndarray]]:
        for first in range(0, len(users), at_once):
            rows = slice(first, first + at_once)
            some, answers = np.arange(len(users))[rows], targets[rows]
            fill = (0, at_once - len(some)) if len(users) > at_once else (0, 0)
            # The rows that fill up the last batch ask for the first user again, for no target.
            scores = _scores(memory, asked.select(np.pad(some, fill)))
            yield scores, np.pad(answers, fill, constant_values=-1)

    weights = fit_weights(batches, len(EXPERTS))

    def score(histories: Histories) -> np.ndarray:
        return np.array(fused(_scores(memory, histories), jnp.asarray(weights, jnp.float32)))

    return by_score(score, num_items, at_once), dict(zip(EXPERTS, weights.tolist(), strict=True))


def _scores(memory: Memory, histories: Histories) -> Scores:
    longest = int(histories.lengths.max(initial=1))
    return expert_scores(memory, recent_items(histories, round_up(longest)))
