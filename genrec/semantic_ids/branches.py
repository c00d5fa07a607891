"""The tree of semantic IDs for people: what the items below a prefix have in common."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from genrec.errors import UserError

_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True)
class Branch:
    """The items below one code that may follow a prefix.

    Attributes:
        prefix: the codes down to this branch.
        items: their indices; those that the words describe best come first.
        words: the words that tell these items from the others under the same prefix, the best
            first.
    """

    prefix: tuple[int, ...]
    items: list[int]
    words: list[str]


def branches(
    codes: np.ndarray,
    texts: Sequence[str],
    prefix: Sequence[int] = (),
    *,
    items: np.ndarray | None = None,
    words: int = 6,
) -> list[Branch]:
    """The branches of the tree of semantic IDs below a prefix, the largest first.

    A word counts by how many of the branch's texts have it, times the logarithm of how much rarer
    it is under the whole prefix (as TF-IDF does); stop words and numbers are left out.

    Args:
        codes: int (N, L).
        texts: of the N items, their titles if they have some.
        prefix: codes of the first levels; none for the whole tree.
        items: the items that count; None for all.
        words: how many to name at most.

    Raises:
        UserError: the prefix is that of no item, or leads to an item and no branch.
    """
    levels, depth = codes.shape[1], len(prefix)
    items = np.arange(len(codes)) if items is None else items
    if depth >= levels:
        raise UserError(f"a prefix has at most {levels - 1} codes; this one has {depth}")
    for level, code in enumerate(prefix):
        below = items[codes[items, level] == code]
        if not len(below):
            existing = np.unique(codes[items, level])
            near = existing[np.argsort(np.abs(existing - code), kind="stable")[:5]]
            raise UserError(
                f"no item's codes begin with {_text(prefix[: level + 1])}; the nearest that there "
                f"are: {', '.join(_text((*prefix[:level], int(other))) for other in sorted(near))}"
            )
        items = below
    words_of = {int(item): set(_words(texts[int(item)])) for item in items}
    everywhere = Counter(word for item_words in words_of.values() for word in item_words)
    grouped: dict[int, list[int]] = {}
    for item in words_of:
        grouped.setdefault(int(codes[item, depth]), []).append(item)
    result = []
    for code, members in grouped.items():
        here = Counter(word for item in members for word in words_of[item])
        weight = {
            word: count * np.log(1 + len(items) / everywhere[word]) for word, count in here.items()
        }
        # A word of a single title says nothing of a branch of several.
        weight = {word: w for word, w in weight.items() if here[word] > 1 or len(members) < 3}
        best = sorted(weight, key=lambda word: (-weight[word], word))[:words]
        fitting = sorted(members, key=lambda item: (-len(words_of[item] & set(best)), item))
        result.append(Branch((*prefix, code), fitting, best))
    return sorted(result, key=lambda branch: (-len(branch.items), branch.prefix))


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.casefold()) if word not in ENGLISH_STOP_WORDS]


def _text(codes: Sequence[int]) -> str:
    return ",".join(map(str, codes))
