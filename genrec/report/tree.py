"""The tree of semantic IDs as nested lists, for the explorer on the page."""

from typing import Any

import numpy as np

from genrec.semantic_ids.branches import branches

MOST_ITEMS = 20_000
"""Items whose titles are in the page; of a larger catalogue, a sample."""
_LONGEST_TITLE = 110
_WORDS = 5


def tree(codes: np.ndarray, labels: list[str], *, seed: int) -> dict[str, Any]:
    """The tree, the largest branches first.

    A branch is [code, number of items below it, words, list of branches and items below it]; an
    item is [the rest of its codes, title], below the first prefix that it shares with no other.
    Words are those of `branches`, which set the items of a branch apart from those beside it.

    Args:
        codes: int32 (N, L), the semantic IDs.

    Returns:
        `items`: N; `shown`: how many of them are in the tree, all or `MOST_ITEMS` drawn at random;
        `branches`. Numbers of items count all of them; words are of those shown.
    """
    count = len(codes)
    shown = np.arange(count)
    if count > MOST_ITEMS:
        shown = np.sort(np.random.default_rng(seed).choice(count, MOST_ITEMS, replace=False))
    by_codes = codes[np.lexsort(codes.T[::-1])].T

    def size_of(prefix: tuple[int, ...]) -> int:
        """How many items begin with these codes."""
        low, high = 0, count
        for column, code in zip(by_codes, prefix, strict=False):
            part = column[low:high]
            low, high = low + part.searchsorted(code), low + part.searchsorted(code, "right")
        return int(high - low)

    def below(items: np.ndarray, prefix: tuple[int, ...]) -> list[list[Any]]:
        """The branches and items below a prefix, with which these items, int64, begin."""
        depth = len(prefix)
        if depth == codes.shape[1]:  # items that share their whole semantic ID
            return [["", _title(labels[item])] for item in items.tolist()]
        inner, leaves = [], []
        for branch in branches(codes, labels, prefix, items=items, words=_WORDS):
            size = size_of(branch.prefix)
            if size == 1:
                item = branch.items[0]
                rest = " ".join(map(str, codes[item, depth:].tolist()))
                leaves.append([rest, _title(labels[item])])
                continue
            nodes = below(np.sort(branch.items), branch.prefix)
            inner.append([branch.prefix[-1], size, ", ".join(branch.words), nodes])
        inner.sort(key=lambda node: (-node[1], node[0]))
        return inner + leaves

    return {"items": count, "shown": len(shown), "branches": below(shown, ())}


def _title(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_TITLE else text[: _LONGEST_TITLE - 1].rstrip() + "…"
