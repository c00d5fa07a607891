"""A catalogue's items by id and by name, and what changes when items come and go."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from genrec.errors import UserError, nearest


def first_few(names: Sequence[str], most: int = 5) -> str:
    """The names, or the first of them and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def indices_of(wanted: Iterable[str], item_ids: Iterable[str]) -> np.ndarray:
    """int64 (n,): the index of each of n ids among those of a catalogue; -1 for one it has not."""
    index = {item_id: item for item, item_id in enumerate(item_ids)}
    return np.array([index.get(item_id, -1) for item_id in wanted], np.int64)


class UnknownItem(UserError):
    """No item has this id or title.

    The message names titles that hold it or are spelt like it; to look for them takes long where
    there are many, so that is done when the message is read.

    Attributes:
        brief: the message without those.
    """

    def __init__(self, name: str, titles: Sequence[str]):
        self.brief = f"no item has the id or title {name!r}"
        super().__init__(self.brief)
        self._name, self._titles = name, titles

    def __str__(self) -> str:
        wanted = self._name.strip().casefold()
        within = {title for title in self._titles if wanted in title.casefold()}
        shortest = sorted(sorted(within), key=len)[:3]
        near = shortest or nearest(self._name, self._titles, 3, cutoff=0.6)
        hint = f"the nearest titles are {', '.join(map(repr, near))}" if near else "nor one like it"
        return f"{self.brief}; {hint}"


class ItemNames:
    """The names of a catalogue's items.

    A name is an item id, or else a title in whatever case that no two items share.
    """

    def __init__(self, ids: Sequence[str], titles: Sequence[str]):
        self._ids, self._titles = ids, titles
        self._by_id = {item_id: item for item, item_id in enumerate(ids)}
        self._by_title: dict[str, list[int]] = {}
        for item, title in enumerate(self._titles):
            self._by_title.setdefault(title.casefold(), []).append(item)

    def find(self, names: Iterable[str]) -> list[int]:
        """The item index of each name; -1 for one that no item has.

        Raises:
            UserError: several items have a title; their ids are given.
        """
        by_id = self._by_id
        return [by_id[name] if name in by_id else self._titled(name) for name in names]

    def known(self, names: Sequence[str]) -> list[int]:
        """The item index of each name.

        Raises:
            UserError: see `find`; or no item has a name.
        """
        items = self.find(names)
        if -1 in items:
            raise UnknownItem(names[items.index(-1)], self._titles)
        return items

    def _titled(self, title: str) -> int:
        """The item of a title; -1 if there is none, UserError if there are several."""
        items = self._by_title.get(title.strip().casefold(), [])
        if len(items) > 1:
            ids = first_few([self._ids[item] for item in items], 20)
            raise UserError(f"{len(items)} items are called {title!r}; say which by its id: {ids}")
        return items[0] if items else -1


@dataclass(frozen=True)
class Change:
    """How many items a change of the catalogue concerned.

    Attributes:
        items: how many may be recommended now.
        added: how many are new.
        known: how many of those to add were in the catalogue already; they stay as they are.
        returned: how many had been removed, and may be recommended again, with the codes they had.
        removed: how many may not be recommended any more.
        drift: how well the codebooks fit the items that came after the training, for people; None
            where no item has come.
    """

    items: int
    added: int = 0
    known: int = 0
    returned: int = 0
    removed: int = 0
    drift: str | None = None


def change_of(before: np.ndarray, after: np.ndarray, *, added: int = 0, known: int = 0) -> Change:
    """The counts of a change; `before` and `after` are int, the items open to recommendation."""
    return Change(
        items=len(after),
        added=added,
        known=known,
        returned=len(np.setdiff1d(after, before)) - added,
        removed=len(np.setdiff1d(before, after)),
    )


def plan_additions(
    item_ids: Sequence[str], open_items: np.ndarray, to_add: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, Change]:
    """Which items are new to a catalogue, and which it has already, removed or not.

    Args:
        item_ids: of the N items that the catalogue has.
        open_items: int, those of them that may be recommended now.
        to_add: ids of the items to add, each once.

    Returns:
        int64 (n,), the positions in `to_add` of the new items, which become items N, N + 1, …;
        int64, the items that may be recommended afterwards, also those that had been removed; and
        the counts of the change.
    """
    items = indices_of(to_add, item_ids)
    new, known = np.flatnonzero(items < 0), items[items >= 0]
    new_items = len(item_ids) + np.arange(len(new))
    after = np.union1d(open_items, np.concatenate([known, new_items]))
    return new, after, change_of(open_items, after, added=len(new), known=len(known))
