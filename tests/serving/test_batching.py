"""The queue: who shares a search, who is refused, and that nobody is forgotten."""

import asyncio
import threading
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from genrec.serving.batching import Batcher, Busy
from genrec.serving.compiled import Kind, Shape


@dataclass
class Programs:
    rows: int

    def best(self, kind: Kind, waiting: int) -> Shape:
        return Shape(kind, min(self.rows, waiting))


@dataclass
class Echo:
    """A served bundle whose answer is the request's number, once it is let go."""

    rows: int = 3
    go: threading.Event = field(default_factory=threading.Event)
    batches: list[list[int]] = field(default_factory=list)

    @property
    def programs(self) -> Programs:
        return Programs(self.rows)

    def search(self, requests, shape):
        assert self.go.wait(30)
        self.batches.append([request.number for request in requests])
        if any(request.number < 0 for request in requests):
            raise ZeroDivisionError
        items = np.array([[request.number] for request in requests], np.int32)
        return items, items.astype(np.float32)


@dataclass
class Numbered:
    number: int
    kind: Any = "a"


async def begun(batcher: Batcher, served: Any) -> Any:
    """A request that is being searched: what comes now has to wait."""
    answer = batcher.submit(served, Numbered(0))  # pyright: ignore[reportArgumentType]
    while len(batcher):
        await asyncio.sleep(0.001)
    return answer


def queue(max_queue: int = 99, wait: float = 0.0, rows: int = 3) -> Batcher:
    return Batcher(max_queue, wait, rows, lambda requests, seconds: None)


def test_those_of_a_kind_share_a_search_and_the_oldest_goes_first():
    served, batcher = Echo(), queue()

    async def main():
        first = await begun(batcher, served)
        kinds = "abaaabab"
        answers = [
            batcher.submit(served, Numbered(n, kind))  # pyright: ignore[reportArgumentType]
            for n, kind in enumerate(kinds, 1)
        ]
        served.go.set()
        found = await asyncio.gather(first, *answers)
        assert [int(items[0]) for items, _ in found] == list(range(len(kinds) + 1))

    asyncio.run(main())
    # 2 is older than 5 and 7, though many of the other kind wait.
    assert served.batches == [[0], [1, 3, 4], [2, 6, 8], [5, 7]]
    batcher.close()


def test_bundles_do_not_share_a_search():
    one, two, batcher = Echo(), Echo(), queue()
    two.go.set()

    async def main():
        first = await begun(batcher, one)
        answers = [
            batcher.submit(served, Numbered(n))  # pyright: ignore[reportArgumentType]
            for n, served in enumerate([one, two, one, two], 1)
        ]
        one.go.set()
        await asyncio.gather(first, *answers)

    asyncio.run(main())
    assert (one.batches, two.batches) == ([[0], [1, 3]], [[2, 4]])
    batcher.close()


def test_a_full_queue_refuses_and_those_who_gave_up_are_not_searched():
    served, batcher = Echo(), queue(max_queue=2)

    async def main():
        first = await begun(batcher, served)
        gone = batcher.submit(served, Numbered(1))  # pyright: ignore[reportArgumentType]
        stays = batcher.submit(served, Numbered(2))  # pyright: ignore[reportArgumentType]
        with pytest.raises(Busy):
            batcher.submit(served, Numbered(3))  # pyright: ignore[reportArgumentType]
        gone.cancel()
        served.go.set()
        await asyncio.gather(first, stays)

    asyncio.run(main())
    assert served.batches == [[0], [2]]
    batcher.close()


def test_a_search_that_fails_fails_its_own_requests_alone():
    served, batcher = Echo(rows=1), queue()
    served.go.set()

    async def main():
        with pytest.raises(ZeroDivisionError):
            await batcher.submit(served, Numbered(-1))  # pyright: ignore[reportArgumentType]
        items, _ = await batcher.submit(served, Numbered(5))  # pyright: ignore[reportArgumentType]
        assert items.tolist() == [5]

    asyncio.run(main())
    batcher.close()


def test_closing_answers_what_waits():
    served, batcher = Echo(), queue()

    async def main():
        first = await begun(batcher, served)
        answers = [batcher.submit(served, Numbered(n)) for n in range(1, 8)]  # pyright: ignore[reportArgumentType]
        served.go.set()
        await asyncio.to_thread(batcher.close)
        assert len(await asyncio.gather(first, *answers)) == 8
        with pytest.raises(Busy):
            batcher.submit(served, Numbered(9))  # pyright: ignore[reportArgumentType]

    asyncio.run(main())


def test_waiting_for_company_ends_when_the_batch_is_full():
    served, batcher = Echo(), queue(wait=600.0)
    served.go.set()

    async def main():
        answers = [batcher.submit(served, Numbered(n)) for n in range(3)]  # pyright: ignore[reportArgumentType]
        await asyncio.gather(*answers)

    asyncio.run(main())
    assert served.batches == [[0, 1, 2]]
    batcher.close()


def test_those_that_a_full_batch_leaves_do_not_wait_anew(monkeypatch):
    now = 0.0
    clock = SimpleNamespace(monotonic=lambda: now, perf_counter=time.perf_counter)
    monkeypatch.setattr("genrec.serving.batching.time", clock)
    served, batcher = Echo(rows=1), queue(wait=600.0)

    async def main():
        nonlocal now
        answers = [batcher.submit(served, Numbered(n)) for n in range(3)]  # pyright: ignore[reportArgumentType]
        while len(batcher) == 3:
            await asyncio.sleep(0.001)
        now = 601.0
        served.go.set()
        await asyncio.wait_for(asyncio.gather(*answers), 60)

    asyncio.run(main())
    assert served.batches == [[0], [1], [2]]
    batcher.close()
