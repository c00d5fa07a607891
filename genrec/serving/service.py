"""The bundle that answers now, and how another one takes its place."""

import asyncio
import logging
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from genrec.bundle import load_bundle
from genrec.errors import UserError
from genrec.recommend.catalog import UnknownItem
from genrec.recommend.explanation import Explanation
from genrec.recommend.requests import RankedLists, Requests, ResolvedRequests, short_lists
from genrec.serving.batching import Batcher, Busy
from genrec.serving.options import ServingOptions
from genrec.serving.prometheus import Metrics
from genrec.serving.served_bundle import ServedBundle

logger = logging.getLogger(__name__)


class Answer(NamedTuple):
    """The answer to one request.

    Attributes:
        served: the bundle that answered.
        items: int32, up to k items, best first.
        scores: float32, theirs.
        notices: what the request could not have, and what it got instead.
        why: of each item, if the request asked for that; else None.
    """

    served: ServedBundle
    items: np.ndarray
    scores: np.ndarray
    notices: list[str]
    why: list[Explanation] | None


class Service:
    """Answers requests by name, from the bundle in a folder and then from the next one there.

    `start` it; `close` it at the end.

    Attributes:
        served: the bundle that answers new requests.
        ready: whether it can.
        broken: whether it never will be.
        compiling: whether answers will be faster soon.

    Raises:
        UserError: there is no bundle, or it is damaged.
    """

    def __init__(self, folder: Path, options: ServingOptions):
        self._folder, self.options = folder, options
        self._seen = _signature(folder)
        self.served = ServedBundle(load_bundle(folder), options.max_batch)
        self.metrics = Metrics(lambda: len(self._batcher))
        self._batcher = Batcher(
            options.queue, options.wait_ms / 1000, options.max_batch, self.metrics.batch
        )
        self.ready = self.broken = False
        self.compiling = True
        self._suggesting = threading.Lock()
        self._closing, self._wanted = threading.Event(), threading.Event()
        self._background = threading.Thread(target=self._run, name="background", daemon=True)

    def start(self) -> None:
        """Begins to make ready, in the background, and to look for new bundles."""
        self._background.start()

    def reload(self) -> None:
        """Reads the folder again; what is there now answers as soon as it is ready."""
        self._wanted.set()

    def close(self) -> None:
        """Answers what waits, and stops, which may take seconds: compilations cannot be ended, and
        to end the process under one is to crash."""
        self._closing.set()
        self._wanted.set()
        self._batcher.close()
        if self._background.is_alive():
            self._background.join()

    async def recommend(
        self, requests: Requests, k: int, exclude_history: bool, why: bool = False
    ) -> Answer:
        """Answers the one request that `requests` holds; with `why`, says why.

        Raises:
            UserError: the request makes no sense, or the bundle can't say why.
            Busy: not now.
        """
        if not self.ready:
            raise Busy("the server is starting")
        served = self.served
        served.bundle.check_k(k)
        if why:
            served.bundle.check_experts()
        resolved = await self._resolve(served, requests)
        if len(resolved.histories[0]):
            request = served.prepare(resolved, exclude_history, why)
            try:
                answer = self._batcher.submit(served, request)
                found = await asyncio.wait_for(answer, self.options.timeout)
            except TimeoutError:
                raise Busy(f"no answer within {self.options.timeout:g} seconds") from None
            items, scores, *added = (part[None, :k] for part in found)
            lists = RankedLists(items, scores, short_lists(resolved, items, k), *added)
        else:
            lists = served.bundle.recommend_items(resolved, k)
        there = lists.items[0] >= 0
        return Answer(
            served,
            lists.items[0][there],
            lists.scores[0][there],
            [*resolved.notices, *lists.notices],
            served.bundle.explain_lists(resolved, lists)[0] if why else None,
        )

    async def _resolve(self, served: ServedBundle, requests: Requests) -> ResolvedRequests:
        """With items in place of names.

        To say which titles are like an unknown one takes long where there are many, so that is done
        in another thread, for one request at a time.
        """
        try:
            return served.bundle.resolve(requests)
        except UnknownItem as error:
            if not self._suggesting.acquire(blocking=False):
                raise UserError(error.brief) from None
            try:
                raise UserError(await asyncio.to_thread(str, error)) from None
            finally:
                self._suggesting.release()

    def _run(self) -> None:
        """The background thread: makes ready, then waits for new bundles."""
        try:
            self.served.start()
        except Exception:
            logger.exception("the bundle does not work")
            self.broken = True
            return
        self.ready = True
        self.metrics.answers(self.served)
        logger.info("ready")
        began = time.perf_counter()
        self._finish(self.served)
        self.compiling = False
        shapes = len(self.served.programs.seconds)
        logger.info("compiled for %d shapes in %.0f s", shapes, time.perf_counter() - began)
        while not self._closing.is_set():
            asked = self._wanted.wait(self.options.watch or None)
            self._wanted.clear()
            if self._closing.is_set():
                return
            now = _signature(self._folder)
            if asked or (now is not None and now != self._seen):
                self._swap()

    def _finish(self, served: ServedBundle) -> bool:
        """Compiles the rest; False where it is to stop."""
        try:
            for _ in served.finish():
                if served is self.served:
                    self.metrics.shapes.set(len(served.programs.seconds))
                if self._closing.is_set():
                    return False
        except Exception:
            logger.exception("not all could be compiled; answers are slower than they could be")
        return True

    def _swap(self) -> None:
        self._seen = _signature(self._folder)
        try:
            bundle = load_bundle(self._folder)
            if bundle.manifest["checksum"] == self.served.checksum:
                logger.info("the bundle is the one that answers already")
                return
            served = ServedBundle(bundle, self.options.max_batch, self.served)
            served.start()
        except Exception as error:
            if _signature(self._folder) != self._seen:
                self._wanted.set()  # it changed while it was read
                return
            self.metrics.swaps.labels("refused").inc()
            reason = str(error) if isinstance(error, UserError) else repr(error)
            logger.warning("the new bundle is refused, the old one goes on: %s", reason)
            return
        if not self._finish(served):
            return
        self.served = served
        self.metrics.answers(served)
        self.metrics.shapes.set(len(served.programs.seconds))
        self.metrics.swaps.labels("taken").inc()
        logger.info("bundle %s answers now", served.checksum[:12])


def _signature(folder: Path) -> tuple[int, int, int] | None:
    """What differs where another manifest is put in its place; None where there is none.

    By the time of the inode's change, not the file's: a copy may keep the latter (``cp -p``,
    ``rsync -t``) and be given the inode of the one that it replaces.
    """
    try:
        status = (folder / "manifest.json").stat()
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns, status.st_size
