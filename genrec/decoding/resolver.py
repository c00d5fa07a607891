"""Codes to items: the item that has them, or else the real item nearest to what they describe."""

from collections.abc import Callable

import faiss
import numpy as np


class Resolver:
    """Resolves tuples of codes, also those that no item has.

    Args:
        codes: int (N, L), the semantic ID of every item.
        vectors: float32 (N, D), what the tokenizer made them from.
        rebuild: codes int (B, L) → vectors float32 (B, D), the tokenizer's way back.
        index: Faiss index-factory string; "Flat" is exact.
    """

    def __init__(
        self,
        codes: np.ndarray,
        vectors: np.ndarray,
        rebuild: Callable[[np.ndarray], np.ndarray],
        *,
        index: str = "Flat",
    ):
        self._items = {row.tobytes(): item for item, row in enumerate(codes.astype(np.int32))}
        self._rebuild = rebuild
        self._index = faiss.index_factory(vectors.shape[1], index)
        vectors = np.ascontiguousarray(vectors, np.float32)
        self._index.train(vectors)  # pyright: ignore[reportCallIssue]
        self._index.add(vectors)  # pyright: ignore[reportCallIssue]

    def __call__(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The item for each tuple.

        Args:
            codes: int (B, L).

        Returns:
            int32 (B,) item indices; bool (B,), whether the item has exactly these codes. Where it
            has not, it is the one whose vector is nearest to the rebuilt one.
        """
        found = [self._items.get(row.tobytes(), -1) for row in codes.astype(np.int32)]
        items = np.array(found, np.int32)
        exact = items >= 0
        if not exact.all():
            rebuilt = np.ascontiguousarray(self._rebuild(codes[~exact]), np.float32)
            items[~exact] = self._index.search(rebuilt, 1)[1][:, 0]  # pyright: ignore[reportCallIssue]
        return items, exact

    def lists(
        self, codes: np.ndarray, scores: np.ndarray, excluded: list[set[int]], k: int
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Ranked lists from ranked tuples, which may name an item twice or an excluded one.

        Args:
            codes: int (B, M, L), best first.
            scores: float32 (B, M).
            excluded: for each list, the items that must not be in it.
            k: length of the lists.

        Returns:
            int32 (B, k) item indices, -1 where the tuples name no other item; float32 (B, k)
            scores, -inf there; and the share of tuples that no item has.
        """
        count, beams, levels = codes.shape
        resolved, exact = self(codes.reshape(-1, levels))
        items = np.full((count, k), -1, np.int32)
        kept = np.full((count, k), -np.inf, np.float32)
        for row, candidates in enumerate(resolved.reshape(count, beams).tolist()):
            first = {item: place for place, item in reversed(list(enumerate(candidates)))}
            places = sorted(place for item, place in first.items() if item not in excluded[row])
            places = places[:k]
            items[row, : len(places)] = np.array(candidates, np.int32)[places]
            kept[row, : len(places)] = scores[row, places]
        return items, kept, 1.0 - float(exact.mean())
