"""Checkpoints of a training: written in the background, atomically, and verified when restored.

Orbax writes and reads the arrays. `about.json` beside them has the SHA-256 of every file, verified
before Orbax opens one, and a checksum of every array, verified afterwards. Orbax's own
`training.Checkpointer` is not used: it has neither, it cannot open a folder with a truncated file
of metrics, and even one that only reads deletes what a training is writing.
"""

import contextlib
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
from genrec.errors import FULL, UserError, causes, lacking, reason

SCHEMA = 1
"""Version of the format of a checkpoint."""

_LATEST = 2
"""How many of the latest are kept: if one is damaged, there is another before it."""


class Checkpoints:
    """The checkpoints of one training: a folder for each, named by its number of steps.

    The latest two are kept, and the best by validation. While a checkpoint is written or deleted
    its folder has another name, so every checkpoint that is listed is complete. In a training over
    several processes each process makes this object, on a folder that all can see, and calls the
    same methods.

    Use it as a context manager: leaving waits for the last write, and raises what `save` would.

    Args:
        identity: settings and data by name, JSON values; a checkpoint that was made with others is
            refused. None opens the folder for reading only, without that check; a training may be
            writing at the same time.

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
        """The number of steps of the latest checkpoint; None if there is none."""
        self._settle()
        return max(self._steps(), default=None)

    @property
    def best(self) -> int:
        """The number of steps of the checkpoint with the highest validation NDCG@10.

        Raises:
            UserError: no checkpoint has been validated, so there are no trained weights; or one is
                damaged, which may have been the best.
        """
        self._settle()
        scores = {}
        for step in self._steps():
            try:
                scores |= _score(step, self._about(step))
            except UserError:
                # A training that is running deletes those that are neither best nor latest.
                if self._path(step).exists():
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
        """Starts writing a checkpoint, after the write of the previous one has ended.

        The arrays have been copied when this returns, so they may be donated.

        Args:
            step: number of optimiser steps. An existing checkpoint of this step is replaced, such
                as one that was written before the validation whose metrics are now given.
            state: trees of arrays by name, on any mesh.
            position: the training's position in the data, JSON values; floats are kept to the bit.
            metrics: those of the validation, with "ndcg@10"; None if there was no validation.

        Raises:
            UserError: the system refused to write this checkpoint or the previous one.
        """
        assert self._identity is not None, "opened for reading only"
        self._settle()
        about = {"schema": SCHEMA, "identity": self._identity, "position": position}
        about = plain(about | {"metrics": metrics, "arrays": checksums(state)})
        _score(step, about)  # A metric that is missing shows here, not in the background.
        arrays = {name: part for name, part in state.items() if jax.tree.leaves(part)}
        try:
            # Else threads of Orbax wait for a folder that could not be made, and Python for them.
            context = ocp.Context()
            context.asynchronous.create_directories_asynchronously = False
            with context:
                response = ocp.save_checkpointables_async(str(self._path(step, ".tmp")), arrays)
        except Exception as error:
            self._fail(step, error)
        self._pending = step, self._writer.submit(self._finish, step, about, response.result)

    def restore(self, step: int, like: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The parts of a checkpoint's state that `like` names, and its position.

        Args:
            like: trees of arrays or `jax.ShapeDtypeStruct`. An array is restored with the sharding
                that is given here, whatever mesh it was saved from; without one onto the first
                local device.

        Raises:
            UserError: there is no such checkpoint, it was made by another version or with other
                settings or data, or it is damaged.
        """
        self._settle()
        about, path = self._about(step), self._path(step)
        saved = {k: v for k, v in about["arrays"].items() if k.split("/")[0] in like}
        different = differences({k: v.split()[0] for k, v in saved.items()}, kinds(like))
        if self._identity is not None:
            different = differences(about["identity"], self._identity) or different
        if different:
            raise UserError(
                f"{path} was made with other settings or data ({different}): "
                "choose another folder with --out, or delete its checkpoints"
            )
        with self._reading(step):
            check_files(path, about["files"], like)
            parts = {name: part for name, part in like.items() if jax.tree.leaves(part)}
            state = ocp.load_checkpointables(str(path), jax.tree.map(_abstract, parts))
            restored = checksums(state)
            if wrong := [name for name in saved if restored.get(name) != saved[name]]:
                raise Damaged(f"{wrong[0]} has other values than were saved")
        return {**like, **state}, about["position"]

    def _path(self, step: int, suffix: str = "") -> Path:
        return self._folder / f"{step}{suffix}"

    def _steps(self) -> list[int]:
        """The numbers of steps of the finished checkpoints, ascending."""
        try:
            names = [path.name for path in self._folder.iterdir() if path.is_dir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UserError(f"{self._folder} cannot be read: {_reason(error)}") from error
        return sorted(int(name) for name in names if re.fullmatch("0|[1-9][0-9]*", name))

    def _about(self, step: int) -> dict[str, Any]:
        with self._reading(step):
            about = read_about(self._path(step))
            if about.get("schema") == SCHEMA:
                check_about(about)
                return about
        raise UserError(
            f"{self._path(step)} has format {about.get('schema')!r:.20}, "
            f"but this version of genrec reads {SCHEMA}: "
            "choose another folder with --out, or delete its checkpoints"
        )

    @contextlib.contextmanager
    def _reading(self, step: int) -> Iterator[None]:
        """Within this context errors from reading a checkpoint become UserError."""
        try:
            yield
        except Exception as error:
            path = self._path(step)
            if not path.is_dir():
                message = f"{self._folder} holds no checkpoint {step}: run the command again"
            elif isinstance(error, Damaged):
                message = f"{path} is damaged ({reason(error)}): delete that folder, and the same "
                message += f"command {self._resumes(without=step)}"
            else:  # Its files are whole, so the advice must not be to delete them.
                message = f"{path} cannot be read: {_reason(error)}"
            raise UserError(message) from error

    def _resumes(self, without: int) -> str:
        """For a complaint: where the training resumes if the checkpoint `without` is gone."""
        others = [step for step in self._steps() if step != without]
        return f"goes on from checkpoint {others[-1]}" if others else "starts anew"

    def _finish(self, step: int, about: dict[str, Any], wait: Callable[[], object]) -> None:
        """Waits until Orbax has written the arrays, and completes the checkpoint; in a thread."""
        wait()
        if jax.process_index() == 0:
            written, path, old = (self._path(step, end) for end in (".tmp", "", ".old.tmp"))
            write_about(written, about)
            if path.exists():
                path.rename(old)
            written.rename(path)
            shutil.rmtree(old, ignore_errors=True)
            self._prune()

    def _prune(self) -> None:
        """Deletes old checkpoints, but for the best; those that cannot be read are kept."""
        readable, scores, latest = set(), {}, self._steps()[-_LATEST:]
        for step in self._steps():
            with contextlib.suppress(UserError):
                scores |= _score(step, self._about(step))
                readable.add(step)
        best = max(scores, key=lambda step: scores[step], default=None)
        for step in readable - {best, *latest}:
            with contextlib.suppress(OSError):
                shutil.rmtree(self._path(step).rename(self._path(step, ".old.tmp")))

    def _settle(self) -> None:
        """Waits until the pending write has ended, if there is one, here and in other processes."""
        if self._pending is None:
            return
        step, future = self._pending
        error = future.exception()
        self._pending = None
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"checkpoint {step}")
        if error is not None:
            self._fail(step, error)
        if not self._path(step).is_dir():
            raise UserError(f"{self._folder}: checkpoint {step} was not written: see process 0")

    def _fail(self, step: int, error: BaseException) -> NoReturn:
        """Raises UserError if the system refused a write; else `error` itself, which is a bug."""
        self._clean()
        if (code := _errno(error)) is None:
            raise error
        remedy = "free some space" if code in FULL else "mend that"
        raise UserError(
            f"{self._folder}: checkpoint {step} could not be written ({os.strerror(code)}): "
            f"{remedy}, and the same command {self._resumes(without=step)}"
        ) from error

    def _clean(self) -> None:
        """Deletes the leftovers of interrupted writes and deletions."""
        if jax.process_index() == 0:
            for path in self._folder.glob("*.tmp*"):  # empty for a folder that cannot be read
                if re.fullmatch(r"[0-9]+(\.old)?\.tmp(\.orbax-checkpoint-tmp)?", path.name):
                    shutil.rmtree(path, ignore_errors=True)


def _score(step: int, about: dict[str, Any]) -> dict[int, float]:
    """The validation NDCG@10 by step; empty for a checkpoint that was not validated."""
    return {} if about["metrics"] is None else {step: about["metrics"]["ndcg@10"]}


def _abstract(array: jax.Array | jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    sharding = array.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)


def _errno(error: BaseException) -> int | None:
    """The system's error number behind an exception, also if only TensorStore's message has it."""
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause.errno
        if code := re.search(r"os_error_code='(\d+)'", str(cause)):
            return int(code[1])
    return None


def _reason(error: BaseException) -> str:
    if (code := _errno(error)) is not None:
        return os.strerror(code)
    *_, root = causes(error)
    return lacking(error) or reason(root)
