"""Checkpoints of a training: written in the background, whole or not there, and proven on reading.

Orbax writes and reads the arrays. `about.json` beside them has the SHA-256 of every file, compared
before Orbax opens one, and a checksum of every array, compared after. Orbax's own
`training.Checkpointer` has neither; a truncated file of metrics keeps it from opening the folder at
all, and one that only reads deletes what a training is about to write.
"""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import jax
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from genrec.checkpoints.checksum import checksums, kinds
from genrec.checkpoints.orbax_noise import hush_leftovers
from genrec.checkpoints.sidecar import (
    Damaged,
    check_about,
    check_files,
    differences,
    plain,
    read_about,
    write_about,
)
from genrec.errors import UserError, lacking, reason

SCHEMA = 1
"""Of what is stored."""

_LATEST = 2
"""How many of the latest are kept: should one be damaged, there is one before it."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Checkpoints:
    """Checkpoints of one training, by Orbax, a folder named by the number of steps for each.

    The latest two are kept, and the best by validation. One that is being written or deleted has
    another name, so what is listed is whole. In a training over several processes each of them
    makes this object, on a folder that all can see, and calls the same methods.

    Use it as a context manager: leaving waits for the last write, and raises what `save` would.

    Args:
        folder: where they are.
        identity: settings and data by name, JSON values; a checkpoint that was made with others is
            refused. None opens the folder for reading only, by someone who knows from elsewhere
            whose they are; a training may be writing meanwhile.

    Raises:
        UserError: the folder cannot be made.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any] | None = None):
        hush_leftovers()
        self._folder = folder.absolute()
        self._identity = None if identity is None else plain(dict(identity))
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._pending: tuple[int, Future[None]] | None = None
        if identity is not None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"{folder} cannot be made: {_reason(error)}") from error
            self._clean()
            if jax.process_index() == 0:
                self._prune()  # a kill may have come between the last write and this

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            if error is None:
                self._settle()
            elif self._pending and (failure := self._pending[1].exception()):
                # What went wrong first is what the user has to see.
                error.add_note(f"Checkpoint {self._pending[0]} is not written: {_reason(failure)}")
        finally:
            self._writer.shutdown()

    @property
    def latest(self) -> int | None:
        """Steps done at the newest checkpoint; None where there is none."""
        self._settle()
        return max(self._steps(), default=None)

    @property
    def best(self) -> int:
        """Steps done at the checkpoint with the highest validation NDCG@10, the first of equals.

        Raises:
            UserError: no checkpoint has been validated, so there are no trained weights; or one is
                damaged, and may have been the best.
        """
        self._settle()
        scores = {}
        for step in self._steps():
            try:
                scores |= _score(step, self._about(step))
            except UserError:
                # A training that goes on meanwhile deletes those that are neither best nor latest.
                if self._place(step).exists():
                    raise
        if not scores:
            raise UserError(
                f"{self._folder} holds no validated checkpoint: train first with `genrec train`"
            )
        return max(scores, key=lambda step: scores[step])

    def save(
        self,
        step: int,
        state: dict[str, Any],
        position: dict[str, Any],
        metrics: dict[str, float] | None,
    ) -> None:
        """Starts writing a checkpoint, once the one before it is written.

        The arrays have been copied when this returns, so they may be donated.

        Args:
            step: optimiser steps done. A checkpoint of as many is replaced, such as one that was
                written before the validation whose metrics come now.
            state: trees of arrays by name, on any mesh.
            position: where in the data the training is, JSON values; floats come back to the bit.
            metrics: those of its validation, "ndcg@10" among them; None without one.

        Raises:
            UserError: there was no space to write this one or the one before, or no permission.
        """
        assert self._identity is not None, "opened for reading only"
        self._settle()
        about = plain(
            {
                "schema": SCHEMA,
                "identity": self._identity,
                "position": position,
                "metrics": metrics,
                "arrays": checksums(state),
            }
        )
        _score(step, about)  # A metric that is missing shows here, not in the background.
        arrays = {name: part for name, part in state.items() if jax.tree.leaves(part)}
        try:
            # Else threads of Orbax wait for a folder that could not be made, and Python for them.
            context = ocp.Context()
            context.asynchronous.create_directories_asynchronously = False
            with context:
                response = ocp.save_checkpointables_async(str(self._place(step, ".tmp")), arrays)
        except Exception as error:
            self._fail(step, error)
        self._pending = step, self._writer.submit(self._finish, step, about, response.result)

    def restore(self, step: int, like: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The parts of a checkpoint's state that `like` names, and its position.

        Args:
            step: which checkpoint.
            like: trees of arrays or `jax.ShapeDtypeStruct`. Where one has a sharding, the array is
                restored into that, whatever mesh it was saved from, else onto the first local
                device.

        Raises:
            UserError: there is no such checkpoint, it was made by another version or with other
                settings or data, or it is damaged.
        """
        self._settle()
        about, place = self._about(step), self._place(step)
        saved = {k: v for k, v in about["arrays"].items() if k.split("/")[0] in like}
        different = differences({k: v.split()[0] for k, v in saved.items()}, kinds(like))
        if self._identity is not None:
            different = differences(about["identity"], self._identity) or different
        if different:
            raise UserError(
                f"{place} was made with other settings or data ({different}): "
                "choose another folder with --out, or delete its checkpoints"
            )
        with self._reading(step):
            check_files(place, about["files"], like)
            parts = {name: part for name, part in like.items() if jax.tree.leaves(part)}
            state = ocp.load_checkpointables(str(place), jax.tree.map(_abstract, parts))
            found = checksums(state)
            if wrong := [path for path in saved if found.get(path) != saved[path]]:
                raise Damaged(f"{wrong[0]} has other values than were saved")
        return {**like, **state}, about["position"]

    def _place(self, step: int, suffix: str = "") -> Path:
        return self._folder / f"{step}{suffix}"

    def _steps(self) -> list[int]:
        """Those of the finished checkpoints, ascending."""
        try:
            names = [path.name for path in self._folder.iterdir() if path.is_dir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"{self._folder} cannot be read: {_reason(error)}") from error
        return sorted(int(name) for name in names if re.fullmatch("0|[1-9][0-9]*", name))

    def _about(self, step: int) -> dict[str, Any]:
        """What a checkpoint says of itself, in this version's schema."""
        with self._reading(step):
            about = read_about(self._place(step))
        if about.get("schema") != SCHEMA:
            raise UserError(
                f"{self._place(step)} has format {about.get('schema')!r:.20}, "
                f"but this version of genrec reads {SCHEMA}: "
                "choose another folder with --out, or delete its checkpoints"
            )
        with self._reading(step):
            check_about(about)
        return about

    @contextlib.contextmanager
    def _reading(self, step: int) -> Iterator[None]:
        """Turns what may go wrong on reading a checkpoint into UserError."""
        try:
            yield
        except Exception as error:
            place = self._place(step)
            if not place.is_dir():
                message = f"{self._folder} holds no checkpoint {step}: run the command again"
            elif isinstance(error, Damaged):
                message = f"{place} is damaged ({reason(error)}): delete that folder, and the same "
                message += f"command {self._goes_on(without=step)}"
            else:  # Its files are whole, so the advice must not be to delete them.
                message = f"{place} cannot be read: {_reason(error)}"
            raise UserError(message) from error

    def _goes_on(self, without: int) -> str:
        """What a training does next time, if it finds no checkpoint `without`."""
        others = [step for step in self._steps() if step != without]
        return f"goes on from checkpoint {others[-1]}" if others else "starts anew"

    def _finish(self, step: int, about: dict[str, Any], wait: Callable[[], object]) -> None:
        """Makes a checkpoint of what Orbax writes, once it has; in the background."""
        wait()
        if jax.process_index() == 0:
            written, place, old = (self._place(step, end) for end in (".tmp", "", ".old.tmp"))
            write_about(written, about)
            if place.exists():
                place.rename(old)
            written.rename(place)
            shutil.rmtree(old, ignore_errors=True)
            self._prune()

    def _prune(self) -> None:
        """Deletes all but the best and the latest. What cannot be read is left to the user."""
        readable, scores, latest = set(), {}, self._steps()[-_LATEST:]
        for step in self._steps():
            with contextlib.suppress(UserError):
                scores |= _score(step, self._about(step))
                readable.add(step)
        best = max(scores, key=lambda step: scores[step], default=None)
        for step in readable - {best, *latest}:
            with contextlib.suppress(OSError):
                self._place(step).rename(self._place(step, ".old.tmp"))
                shutil.rmtree(self._place(step, ".old.tmp"))

    def _settle(self) -> None:
        """Waits for the write that was started last, if one was, and for the other processes."""
        if self._pending is None:
            return
        step, future = self._pending
        error = future.exception()
        self._pending = None
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"checkpoint {step}")
        if error is not None:
            self._fail(step, error)
        if not self._place(step).is_dir():
            raise UserError(f"{self._folder}: checkpoint {step} was not written: see process 0")

    def _fail(self, step: int, error: BaseException) -> NoReturn:
        """Raises UserError for a write that the system refused, else `error`, which is a bug."""
        self._clean()
        if (code := _errno(error)) is None:
            raise error
        remedy = "free some space" if code in _FULL else "mend that"
        raise UserError(
            f"{self._folder}: checkpoint {step} could not be written ({os.strerror(code)}): "
            f"{remedy}, and the same command {self._goes_on(without=step)}"
        ) from error

    def _clean(self) -> None:
        """Deletes what is left of a write or a deletion that did not come to its end."""
        if jax.process_index() == 0:
            for path in self._folder.glob("*.tmp*"):  # which finds nothing where it may not look
                if re.fullmatch(r"[0-9]+(\.old)?\.tmp(\.orbax-checkpoint-tmp)?", path.name):
                    shutil.rmtree(path, ignore_errors=True)


def _score(step: int, about: dict[str, Any]) -> dict[int, float]:
    return {} if about["metrics"] is None else {step: about["metrics"]["ndcg@10"]}


def _abstract(array: jax.Array | jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    sharding = array.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)


def _errno(error: BaseException | None) -> int | None:
    """Number of the system's error behind an exception, which TensorStore has in the message."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        if code := re.search(r"os_error_code='(\d+)'", str(error)):
            return int(code[1])
        error = error.__cause__ or error.__context__
    return None


def _reason(error: BaseException) -> str:
    """Why, in one line."""
    if (code := _errno(error)) is not None:
        return os.strerror(code)
    if (lack := lacking(error)) is not None:
        return lack
    while (root := error.__cause__ or error.__context__) is not None:
        error = root
    return reason(error)
