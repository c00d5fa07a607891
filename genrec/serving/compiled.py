"""A bundle's programs, compiled for a few shapes of requests, so that no request waits for XLA.

A program takes any number of histories of any length, but each (rows, slots) costs seconds to
compile. So few shapes are compiled, behind the back of the requests, and a batch takes the one
that costs least for each of its requests. The first shape is for one request with anything in it:
from then on every request can be answered.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from genrec.bundle import Bundle
from genrec.bundle.stablehlo import load_program
from genrec.bundle.storage import program_name
from genrec.sequences.histories import Histories
from genrec.sequences.padding import named_items, request_batch

_SLOTS = 16
"""Histories up to so long are not laid out as wide as the longest; then four times, and so on."""
_PAYS = 1.5
"""More rows go on being tried while a request costs at most so many times the best so far: what is
measured on a busy machine says no more than that. What is used is the best of all."""
_ROUNDS = 8

Program = Callable[..., tuple[Any, ...]]


class Kind(NamedTuple):
    """What requests that share a batch have in common, each up to these.

    Attributes:
        named: how many items each may name, to exclude them or to allow no others.
        users: whether they say whose they are.
        slots: how many items of their histories are read.
    """

    named: int
    users: bool
    slots: int


class Shape(NamedTuple):
    """What a program is compiled for: so many requests of a kind at once."""

    kind: Kind
    rows: int


class CompiledPrograms:
    """The compiled programs of a bundle.

    Args:
        max_rows: the most requests that are ever searched at once.
        before: compiled programs of another bundle: those that are the same are taken over.

    Attributes:
        seconds: of every shape that can be used, how long it takes, undisturbed.
    """

    def __init__(self, bundle: Bundle, max_rows: int, before: "CompiledPrograms | None" = None):
        answers = bundle.manifest["answers"]
        self._bundle, self._max_rows = bundle, max_rows
        self._compiled: dict[tuple[str, int, int], Program] = {}
        self._before = {} if before is None else dict(before._compiled)
        self._read: dict[str, Program] = {}
        self.seconds: dict[Shape, float] = {}
        # A CPU runs such a program at a fourth of the speed, but has it in half the time.
        cpu = jax.default_backend() == "cpu"
        self._hasty = {"xla_backend_optimization_level": 0} if cpu else None
        longest, most = answers["max_history"], answers["named"][-1]
        self._users = (False, True) if answers["users"] else (False,)
        self._slots = tuple(_widths(longest))
        # The history is among the items that a request names, unless it may come again.
        self._named = (next((n for n in answers["named"] if n > longest), most), most)
        self._anything = [Shape(Kind(most, users, longest), 1) for users in self._users]

    def kind(self, named: int, users: bool, slots: int) -> Kind:
        """The kind of a request that names so many items, and of whose history so many are read."""
        return Kind(
            next(width for width in self._named if width >= named),
            users,
            next(width for width in self._slots if width >= slots),
        )

    def best(self, kind: Kind, waiting: int) -> Shape:
        """The shape that costs least for each request, where so many of a kind wait."""
        able = [
            shape
            for shape in self.seconds
            if shape.kind.users == kind.users
            and shape.kind.named >= kind.named
            and shape.kind.slots >= kind.slots
        ]
        return min(
            able, key=lambda shape: (self.seconds[shape] / min(shape.rows, waiting), shape.rows)
        )

    def __call__(
        self, shape: Shape, request: Mapping[str, np.ndarray], why: bool = False
    ) -> tuple[np.ndarray, ...]:
        """Items int32 and scores float32, (rows, beam), for a request as `blank` makes it.

        With `why`, which only a bundle with experts can say, also float32 (rows, beam, F), what
        each expert adds to each score.
        """
        answers = self._compiled[self._key(shape)](self._bundle.state, request)
        return tuple(np.asarray(x) for x in answers[: 3 if why else 2])

    def start(self) -> None:
        """Compiles what any request needs, in haste: it is slow until `finish` makes it anew."""
        for shape in self._anything:
            self._add(shape, self._hasty)
            self._measure([shape])

    def finish(self) -> Iterator[Shape]:
        """Compiles everything else, and yields each shape as it can be used."""
        for shape in self._anything:
            if self._hasty:
                self._add(shape)
            self._measure([shape])
            yield shape
        growing = [
            Kind(self._named[0], users, slots) for users in self._users for slots in self._slots
        ]
        rows = 1
        while growing and rows <= self._max_rows:
            for kind in tuple(growing):
                self._add(Shape(kind, rows))
                tried = [Shape(kind, 1 << n) for n in range(rows.bit_length())]
                self._measure(tried)
                yield tried[-1]
                *fewer, last = (self.seconds[shape] / shape.rows for shape in tried)
                if fewer and last > _PAYS * min(fewer):
                    growing.remove(kind)
            rows *= 2
        self._before = {}
        self._measure(list(self.seconds))

    def _key(self, shape: Shape) -> tuple[str, int, int]:
        name = program_name(shape.kind.named, shape.kind.users)
        return self._bundle.manifest["files"][name]["sha256"], shape.kind.slots, shape.rows

    def _add(self, shape: Shape, options: dict[str, Any] | None = None) -> None:
        key = self._key(shape)
        program = self._before.get(key)
        if program is None:
            name = program_name(shape.kind.named, shape.kind.users)
            arguments = self._bundle.state, blank(shape)
            if name not in self._read:
                self._read[name] = load_program(self._bundle.contents, name, *arguments)
            lowered = jax.jit(self._read[name]).lower(*arguments)
            program = lowered.compile(compiler_options=options)
        self._compiled[key] = program

    def _measure(self, shapes: list[Shape]) -> None:
        """Times some shapes in turns: what else the machine does falls on all of them alike."""
        fastest: dict[Shape, float] = {}
        requests = {shape: blank(shape) for shape in shapes}
        for _ in range(_ROUNDS):
            for shape, request in requests.items():
                began = time.perf_counter()
                self(shape, request)
                took = time.perf_counter() - began
                fastest[shape] = min(took, fastest.get(shape, took))
        least: dict[Kind, float] = {}
        seconds = dict(self.seconds)
        for shape in sorted(fastest, key=lambda shape: -shape.rows):
            # More rows never take less time: if they seem to, the machine was busy.
            least[shape.kind] = min(fastest[shape], least.get(shape.kind, fastest[shape]))
            seconds[shape] = least[shape.kind]
        self.seconds = seconds  # another thread may be reading the old ones


def blank(shape: Shape) -> dict[str, np.ndarray]:
    """The arrays of a request, see `genrec.export.stablehlo`, with the first item all over."""
    (width, users, slots), rows = shape
    history = np.zeros(slots, np.int32)
    histories = Histories.of([history] * rows, users=[0] * rows if users else None)
    return request_batch(histories, [named_items([], None)] * rows, (rows, slots), width).arrays()


def _widths(longest: int) -> Iterator[int]:
    width = _SLOTS
    while width < longest:
        yield width
        width *= 4
    yield longest
