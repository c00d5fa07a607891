"""Locks, so that only one process at a time writes into a folder; readers need none.

A lock is `flock` on a small file that names its holder. The system releases it when the process
ends, however it ends, so a crash never leaves a folder locked.
"""

import contextlib
import contextvars
import datetime
import errno
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from genrec.errors import UserError
from genrec.storage.files import parse_json

logger = logging.getLogger(__name__)

_ours: contextvars.ContextVar[frozenset[Path]] = contextvars.ContextVar("ours", default=frozenset())
"""The locks that this thread of execution holds and need not take again."""

_UNSUPPORTED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_UNWRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM}
_TRIES, _SECONDS_BETWEEN = 5, 0.05
"""`holder` takes the lock for a moment when it looks, so one failure is no reason to give up."""


@contextlib.contextmanager
def held(file: Path, folder: Path, command: str, remedy: str) -> Iterator[bool]:
    """Holds a lock within this context; inside it the same lock may be taken again.

    Args:
        file: the lock; its folder is made if need be.
        command: the command that takes the lock, to be shown to processes that are refused.
        remedy: what these can do besides waiting, such as ", or …"; may be empty.

    Yields:
        Whether the lock was taken; False if the system does not let its file be written.

    Raises:
        UserError: another process has the lock; the message says which.
    """
    file = file.absolute()
    if file in _ours.get():
        yield True
        return
    try:
        descriptor = _lock(file, folder, remedy)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        yield False
        return
    token = _ours.set(_ours.get() | {file})
    try:
        since = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
        about = {"command": command, "pid": os.getpid(), "host": socket.gethostname()}
        with contextlib.suppress(OSError):  # the disk may have no room for it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(about | {"since": since}).encode(), 0)
        yield True
    finally:
        _ours.reset(token)
        with contextlib.suppress(OSError):
            file.unlink()  # before another process can have it
        os.close(descriptor)


def holder(file: Path) -> str | None:
    """The other process with the lock, such as "genrec train (pid 7 on host since …)"; or None."""
    if file.absolute() in _ours.get():
        return None
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(file)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def _lock(file: Path, folder: Path, remedy: str) -> int:
    """Opens and locks the file, and returns its descriptor; UserError if another process has it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _try_lock(descriptor, folder):
                raise UserError(f"{folder} is in use by {_read_holder(file)}; wait for it{remedy}")
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), file.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last holder has removed this file meanwhile


def _try_lock(descriptor: int, folder: Path) -> bool:
    for tried in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if tried + 1 < _TRIES:
                time.sleep(_SECONDS_BETWEEN)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            logger.warning(
                "%s is on a disk that knows no locks (%s): see to it that no other process writes "
                "there",
                folder,
                os.strerror(error.errno),
            )
            return True
    return False


def _read_holder(file: Path) -> str:
    try:
        about = parse_json(file.read_bytes())
        return "{command} (pid {pid} on {host} since {since})".format(**about)
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
