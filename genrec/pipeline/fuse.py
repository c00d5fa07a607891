"""The fit of the experts' weights, and what each of them is worth on validation users."""

from typing import Any

import jax
import numpy as np
from scipy.special import softmax

from genrec.data.dataset import HeldOut
from genrec.decoding import Recommender
from genrec.decoding.candidates import Experts, ExpertWeights
from genrec.decoding.experts import Memory
from genrec.decoding.fitting import Fitted, fit_experts
from genrec.decoding.fusion import Choices, fit_weights
from genrec.evaluation import summarise

_TOP_K = (10,)
_RESAMPLES = 50
_BINS = 10


def fit_and_measure(
    recommender: Recommender, memory: Memory, validation: HeldOut, *, users: int, seed: int
) -> dict[str, Any]:
    """The contents of fusion.json.

    Metrics are of unfiltered lists of candidates, cross-fitted: of either half of the users by the
    weights of the other. Standard errors are those of weights fitted on users drawn again, with
    replacement.

    Args:
        users: the most that are fitted on, drawn at random.

    Returns:
        `fitted`: weights by name, `retrieval`, `guide` and `ranking`, the latter with
        `standard_errors`; and `measured` on these `users`: `all` experts, `without` each and each
        `alone`, and `reliability`, what was promised and what came true.
    """
    names, generator = recommender.expert_names, np.random.default_rng(seed)
    chosen = generator.permutation(len(validation.targets))[:users]
    histories, targets = validation.histories.select(chosen), validation.targets[chosen]
    empty = np.zeros(0, np.float32)
    experts = Experts(
        jax.device_put(memory), ExpertWeights(empty, empty, empty, empty), recommender.vectors()
    )
    fitted = fit_experts(recommender, experts, histories, targets)
    retrieval, own, other, ranking = (values.tolist() for values in fitted.weights)
    retrieved = [name for name in names if name != "codes"]
    return {
        "fitted": {
            "retrieval": dict(zip(retrieved, retrieval, strict=True)),
            "guide": {"logits": own, "masses": other},
            "ranking": dict(zip(names, ranking, strict=True)),
            "standard_errors": dict(zip(names, _standard_errors(fitted, generator), strict=True)),
        },
        "measured": {"users": len(chosen), **_contributions(fitted.choices, names)}
        | {"reliability": _reliability(fitted)},
    }


def _standard_errors(fitted: Fitted, generator: np.random.Generator) -> list[float]:
    choices, drawn = fitted.choices, []
    for _ in range(_RESAMPLES):
        users = generator.integers(0, len(choices.chosen), len(choices.chosen))
        again = _of_users(choices, users)
        drawn.append(
            fit_weights(lambda again=again: iter([again]), np.asarray(fitted.weights.ranking))
        )
    return np.std(drawn, axis=0).tolist()


def _contributions(choices: Choices, names: tuple[str, ...]) -> dict[str, Any]:
    every = list(range(len(names)))
    return {
        "all": _measured(choices, every),
        "without": {
            name: _measured(choices, [other for other in every if other != expert])
            for expert, name in enumerate(names)
        },
        "alone": {name: _measured(choices, [expert]) for expert, name in enumerate(names)},
    }


def _measured(choices: Choices, experts: list[int]) -> dict[str, float]:
    """Metrics by some of the experts, with weights fitted on the other half of the users."""
    users, ranks = np.arange(len(choices.chosen)), np.zeros(len(choices.chosen), np.int64)
    width = choices.scores.shape[2]
    some = choices._replace(scores=choices.scores[experts])
    for half in (users % 2 == 0, users % 2 == 1):
        other = _of_users(some, np.flatnonzero(~half))
        weights = fit_weights(lambda other=other: iter([other]), np.zeros(len(experts)))
        ours = _of_users(some, np.flatnonzero(half))
        total = _totals(ours, weights)
        row = np.arange(len(total))
        # Of equal scores the target's is taken for the last: one that says nothing ranks nothing.
        above = (total >= total[row, np.maximum(ours.chosen, 0)][:, None]).sum(axis=1) - 1
        ranks[half] = np.where(ours.chosen >= 0, above, width)
    return summarise(ranks, [k for k in _TOP_K if k <= width], width)


def _reliability(fitted: Fitted) -> list[dict[str, float]]:
    """The candidates in bins of equal sums of what they were promised, ascending."""
    choices = fitted.choices
    total = _totals(choices, np.asarray(fitted.weights.ranking))
    promised = softmax(total, axis=1) * np.exp(fitted.log_reached)[:, None]
    came = np.zeros(promised.shape, bool)
    found = np.flatnonzero(choices.chosen >= 0)
    came[found, choices.chosen[found]] = True
    promised, came = promised[choices.there], came[choices.there]
    order = np.argsort(promised, kind="stable")
    sums = np.cumsum(promised[order])
    cuts = np.searchsorted(sums, sums[-1] * np.arange(1, _BINS) / _BINS)
    return [
        {
            "candidates": len(rows),
            "promised": float(promised[rows].mean()),
            "came_true": float(came[rows].mean()),
        }
        for rows in np.split(order, cuts)
        if len(rows)
    ]


def _totals(choices: Choices, weights: np.ndarray) -> np.ndarray:
    """float (U, V): the weighted sums of the scores; -inf where there is no candidate."""
    assert choices.there is not None
    return np.where(choices.there, np.tensordot(weights, choices.scores, axes=1), -np.inf)


def _of_users(choices: Choices, users: np.ndarray) -> Choices:
    assert choices.there is not None
    return Choices(choices.scores[:, users], choices.chosen[users], choices.there[users])
