"""Finding items as a person types: by the beginnings of words of their ids and titles."""

import bisect
import re
import unicodedata
from collections.abc import Iterable, Sequence

_LOOKS = 20_000
"""At how many items that have one of the words a search looks for the others."""


class Finder:
    """A catalogue to be searched.

    One text holds all names, a line to an item, and is searched from its beginning: that takes
    some 50 ms at most where there are a million items, and little memory.

    Args:
        names: the id and the title of N items.
        order: int (N,), all items, those to be found first first.
    """

    def __init__(self, names: Sequence[tuple[str, str]], order: Iterable[int]):
        self._order = list(map(int, order))
        lines = (" " + " ".join(_words(" ".join(names[item]))) for item in self._order)
        lines = [line.encode() for line in lines]
        self._text = b"\n".join(lines) + b"\n"
        self._starts, place = [], 0
        for line in lines:
            self._starts.append(place)
            place += len(line) + 1

    def find(self, typed: str, limit: int) -> list[int]:
        """Up to `limit` items that have a word beginning with each of those typed."""
        words = [b" " + word.encode() for word in _words(typed)]
        if not words:
            return []
        rarest = max(words, key=len)
        found: list[int] = []
        place = self._text.find(rarest)
        for _ in range(_LOOKS):
            if place < 0 or len(found) == limit:
                break
            row = bisect.bisect_right(self._starts, place) - 1
            end = self._text.find(b"\n", place)
            line = self._text[self._starts[row] : end]
            if all(word in line for word in words):
                found.append(self._order[row])
            place = self._text.find(rarest, end)
        return found


def _words(text: str) -> list[str]:
    """Its words without case and accents."""
    text = text.casefold()
    if not text.isascii():
        apart = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return re.findall(r"[^\W_]+", text)
