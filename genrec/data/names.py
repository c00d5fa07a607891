"""Finding the items that people name, by id or by title."""

from collections.abc import Iterable

from genrec.data.dataset import Dataset
from genrec.data.engine import nearest
from genrec.errors import UserError


class ItemNames:
    """The names of a catalogue's items.

    A name is an item id, or else a title in whatever case that no two items share.
    """

    def __init__(self, dataset: Dataset):
        self._ids, self._titles = dataset.item_ids, dataset.titles
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
                ids = ", ".join(self._ids[item] for item in titled)
                raise UserError(
                    f"{len(titled)} items are called {name!r}; say which by its id: {ids}"
                )
            else:
                found.append(titled[0] if titled else -1)
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
