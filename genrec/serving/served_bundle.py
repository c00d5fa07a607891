"""A bundle that the server answers from: what each request is searched as, and batches of those."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genrec.bundle import Bundle
from genrec.recommend.explanation import Explanation
from genrec.recommend.requests import ResolvedRequests
from genrec.sequences.histories import Histories
from genrec.sequences.padding import NamedItems, named_items, request_batch
from genrec.serving.compiled import CompiledPrograms, Kind, Shape
from genrec.serving.typeahead import Typeahead


@dataclass(frozen=True)
class SearchRequest:
    """One request, ready to be searched.

    Attributes:
        kind: which requests it may share a batch with.
        history: int32 (n,), at least one item, oldest first.
        timestamps: int64 (n,), seconds since 1970; None where unknown.
        user: a hash of the user's id; 0 where unknown.
        named: the items that it excludes, or the only ones that it allows.
        why: whether it asks what each expert adds to the scores.
    """

    kind: Kind
    history: np.ndarray
    timestamps: np.ndarray | None
    user: int
    named: NamedItems
    why: bool = False


class ServedBundle:
    """A bundle with its compiled programs; many threads may use it.

    Args:
        max_rows: the most requests that are searched at once.
        before: the one whose place this one takes.

    Attributes:
        checksum: of the bundle's manifest: which bundle it is.
        typeahead: finds items by what people type; None until `finish` made it.
    """

    def __init__(self, bundle: Bundle, max_rows: int, before: "ServedBundle | None" = None):
        self.bundle = bundle
        programs = None if before is None else before.programs
        self.programs = CompiledPrograms(bundle, max_rows, programs)
        self._answers: dict[str, Any] = bundle.manifest["answers"]
        self.checksum: str = bundle.manifest["checksum"]
        self.typeahead: Typeahead | None = None

    def start(self) -> None:
        """Makes ready for any request, as soon as can be."""
        _ = self.bundle.names, self.bundle.titles, self.bundle.by_popularity
        self.programs.start()

    def finish(self) -> Iterator[Shape]:
        """Makes answers as fast as can be; yields each shape that is compiled."""
        self.typeahead = Typeahead(list(self.bundle.titles.items()), self.bundle.by_popularity)
        yield from self.programs.finish()

    def prepare(
        self, requests: ResolvedRequests, exclude_history: bool, why: bool = False
    ) -> SearchRequest:
        """The only one of `requests`, whose history is not empty, as it is searched.

        Raises:
            UserError: it names more items than the bundle takes.
        """
        histories, allow = requests.histories, requests.allow
        history, users = histories[0], histories.users if self._answers["users"] else None
        excluded = [history] if exclude_history else []
        excluded += [] if requests.exclude is None else [requests.exclude[0]]
        named = named_items(excluded, None if allow is None else allow[0])
        self.bundle.named_width(len(named.items))
        read = min(len(history), self._answers["max_history"])
        return SearchRequest(
            self.programs.kind(len(named.items), users is not None, read),
            history,
            histories.timestamps,
            0 if users is None else int(users[0]),
            named,
            why,
        )

    def search(self, requests: Sequence[SearchRequest], shape: Shape) -> tuple[np.ndarray, ...]:
        """Items int32 and scores float32, (n, M), of up to as many requests as the shape has rows;
        and if any of them asks for it float32 (n, M, F), what each expert adds to each score.

        M is the beam width; -1 stands for no item.
        """
        (width, users, slots), rows = shape
        histories = Histories.of(
            [request.history for request in requests],
            [
                np.zeros_like(request.history) if request.timestamps is None else request.timestamps
                for request in requests
            ],
            [request.user for request in requests] if users else None,
        )
        named = [request.named for request in requests]
        arrays = request_batch(histories, named, (rows, slots), width).arrays()
        for row, request in enumerate(requests):
            if request.timestamps is None:
                arrays["gaps"][row] = 0  # not known, which is not the same as no time at all
        found = self.programs(shape, arrays, any(request.why for request in requests))
        return tuple(part[: len(requests)] for part in found)

    def describe(
        self, items: np.ndarray, scores: np.ndarray, why: Sequence[Explanation] | None = None
    ) -> list[dict[str, Any]]:
        """Id, title, score and codes of each item of a list, best first; and why it is there."""
        ids, titles = self.bundle.item_ids, self.bundle.titles
        rows = zip(items.tolist(), scores.tolist(), self.bundle.codes[items].tolist(), strict=True)
        described = [
            {"item_id": ids[item], "title": titles[ids[item]], "score": score, "codes": codes}
            for item, score, codes in rows
        ]
        for row, each in zip(described, why or (), strict=why is not None):
            row["why"] = dataclasses.asdict(each)
        return described
