"""Finding the items that people name, by id or by title."""

import difflib
from collections.abc import Collection, Iterable, Sequence

from genrec.errors import UserError

_NAMED_AT_MOST = 20


class ItemNames:
    """The names of a catalogue's items.

    A name is an item id, or else a title in whatever case that no two items share.

    Args:
        ids: of N items.
        titles: of the same.
    """

    def __init__(self, ids: Sequence[str], titles: Sequence[str]):
        self._ids, self._titles = ids, titles
        self._by_id = {item_id: item for item, item_id in enumerate(self._ids)}
        self._by_title: dict[str, list[int]] = {}
        for item, title in enumerate(self._titles):
            self._by_title.setdefault(title.casefold(), []).append(item)

    def find(self, names: Iterable[str]) -> list[int]:
        """The item index of each name; -1 for one that no item has.

        Raises:
            UserError: several items have a title; their ids are given.
        """
        found = []
        for name in names:
            titled = self._by_title.get(name.strip().casefold(), [])
            if name in self._by_id:
                found.append(self._by_id[name])
            elif len(titled) > 1:
                ids = ", ".join(self._ids[item] for item in titled[:_NAMED_AT_MOST])
                more = len(titled) - _NAMED_AT_MOST
                raise UserError(
                    f"{len(titled)} items are called {name!r}; say which by its id: {ids}"
                    + (f" and {more:,} more" if more > 0 else "")
                )
            else:
                found.append(titled[0] if titled else -1)
        return found

    def known(self, names: Sequence[str]) -> list[int]:
        """The item index of each name.

        Raises:
            UserError: see `find`; or no item has a name.
        """
        found = self.find(names)
        if -1 in found:
            raise self.unknown(names[found.index(-1)])
        return found

    def unknown(self, name: str) -> UserError:
        """What to say of a name that no item has: the titles that are most like it."""
        near = self._similar(name)
        hint = f"the nearest titles are {', '.join(map(repr, near))}" if near else "nor one like it"
        return UserError(f"no item has the id or title {name!r}; {hint}")

    def _similar(self, name: str) -> list[str]:
        """Titles that contain the name, or else those spelt most like it."""
        within = [title for title in self._titles if name.strip().casefold() in title.casefold()]
        shortest = sorted(sorted(set(within)), key=len)[:3]
        return shortest or nearest(name, self._titles, 3, cutoff=0.6)


def nearest(name: str, among: Iterable[str], count: int = 1, cutoff: float = 0.0) -> list[str]:
    """The up to `count` names most like `name` in whatever case; the most alike first.

    `cutoff` is the least likeness (0…1); one above 0 makes it quick among very many.
    """
    folded: dict[str, str] = {}
    for other in among:
        folded.setdefault(other.casefold(), other)
    matches = difflib.get_close_matches(name.casefold(), folded, n=count, cutoff=cutoff)
    return [folded[match] for match in matches]


def instead_of(name: str, there: Collection[str], verb: str) -> str:
    """What there is instead of a name that is not there: "the nearest is 'a'; it has: a, b".

    A nearest one is told only if it is like the name. `verb` is "it has", or "there are".
    """
    alike = nearest(name, there, cutoff=0.5)
    return "".join(f"the nearest is {other!r}; " for other in alike) + f"{verb}: {', '.join(there)}"
