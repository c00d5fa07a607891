"""One bundle that answers requests from many threads: names in, batches searched, lists out."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from genrec.bundle import Bundle
from genrec.errors import UserError
from genrec.recommend.base import Known
from genrec.sequences.inputs import gap_buckets
from genrec.serving.compiled import Kind, Programs, Shape
from genrec.serving.typeahead import Finder


@dataclass(frozen=True)
class Query:
    """One request as the search reads it.

    Attributes:
        kind: which requests it may share a batch with.
        items: int32 (n,), what is read of the history, at least one item; oldest first.
        gaps: int32 (n,), see `gap_buckets`.
        user: a hash of the user's id; 0 where nobody says.
        named: int32 (m,), the items excluded, or the only ones allowed.
        allows: whether they are the ones allowed.
    """

    kind: Kind
    items: np.ndarray
    gaps: np.ndarray
    user: int
    named: np.ndarray
    allows: bool


class Engine:
    """A bundle with its compiled programs.

    Args:
        bundle: what answers.
        max_rows: the most requests that are searched at once.
        before: the engine whose place this one takes.

    Attributes:
        beam: the largest k.
        checksum: of the bundle's manifest: which bundle it is.
        finder: finds items by what people type; None until `finish` made it.
    """

    def __init__(self, bundle: Bundle, max_rows: int, before: "Engine | None" = None):
        self.bundle = bundle
        self.programs = Programs(bundle, max_rows, None if before is None else before.programs)
        self.beam: int = bundle.manifest["answers"]["beam"]
        self.checksum: str = bundle.manifest["checksum"]
        self.finder: Finder | None = None
        self._longest: int = bundle.manifest["answers"]["max_history"]
        self._most_named: int = bundle.manifest["answers"]["named"][-1]

    def start(self) -> None:
        """Makes ready for any request, as soon as can be."""
        _ = self.bundle.names, self.bundle.titles, self.bundle.by_popularity
        self.programs.start()

    def finish(self) -> Iterator[Shape]:
        """Makes ready for anything, as fast as can be; yields each shape that is compiled."""
        names = [(item_id, self.bundle.titles[item_id]) for item_id in self.bundle.item_ids]
        self.finder = Finder(names, self.bundle.by_popularity)
        yield from self.programs.finish()

    def query(self, known: Known, exclude_history: bool) -> Query:
        """The only request of `known`, whose history is not empty.

        Raises:
            UserError: it names more items than the bundle takes.
        """
        history = known.histories[0]
        excluded = [history] if exclude_history else []
        excluded += [] if known.exclude is None else [known.exclude[0]]
        named = np.unique(np.concatenate([np.zeros(0, np.int32), *excluded]))
        only = None if known.allow is None else known.allow[0]
        if only is not None:
            named = np.setdiff1d(only, named)
        if len(named) > self._most_named:
            raise UserError(
                f"the request names {len(named):,} items to exclude or allow, "
                f"its history included; this bundle takes {self._most_named:,} at most"
            )
        items = history[-self._longest :].astype(np.int32)
        times, users = known.histories.timestamps, known.histories.users
        if not self.bundle.manifest["answers"]["users"]:
            users = None
        return Query(
            self.programs.kind(len(named), users is not None, len(items)),
            items,
            np.zeros_like(items) if times is None else gap_buckets(times[-self._longest :]),
            0 if users is None else int(users[0]),
            named.astype(np.int32),
            only is not None,
        )

    def search(self, queries: Sequence[Query], shape: Shape) -> tuple[np.ndarray, np.ndarray]:
        """Items int32, -1 for none, and scores float32, (B, beam), for up to as many as the shape
        has rows."""
        (width, users, slots), rows = shape
        items, gaps = np.zeros((rows, slots), np.int32), np.zeros((rows, slots), np.int32)
        segments = np.full((rows, slots), -1, np.int32)
        named = np.full((rows, width), -1, np.int32)
        allow, user = np.zeros(rows, np.bool_), np.zeros(rows, np.uint32)
        for row, query in enumerate(queries):
            read = len(query.items)
            items[row, :read], gaps[row, :read], segments[row, :read] = query.items, query.gaps, 0
            named[row, : len(query.named)] = query.named
            allow[row], user[row] = query.allows, query.user
        request = {
            "items": items,
            "segments": segments,
            "gaps": gaps,
            "named": named,
            "allow": allow,
        } | ({"users": user} if users else {})
        best, scores = self.programs(shape, request)
        return best[: len(queries)], scores[: len(queries)]

    def described(self, items: np.ndarray, scores: np.ndarray) -> list[dict[str, Any]]:
        """What people and programs are told of a list of items, best first."""
        ids, titles = self.bundle.item_ids, self.bundle.titles
        rows = zip(items.tolist(), scores.tolist(), self.bundle.codes[items].tolist(), strict=True)
        return [
            {"item_id": ids[item], "title": titles[ids[item]], "score": score, "codes": codes}
            for item, score, codes in rows
        ]


_told: ContextVar[list[str] | None] = ContextVar("told", default=None)


@contextlib.contextmanager
def telling() -> Iterator[list[str]]:
    """Collects what answering has to say of a request, which otherwise goes to the log."""
    messages: list[str] = []
    before = _told.set(messages)
    try:
        yield messages
    finally:
        _told.reset(before)


def _collect(record: logging.LogRecord) -> bool:
    messages = _told.get()
    if messages is None:
        return True
    messages.append(record.getMessage())
    return False


logging.getLogger("genrec.recommend.base").addFilter(_collect)
