"""Finding items as a person types: by the beginnings of words of their ids and titles."""

import bisect
import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence

_LOOKS = 20_000
"""How many items that have the longest of the words are searched for the others, at most."""


class Typeahead:
    """A catalogue to be searched.

    One text holds all names, a line to an item, and is searched from its beginning: that takes
    some 50 ms at most where there are a million items, and little memory.

    Args:
        names: the id and the title of N items.
        order: int (N,), all items; a search returns the first of these first.
    """

    def __init__(self, names: Sequence[tuple[str, str]], order: Iterable[int]):
        self._order = list(map(int, order))
        words = (" ".join(_words(" ".join(names[item]))) for item in self._order)
        lines = [f" {line}".encode() for line in words]
        self._text = b"\n".join(lines) + b"\n"
        self._starts = list(itertools.accumulate((len(line) + 1 for line in lines), initial=0))

    def find(self, typed: str, limit: int) -> list[int]:
        """Up to `limit` items that have a word beginning with each of those typed."""
        words = [b" " + word.encode() for word in _words(typed)]
        if not words:
            return []
        rarest = max(words, key=len)
        items: list[int] = []
        position = self._text.find(rarest)
        for _ in range(_LOOKS):
            if position < 0 or len(items) == limit:
                break
            row = bisect.bisect_right(self._starts, position) - 1
            end = self._text.find(b"\n", position)
            line = self._text[self._starts[row] : end]
            if all(word in line for word in words):
                items.append(self._order[row])
            position = self._text.find(rarest, end)
        return items


def _words(text: str) -> list[str]:
    """Its words without case and accents."""
    text = text.casefold()
    if not text.isascii():
        apart = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return re.findall(r"[^\W_]+", text)
