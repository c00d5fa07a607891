"""Why an item stands where it does: what each expert adds to its score, and a sentence from that.

Plain NumPy over what a run or a bundle looks up, so that both say the same. What the experts are is
told in `genrec.decoding.experts`; one without a phrase here is told by its name.

Array shapes: N items, E edges, K kinds of edges, C width of content, F experts, k items of a list.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

OTHERS = "all others compared"
"""The name of what is left of a score: how strong the other candidates are, the same for a list."""
EDGES = {
    "transitions": "came after {} in training",
    "two_hops": "came after what came after {}",
    "together": "was often had together with {}",
    "relayed": "came after what is like {}",
}
"""What each kind of edge from an item of the history says; in the order of the graph's weights."""
_CONTENT = {"recent_content": 5, "whole_content": None}
"""How many last items of the history each compares with; None for all."""
_LEARNED = {"codes": "the codes give it", "dense_head": "the dense head gives it"}
_FADING = 0.5
"""What an edge counts for every item of the history that came later."""
_MOST_PHRASES = 3


@dataclass(frozen=True)
class LookedUp:
    """What experts look up, and what they count.

    Attributes:
        names: of the F experts.
        ranking: float32 (F,), what each counts in a list.
        begins: int32 (N + 1,); the edges of item `i` are begins[i]:begins[i + 1].
        items: int32 (E,), where each edge leads.
        weights: float (E, K), for each of `EDGES` what it weighs, in 0…1.
        content: float (N, C), rows of unit norm, or zero for items of which nothing is known.
        popularity: float32 (N,), log(1 + training interactions).
        max_history: how many last items of a history are read.
    """

    names: tuple[str, ...]
    ranking: np.ndarray
    begins: np.ndarray
    items: np.ndarray
    weights: np.ndarray
    content: np.ndarray
    popularity: np.ndarray
    max_history: int

    @functools.cached_property
    def chance(self) -> np.ndarray:
        """float (F,): what each expert adds to an item that it says nothing special of: a
        probability of 1 in N, the mean popularity, and else nothing."""
        usual = dict.fromkeys(_LEARNED, -math.log(len(self.popularity)))
        usual["popularity"] = float(np.mean(self.popularity))
        return np.array([usual.get(name, 0.0) for name in self.names]) * self.ranking


@dataclass(frozen=True)
class Explanation:
    """Why one item stands in a list.

    Attributes:
        contributions: what each expert adds to the score, the largest in size first; at last, as
            `OTHERS`, what is left. They add up to the score.
        words: the most that speaks for it, in short.
    """

    contributions: dict[str, float]
    words: str


def explain_list(
    known: LookedUp,
    titles: Sequence[str],
    history: np.ndarray,
    items: np.ndarray,
    scores: np.ndarray,
    added: np.ndarray,
) -> list[Explanation]:
    """Why each item of a list stands there.

    Args:
        titles: of all N items.
        history: int (n,), the items that the list goes on from, oldest first; if there are none,
            the list was made by popularity alone.
        items: int (k,).
        scores: float (k,).
        added: float (k, F), what each expert adds to each score.
    """
    evidence = _Evidence(known, titles, history)
    return [
        Explanation(_contributions(known.names, row, score), evidence.words(item, row))
        for item, score, row in zip(items.tolist(), scores.tolist(), added, strict=True)
    ]


def _contributions(names: tuple[str, ...], added: np.ndarray, score: float) -> dict[str, float]:
    each = sorted(zip(names, added.tolist(), strict=True), key=lambda pair: -abs(pair[1]))
    return dict(each) | {OTHERS: score - math.fsum(added.tolist())}


class _Evidence:
    """What speaks for items after one history, in words."""

    def __init__(self, known: LookedUp, titles: Sequence[str], history: np.ndarray):
        self._known, self._titles = known, titles
        self._recent = np.asarray(history)[-known.max_history :][::-1]  # the last one first
        ranges = [np.arange(*known.begins[item : item + 2]) for item in self._recent.tolist()]
        self._edges = np.concatenate([np.zeros(0, np.int64), *ranges])
        self._age = np.repeat(np.arange(len(ranges)), [len(each) for each in ranges])
        self._leads_to = known.items[self._edges]

    def words(self, item: int, added: np.ndarray) -> str:
        """The phrases of the experts that add most, beyond what they add to any item."""
        if not len(self._recent):
            return "one of the most popular items"
        phrases = list(dict.fromkeys(self._phrases(item, added)))[:_MOST_PHRASES]
        return "; ".join(phrases) or "nothing speaks for it in particular"

    def _phrases(self, item: int, added: np.ndarray) -> Iterator[str]:
        beyond = added - self._known.chance
        for expert in np.argsort(-beyond, kind="stable").tolist():
            if beyond[expert] <= 0:
                return
            phrase = self._phrase(expert, item, float(added[expert]))
            if phrase is not None:
                yield phrase

    def _phrase(self, expert: int, item: int, added: float) -> str | None:
        """What an expert that adds so much says; None where it can't be said in a phrase."""
        known, name, weight = self._known, self._known.names[expert], self._known.ranking[expert]
        if weight <= 0:  # it speaks against what it says of the item, or for the lack of that
            return None
        if name in EDGES:
            return self._linked(list(EDGES).index(name), EDGES[name].format, item)
        if name in _CONTENT:
            return self._alike(_CONTENT[name], item)
        if name in _LEARNED:
            # 0 for new items that have a share of their own: it was not asked.
            return f"{_LEARNED[name]} {_percent(math.exp(added / weight))}" if added < 0 else None
        if name == "popularity":
            count = round(math.expm1(float(known.popularity[item])))
            return f"popular ({count:,} in training)"
        return "had before" if name == "had" else f"{name} speaks for it ({added:+.1f})"

    def _linked(self, kind: int, said_of: Callable[[str], str], item: int) -> str | None:
        """Of the edges that lead there, the one that counts most."""
        known, there = self._known, np.flatnonzero(self._leads_to == item)
        weights = np.asarray(known.weights[self._edges[there], kind], np.float32)
        if weights.max(initial=0.0) <= 0:
            return None
        age = self._age[there]
        best = int(np.argmax(weights * _FADING**age))
        title = self._titles[int(self._recent[age[best]])]
        # Training never met it: its edges are borrowed, see `genrec.graph.building`.
        borrowed = "what is like it " if known.popularity[item] == 0 else ""
        return f"{borrowed}{said_of(title)} ({_short(weights[best])})"

    def _alike(self, last: int | None, item: int) -> str | None:
        """The item of the history that is most like it."""
        content, recent = self._known.content, self._recent[:last]
        cosines = content[recent].astype(np.float32) @ content[item].astype(np.float32)
        best = int(np.argmax(cosines))
        if cosines[best] <= 0:
            return None
        return f"like {self._titles[int(recent[best])]} in content ({_short(cosines[best])})"


def _short(share: float) -> str:
    """A number of 0…1 with two digits, such as .82."""
    return f"{share:.2f}".removeprefix("0")


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 9.5 else f"{percent:.1g} %"
