"""The one protocol by which every recommender is measured: leave-one-out over the full catalogue.

Each recommender is run twice: *unfiltered*, where any item may be recommended, and *filtered*,
where the items of a user's history are not. Both are reported side by side, because a figure of one
is not comparable with a figure of the other. There are no sampled metrics: they do not keep the
order of recommenders (Krichene and Rendle 2020).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from genrec.errors import UserError
from genrec.evaluation.metrics import summarise, target_ranks
from genrec.sequences.histories import Histories

_ENOUGH_USERS_FOR_A_PATTERN = 10


@runtime_checkable
class Recommend(Protocol):
    """A recommender: histories in, ranked items out. It is never told the targets."""

    def __call__(
        self, histories: Histories, k: int, *, exclude_history: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best `k` items for each of B histories.

        Returns:
            items int32 (B, k), best first, −1 from where nothing is left on; scores float32 (B, k),
            finite and never rising along a list, of any value where the item is −1.
        """
        ...


@runtime_checkable
class RecommendInParts(Protocol):
    """The same for several recommenders at once, by their names."""

    def __call__(
        self, histories: Histories, k: int, *, exclude_history: bool
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]: ...


@dataclass(frozen=True)
class Ranking:
    """What a recommender gave every user under one protocol, and how good it was.

    Attributes:
        items: int32 (U, k), item indices, best first; −1 where nothing was left.
        scores: float32 (U, k).
        ranks: int64 (U,), 0-based place of the target, k where it is missing.
        metrics: the means over all users, such as {"recall@10": …, "ndcg@10": …}.
    """

    items: np.ndarray
    scores: np.ndarray
    ranks: np.ndarray
    metrics: dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """A recommender under both protocols.

    Attributes:
        unfiltered: any item may be recommended.
        filtered: the items of a user's history may not.
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
    recommend: Recommend,
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
        top_k: cut-offs of Recall and NDCG.
        num_items: N, the size of the catalogue.

    Raises:
        UserError: there are no users, or `k` is less than a cut-off.
        ValueError: the targets do not fit the histories or were left inside them, or the
            recommender returned something else than it promises.
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

    def ranking(exclude_history: bool) -> Ranking:
        items, scores = recommend(histories, k, exclude_history=exclude_history)
        items, scores = np.asarray(items), np.asarray(scores)
        _check_lists(items, scores, (len(histories), k), num_items)
        if exclude_history:
            _check_filtered(items, owned, num_items)
        ranks = target_ranks(items, targets)
        return Ranking(
            items.astype(np.int32), scores.astype(np.float32), ranks, summarise(ranks, top_k, k)
        )

    repeats = np.isin(_pairs(users, targets, num_items), owned)
    return Evaluation(ranking(False), ranking(True), int(repeats.sum()))


def evaluate_parts(
    in_parts: RecommendInParts,
    histories: Histories,
    targets: np.ndarray,
    *,
    k: int,
    top_k: Sequence[int],
    num_items: int,
) -> dict[str, Evaluation]:
    """Measures what one recommender makes in several ways at once, by their names.

    Arguments and errors are those of `evaluate`.
    """
    lists = {exclude: in_parts(histories, k, exclude_history=exclude) for exclude in (False, True)}

    def measured(name: str) -> Evaluation:
        def found(histories: Histories, k: int, *, exclude_history: bool):
            return lists[exclude_history][name]

        return evaluate(found, histories, targets, k=k, top_k=top_k, num_items=num_items)

    return {name: measured(name) for name in lists[False]}


def _check_targets(histories: Histories, targets: np.ndarray, num_items: int) -> None:
    if targets.shape != (len(histories),):
        raise ValueError(f"{len(histories)} histories do not fit targets of shape {targets.shape}")
    if targets.min() < 0 or targets.max() >= num_items:
        raise ValueError(f"a target is outside the catalogue of {num_items} items")
    # One user may consume an item twice in a row; when every user does whose items before were not
    # that item alone, the histories were not cut, and the figures would measure how well a
    # recommender repeats the last item.
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


def _check_filtered(items: np.ndarray, owned: np.ndarray, num_items: int) -> None:
    present = items >= 0
    users, _ = np.nonzero(present)
    known = np.isin(_pairs(users, items[present], num_items), owned)
    if known.any():
        raise ValueError(
            f"the filtered list of user {users[known.argmax()]} holds an item of their history"
        )


def _refuse(wrong: np.ndarray, why: str) -> None:
    """Names the first user whose row of `wrong`, (U, …), has a true entry."""
    if wrong.any():
        raise ValueError(f"the list of user {np.nonzero(wrong)[0][0]} {why}")


def _pairs(users: np.ndarray, items: np.ndarray, num_items: int) -> np.ndarray:
    """int64: one number for each (user, item), so that sets of pairs compare as flat arrays."""
    return users.astype(np.int64) * num_items + items
