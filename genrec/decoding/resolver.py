"""Codes to items: the items that have them, or else the real item nearest to what they describe."""

from collections.abc import Callable

import faiss
import numpy as np

EXACT_BELOW = 100_000
"""Items up to which an exact search costs nothing worth saving."""
_PROBED = 32  # lists of an IVF index that a search reads
_AT_ONCE = 65_536


class Resolver:
    """Finds an item for any tuple of codes, also for one that several items share or none has.

    Args:
        codes: int (N, L), the semantic ID of every item.
        vectors: float32 (N, D), what the tokenizer made them from.
        rebuild: codes int (B, L) → vectors float32 (B, D), the tokenizer's way back.
        index: Faiss index-factory string; "Flat" is exact; "auto" is that below `EXACT_BELOW`
            items, and an inverted file above.
        seed: of the sample that `recall` is measured on.
    """

    def __init__(
        self,
        codes: np.ndarray,
        vectors: np.ndarray,
        rebuild: Callable[[np.ndarray], np.ndarray],
        *,
        index: str = "auto",
        seed: int = 0,
    ):
        codes = codes.astype(np.int32)
        vectors = np.ascontiguousarray(vectors, np.float32)
        nearest = np.flatnonzero(rank_by_distance(codes, vectors, rebuild) == 0)
        self._items = {codes[item].tobytes(): item for item in nearest.tolist()}
        self._codes, self._vectors, self._rebuild, self._seed = codes, vectors, rebuild, seed
        self.index_name = index
        if index == "auto":
            lists = 1 << int(np.sqrt(len(vectors))).bit_length()
            self.index_name = "Flat" if len(vectors) < EXACT_BELOW else f"IVF{lists},Flat"
        self._index = faiss.index_factory(vectors.shape[1], self.index_name)
        self._index.train(vectors)  # pyright: ignore[reportCallIssue]
        self._index.add(vectors)  # pyright: ignore[reportCallIssue]
        if self.index_name.startswith("IVF"):
            faiss.extract_index_ivf(self._index).nprobe = _PROBED

    def __call__(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The item for each tuple.

        Args:
            codes: int (B, L).

        Returns:
            int32 (B,) item indices; bool (B,), whether an item has exactly these codes. Of several
            such items it is the one nearest to the vector rebuilt from the codes; without any, it
            is the nearest of all items.
        """
        matches = [self._items.get(row.tobytes(), -1) for row in codes.astype(np.int32)]
        items = np.array(matches, np.int32)
        exact = items >= 0
        if not exact.all():
            items[~exact] = self._nearest(self._index, codes[~exact])
        return items, exact

    def recall(self, sample: int = 500) -> float:
        """Share of the codes for which the index finds the item that an exact search finds.

        Measured on the codes of items drawn at random, their last one changed.
        """
        generator = np.random.default_rng(self._seed)
        codes = self._codes[generator.integers(0, len(self._codes), sample)]
        codes[:, -1] = generator.permutation(codes[:, -1])
        exact = faiss.IndexFlatL2(self._vectors.shape[1])
        exact.add(self._vectors)  # pyright: ignore[reportCallIssue]
        return float(np.mean(self._nearest(self._index, codes) == self._nearest(exact, codes)))

    def _nearest(self, index: faiss.Index, codes: np.ndarray) -> np.ndarray:
        rebuilt = np.ascontiguousarray(self._rebuild(codes), np.float32)
        return index.search(rebuilt, 1)[1][:, 0]  # pyright: ignore[reportCallIssue]

    def lists(
        self, codes: np.ndarray, scores: np.ndarray, excluded: list[set[int]], k: int
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Ranked lists from ranked tuples, which may name an item twice or an excluded one.

        Args:
            codes: int (B, M, L), best first.
            scores: float32 (B, M).
            excluded: for each list, the items that must not be in it.

        Returns:
            int32 (B, k) item indices, -1 where the tuples name no other item; float32 (B, k)
            scores, -inf there; and the share of tuples that no item has.
        """
        count, beams, levels = codes.shape
        resolved, exact = self(codes.reshape(-1, levels))
        items = np.full((count, k), -1, np.int32)
        kept = np.full((count, k), -np.inf, np.float32)
        for row, candidates in enumerate(resolved.reshape(count, beams).tolist()):
            first = {item: beam for beam, item in reversed(list(enumerate(candidates)))}
            chosen = sorted(beam for item, beam in first.items() if item not in excluded[row])[:k]
            items[row, : len(chosen)] = np.array(candidates, np.int32)[chosen]
            kept[row, : len(chosen)] = scores[row, chosen]
        return items, kept, 1.0 - float(exact.mean())


def rank_by_distance(
    codes: np.ndarray, vectors: np.ndarray, rebuild: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """int32 (N,): the rank of each item within its collision group, from 0.

    Items of the same codes are ranked by the distance of their vectors from the one that is rebuilt
    from the codes, and by index where that is equal. Arguments are those of `Resolver`.
    """
    _, group, sizes = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    rank = np.zeros(len(codes), np.int32)
    sharing = np.flatnonzero(sizes[group] > 1)
    distance = np.zeros(len(sharing))
    for first in range(0, len(sharing), _AT_ONCE):
        items = sharing[first : first + _AT_ONCE]
        difference = vectors[items] - rebuild(codes[items])
        distance[first : first + _AT_ONCE] = np.square(difference).sum(axis=1)
    order = np.lexsort((sharing, distance, group[sharing]))
    ordered = group[sharing][order]
    rank[sharing[order]] = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
    return rank
