"""Requests that wait share a search: one thread takes as many as pay, over and over."""

import asyncio
import collections
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from genrec.serving.answering import Engine, Query
from genrec.serving.compiled import Shape


class Full(Exception):
    """Too many requests wait already."""


class Found(NamedTuple):
    """Items int32 (beam,), -1 for none, and their scores."""

    items: np.ndarray
    scores: np.ndarray


@dataclass(eq=False)
class _Waiting:
    engine: Engine
    query: Query
    answer: asyncio.Future[Found]


class Batcher:
    """A queue of requests, and the thread that answers them.

    Nothing is waited for unless `wait` says so: while one batch is searched the next one gathers.
    A batch holds requests of one kind for one engine; the oldest request is always in the next one.

    Args:
        max_queue: how many requests may wait.
        wait: seconds that the oldest request waits for others, at most.
        max_rows: of a batch, which ends the wait.
        observe: is told of each batch how many requests it held and how many seconds it took.
    """

    def __init__(
        self, max_queue: int, wait: float, max_rows: int, observe: Callable[[int, float], None]
    ):
        self._max_queue, self._wait, self._max_rows = max_queue, wait, max_rows
        self._observe = observe
        self._queue: collections.deque[_Waiting] = collections.deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="search", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._queue)

    def submit(self, engine: Engine, query: Query) -> asyncio.Future[Found]:
        """What the search will find; a cancelled one is not searched. Call it from an event loop.

        Raises:
            Full: too many requests wait already.
        """
        answer: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._closed or len(self._queue) >= self._max_queue:
                raise Full
            self._queue.append(_Waiting(engine, query, answer))
            self._changed.notify()
        return answer

    def close(self) -> None:
        """Answers what waits, and ends the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while taken := self._take():
            batch, shape = taken
            began = time.perf_counter()
            try:
                queries = [waiting.query for waiting in batch]
                items, scores = batch[0].engine.search(queries, shape)
                answers = [Found(*each) for each in zip(items, scores, strict=True)]
            except Exception as error:  # theirs alone: the next batch is searched all the same
                answers = [error] * len(batch)
            self._observe(len(batch), time.perf_counter() - began)
            _give(batch, answers)

    def _take(self) -> tuple[list[_Waiting], Shape] | None:
        """Requests to be searched together, the oldest among them; None once it is closed."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if self._wait and not self._closed:
                    self._changed.wait_for(
                        lambda: len(self._queue) >= self._max_rows or self._closed, self._wait
                    )
                alive = [each for each in self._queue if not each.answer.cancelled()]
                if alive:
                    break
                self._queue.clear()
                if self._closed:
                    return None
            first = alive[0]
            same = [
                each
                for each in alive
                if each.engine is first.engine and each.query.kind == first.query.kind
            ]
            shape = first.engine.programs.best(first.query.kind, len(same))
            batch = same[: shape.rows]
            taken = set(map(id, batch))
            self._queue = collections.deque(each for each in alive if id(each) not in taken)
            return batch, shape


def _give(batch: list[_Waiting], answers: list[Found] | list[Exception]) -> None:
    """Hands answers over to the event loop that waits for them."""

    def give() -> None:
        for waiting, answer in zip(batch, answers, strict=True):
            if waiting.answer.done():
                continue
            if isinstance(answer, Exception):
                waiting.answer.set_exception(answer)
            else:
                waiting.answer.set_result(answer)

    loop = batch[0].answer.get_loop()
    if not loop.is_closed():
        loop.call_soon_threadsafe(give)
