"""The one protocol by which every recommender is measured: leave-one-out over the full catalogue.

Each recommender is run twice: *unfiltered*, where any item may be recommended, and *filtered*,
where the items of a user's history are not. Both are reported side by side, because a figure of one
is not comparable with a figure of the other. There are no sampled metrics: they do not keep the
order of recommenders (Krichene and Rendle 2020).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from genrec.errors import UserError
from genrec.evaluation.metrics import summarise, target_ranks
from genrec.sequences.histories import Histories

ProtocolName = Literal["unfiltered", "filtered"]
PROTOCOLS: tuple[ProtocolName, ...] = ("unfiltered", "filtered")
_ENOUGH_USERS_FOR_A_PATTERN = 10


@runtime_checkable
class RankingFunction(Protocol):
    """A recommender to measure: histories in, ranked items out. It never sees the targets."""

    def __call__(
        self, histories: Histories, k: int, *, exclude_history: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best `k` items for each of B histories.

        Returns:
            items int32 (B, k), best first, −1 behind the last item of a shorter list; scores
            float32 (B, k), finite and never rising along a list, of any value where the item is −1.
        """
        ...


@dataclass(frozen=True)
class Ranking:
    """The lists of a recommender for all users under one protocol, and their metrics.

    Attributes:
        items: int32 (U, k), item indices, best first; −1 behind the last item of a shorter list.
        scores: float32 (U, k).
        ranks: int64 (U,), 0-based rank of the target, k where it is missing.
        metrics: means over all users, such as {"recall@10": …, "ndcg@10": …}.
    """

    items: np.ndarray
    scores: np.ndarray
    ranks: np.ndarray
    metrics: dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """A recommender measured under both protocols.

    Attributes:
        repeat_targets: users whose target is in their history already. A filtered list cannot hit
            it; they count in the average all the same.
    """

    unfiltered: Ranking
    filtered: Ranking
    repeat_targets: int

    def to_json(self) -> dict[str, Any]:
        """The entry of one split in metrics.json."""
        return {
            "users": len(self.unfiltered.ranks),
            "repeat_targets": self.repeat_targets,
            "unfiltered": self.unfiltered.metrics,
            "filtered": self.filtered.metrics,
        }


def evaluate(
    recommend: RankingFunction,
    histories: Histories,
    targets: np.ndarray,
    *,
    k: int,
    top_k: Sequence[int],
    num_items: int,
) -> Evaluation:
    """Measures a recommender on every user, unfiltered and filtered.

    Args:
        recommend: called once for each protocol, with all of `histories`.
        histories: U histories without their targets.
        targets: int32 (U,), the item held out for each user.
        k: length of the lists to ask for.
        num_items: N, the size of the catalogue.

    Raises:
        UserError: there are no users, or `k` is less than a cut-off.
        ValueError: the targets do not fit the histories or were left inside them, or the
            recommender returned something else than it promises.
    """

    def parts(histories: Histories, k: int, *, exclude_history: bool):
        return {"whole": recommend(histories, k, exclude_history=exclude_history)}

    how = {"k": k, "top_k": top_k, "num_items": num_items}
    return evaluate_parts(parts, histories, targets, **how)["whole"]


def evaluate_parts(
    recommend_parts: Callable[..., dict[str, tuple[np.ndarray, np.ndarray]]],
    histories: Histories,
    targets: np.ndarray,
    *,
    k: int,
    top_k: Sequence[int],
    num_items: int,
) -> dict[str, Evaluation]:
    """Measures several recommenders that are computed together, such as a model and its parts.

    Args:
        recommend_parts: called as a `RankingFunction`; returns the lists of each, by name.

    The other arguments, and the errors, are those of `evaluate`.
    """
    if k < max(top_k):
        raise UserError(
            f"Recall@{max(top_k)} cannot be measured on lists of {k} items: "
            f"raise decoding.beam to {max(top_k)} or lower evaluation.top_k"
        )
    if len(histories) == 0:
        raise UserError("there is no user to evaluate: no history is long enough to hold items out")
    _check_targets(histories, targets, num_items)
    users = np.arange(len(histories))
    owned = _pairs(np.repeat(users, histories.lengths), histories.csr()[1], num_items)

    def rankings(exclude_history: bool) -> dict[str, Ranking]:
        parts = recommend_parts(histories, k, exclude_history=exclude_history)
        ranked = {}
        for name, (items, scores) in parts.items():
            items, scores = np.asarray(items), np.asarray(scores)
            _check_lists(items, scores, (len(histories), k), num_items)
            if exclude_history:
                kept = np.where(items >= 0, _pairs(users[:, None], items, num_items), -1)
                _refuse(np.isin(kept, owned), "is filtered, but holds an item of their history")
            ranks = target_ranks(items, targets)
            metrics = summarise(ranks, top_k, k)
            ranked[name] = Ranking(
                items.astype(np.int32), scores.astype(np.float32), ranks, metrics
            )
        return ranked

    unfiltered, filtered = rankings(False), rankings(True)
    repeats = int(np.isin(_pairs(users, targets, num_items), owned).sum())
    return {
        name: Evaluation(ranking, filtered[name], repeats) for name, ranking in unfiltered.items()
    }


def _check_targets(histories: Histories, targets: np.ndarray, num_items: int) -> None:
    if targets.shape != (len(histories),):
        raise ValueError(f"{len(histories)} histories do not fit targets of shape {targets.shape}")
    if targets.min() < 0 or targets.max() >= num_items:
        raise ValueError(f"a target is outside the catalogue of {num_items} items")
    # A user may well consume an item twice in a row. But if all do whose last two items differ, the
    # histories were not cut, and the metrics would measure how well the last item is repeated.
    long = histories.lengths >= 2
    ends = histories.stops[long]
    last = histories.items[ends - 1]
    repeats = (last == targets[long])[last != histories.items[ends - 2]]
    if len(repeats) >= _ENOUGH_USERS_FOR_A_PATTERN and repeats.all():
        raise ValueError("every history ends with its own target: it was not held out")


def _check_lists(
    items: np.ndarray, scores: np.ndarray, shape: tuple[int, int], num_items: int
) -> None:
    if items.shape != shape or scores.shape != shape:
        raise ValueError(
            f"the recommender returned items {items.shape} and scores {scores.shape}, "
            f"not {shape} each"
        )
    if not np.issubdtype(items.dtype, np.integer) or not np.issubdtype(scores.dtype, np.floating):
        raise ValueError(f"the recommender returned items {items.dtype}, scores {scores.dtype}")
    _refuse((items < -1) | (items >= num_items), "holds an item that does not exist")
    present = items >= 0
    _refuse(present[:, 1:] & ~present[:, :-1], "has a gap before its last item")
    _refuse(~np.isfinite(scores) & present, "has a score that is not finite")
    _refuse(
        (scores[:, 1:] > scores[:, :-1]) & present[:, 1:], "is not ordered by score, best first"
    )


def _refuse(wrong: np.ndarray, complaint: str) -> None:
    """Raises ValueError about the first user with any true in their row of `wrong`, bool (U, …)."""
    if wrong.any():
        raise ValueError(f"the list of user {np.nonzero(wrong)[0][0]} {complaint}")


def _pairs(users: np.ndarray, items: np.ndarray, num_items: int) -> np.ndarray:
    """int64: one number for each (user, item), so that sets of pairs compare as flat arrays."""
    return users.astype(np.int64) * num_items + items
