"""Requests that wait share a search: one thread takes as many as pay, over and over."""

import asyncio
import collections
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from genrec.serving.compiled import Shape
from genrec.serving.served_bundle import SearchRequest, ServedBundle


class Busy(Exception):
    """The request cannot be answered now, but could be soon. The message says why."""


SearchResult = tuple[np.ndarray, ...]
"""Items int32 (M,), best first, -1 for none, and their scores float32 (M,); and where any request
of the batch asks for it float32 (M, F), what each expert adds to each score."""


@dataclass(eq=False)
class _Waiting:
    served: ServedBundle
    request: SearchRequest
    answer: asyncio.Future[SearchResult]
    since: float


class Batcher:
    """A queue of requests, and the thread that answers them.

    Nothing is waited for unless `wait` says so: while one batch is searched the next one gathers.
    A batch holds requests of one kind for one bundle; the oldest request is always in the next one.

    Args:
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

    def submit(self, served: ServedBundle, request: SearchRequest) -> asyncio.Future[SearchResult]:
        """What the search will find; a cancelled one is not searched. Call it from an event loop.

        Raises:
            Busy: too many requests wait already.
        """
        answer: asyncio.Future[SearchResult] = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._closed or len(self._queue) >= self._max_queue:
                raise Busy("the server has too much to do")
            self._queue.append(_Waiting(served, request, answer, time.monotonic()))
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
                requests = [waiting.request for waiting in batch]
                answers = list(zip(*batch[0].served.search(requests, shape), strict=True))
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
                        lambda: len(self._queue) >= self._max_rows or self._closed,
                        self._queue[0].since + self._wait - time.monotonic(),
                    )
                alive = [waiting for waiting in self._queue if not waiting.answer.cancelled()]
                if alive:
                    break
                self._queue.clear()
                if self._closed:
                    return None
            first = alive[0]
            same = [
                waiting
                for waiting in alive
                if waiting.served is first.served and waiting.request.kind == first.request.kind
            ]
            shape = first.served.programs.best(first.request.kind, len(same))
            batch = same[: shape.rows]
            taken = set(batch)
            self._queue = collections.deque(waiting for waiting in alive if waiting not in taken)
            return batch, shape


def _give(batch: list[_Waiting], answers: list[SearchResult] | list[Exception]) -> None:
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
