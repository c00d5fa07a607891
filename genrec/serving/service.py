"""The bundle that answers now, and how another one takes its place."""

import asyncio
import logging
import threading
import time
from pathlib import Path

import numpy as np

from genrec.bundle import load_bundle
from genrec.errors import UserError
from genrec.recommend.base import Known, Requests
from genrec.serving.answering import Engine, telling
from genrec.serving.batching import Batcher, Full
from genrec.serving.options import Options
from genrec.serving.prometheus import Metrics

logger = logging.getLogger(__name__)


class Busy(Exception):
    """The request cannot be answered now, but could be soon. The message says why."""


class Service:
    """What answers requests by name. `start` it, and `close` it at the end.

    Args:
        folder: of the bundle.
        options: see there.

    Attributes:
        engine: what answers new requests.
        ready: whether it can.
        broken: whether it never will.
        compiling: whether answers will be faster soon.

    Raises:
        UserError: there is no bundle, or it is damaged.
    """

    def __init__(self, folder: Path, options: Options):
        self._folder, self.options = folder, options
        self._seen = _signature(folder)
        self.engine = Engine(load_bundle(folder), options.max_batch)
        self.metrics = Metrics(lambda: len(self._batcher))
        self._batcher = Batcher(
            options.queue, options.wait_ms / 1000, options.max_batch, self.metrics.batch
        )
        self.ready = self.broken = False
        self.compiling = True
        self._hinting = threading.Lock()
        self._closing, self._wanted = threading.Event(), threading.Event()
        self._upkeep = threading.Thread(target=self._keep, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begins to make ready, in the background, and to look for new bundles."""
        self._upkeep.start()

    def reload(self) -> None:
        """Reads the folder again; what is there now answers as soon as it is ready."""
        self._wanted.set()

    def close(self) -> None:
        """Answers what waits, and stops, which may take seconds: compilations cannot be ended, and
        to end the process under one is to crash."""
        self._closing.set()
        self._wanted.set()
        self._batcher.close()
        if self._upkeep.is_alive():
            self._upkeep.join()

    async def recommend(
        self, requests: Requests, k: int, exclude_history: bool
    ) -> tuple[Engine, np.ndarray, np.ndarray, list[str]]:
        """Answers the one request that `requests` holds.

        Returns:
            The engine that answered; up to k items, int32, and their scores, best first; and what
            else is to be said.

        Raises:
            UserError: the request makes no sense.
            Busy: not now.
        """
        if not self.ready:
            raise Busy("the server is starting")
        engine = self.engine
        if not 1 <= k <= engine.beam:
            raise UserError(f"k is {k}, but must lie between 1 and the beam width, {engine.beam}")
        with telling() as warnings:
            known = await self._known(engine, requests)
            if not len(known.histories[0]):
                best, points = engine.bundle.recommend_items(known, k)
                items, scores = best[0], points[0]
                return engine, items[items >= 0], scores[items >= 0], warnings
            query = engine.query(known, exclude_history)
        try:
            answer = self._batcher.submit(engine, query)
            found = await asyncio.wait_for(answer, self.options.timeout)
        except Full:
            raise Busy("the server has too much to do") from None
        except TimeoutError:
            raise Busy(f"no answer within {self.options.timeout:g} seconds") from None
        items, scores = found.items[:k], found.scores[:k]
        items, scores = items[items >= 0], scores[items >= 0]
        if not len(items):
            raise UserError("no item is left to recommend: allow more or exclude fewer")
        if len(items) < k:
            warnings.append(f"{k} items are wanted, but only {len(items)} are allowed")
        return engine, items, scores, warnings

    async def _known(self, engine: Engine, requests: Requests) -> Known:
        """With items in place of names. To say which titles are like an unknown one takes long
        where there are many, so that is done on the side, for one request at a time."""
        parts = (requests.histories, requests.exclude, requests.allow)
        names = [name for part in parts for name in (part[0] if part else None) or ()]
        refuses = engine.bundle.manifest["answers"]["unknown_items"] == "refuse"
        unknown = refuses and next(
            (
                name
                for name, item in zip(names, engine.bundle.names.find(names), strict=True)
                if item < 0
            ),
            None,
        )
        if not isinstance(unknown, str):
            return engine.bundle.known(requests)
        if self._hinting.acquire(blocking=False):
            try:
                raise await asyncio.to_thread(engine.bundle.names.unknown, unknown)
            finally:
                self._hinting.release()
        raise UserError(f"no item has the id or title {unknown!r}")

    def _keep(self) -> None:
        """The life of the background thread: makes ready, then waits for new bundles."""
        try:
            self.engine.start()
        except Exception:
            logger.exception("the bundle does not work")
            self.broken = True
            return
        self.ready = True
        self.metrics.answers(self.engine)
        logger.info("ready")
        began = time.perf_counter()
        self._finish(self.engine)
        self.compiling = False
        shapes = len(self.engine.programs.seconds)
        logger.info("compiled for %d shapes in %.0f s", shapes, time.perf_counter() - began)
        while not self._closing.is_set():
            asked = self._wanted.wait(self.options.watch or None)
            self._wanted.clear()
            if self._closing.is_set():
                return
            if asked or self._changed():
                self._swap()

    def _finish(self, engine: Engine) -> bool:
        """Compiles the rest; False where it is to stop."""
        try:
            for _ in engine.finish():
                if engine is self.engine:
                    self.metrics.shapes.set(len(engine.programs.seconds))
                if self._closing.is_set():
                    return False
        except Exception:
            logger.exception("not all could be compiled; answers are slower than they could be")
        return True

    def _changed(self) -> bool:
        """Whether the folder holds another bundle than at the last look, and a whole one."""
        now = _signature(self._folder)
        return now is not None and now != self._seen

    def _swap(self) -> None:
        self._seen = _signature(self._folder)
        try:
            bundle = load_bundle(self._folder)
            if bundle.manifest["checksum"] == self.engine.checksum:
                logger.info("the bundle is the one that answers already")
                return
            engine = Engine(bundle, self.options.max_batch, self.engine)
            engine.start()
        except Exception as error:
            if _signature(self._folder) != self._seen:
                self._wanted.set()  # it changed while it was read
                return
            self.metrics.swaps.labels("refused").inc()
            reason = str(error) if isinstance(error, UserError) else repr(error)
            logger.warning("the new bundle is refused, the old one goes on: %s", reason)
            return
        if not self._finish(engine):
            return
        self.engine = engine
        self.metrics.answers(engine)
        self.metrics.shapes.set(len(engine.programs.seconds))
        self.metrics.swaps.labels("taken").inc()
        logger.info("bundle %s answers now", engine.checksum[:12])


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
