"""The items of a catalogue by their names, and what changes when items come and go."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from genrec.errors import UserError, nearest

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


@dataclass(frozen=True)
class Change:
    """What became of a catalogue.

    Attributes:
        items: how many may be recommended now.
        added: how many came.
        known: how many were named that are in the catalogue already; they stay as they are.
        returned: how many of these had been removed, and are back with the codes they had.
        removed: how many went.
        drift: how well the codebooks fit what came after the training, for people; None where no
            item has come.
    """

    items: int
    added: int = 0
    known: int = 0
    returned: int = 0
    removed: int = 0
    drift: str | None = None
