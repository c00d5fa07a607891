"""One process at a time writes into a folder; who reads is not held up.

A lock is `flock` on a small file that says whose it is. The system takes it back when its process
ends, however that comes about, so what a crash leaves keeps nobody out, and no clock is asked
whether a lock is too old.
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
"""The locks that are held here, and need not be taken again; another thread has its own."""

_UNSUPPORTED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_UNWRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM}
_TRIES, _SECONDS_BETWEEN = 5, 0.05
"""`holder` has the lock for a moment when it looks, which is no reason to give up."""


@contextlib.contextmanager
def held(file: Path, what: Path, command: str, remedy: str) -> Iterator[bool]:
    """Keeps other processes from writing; within itself it may be taken again.

    Args:
        file: the lock, whose folder is made if need be.
        what: the folder that it stands for.
        command: who takes it, for those that are refused.
        remedy: what those can do besides waiting, such as ", or …"; may be empty.

    Yields:
        Whether it could be taken; False where nothing can be written anyway.

    Raises:
        UserError: another process has it, and which.
    """
    file = file.absolute()
    if file in _ours.get():
        yield True
        return
    try:
        number = _taken(file, what, remedy)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        yield False
        return
    token = _ours.set(_ours.get() | {file})
    try:
        _tell(number, command)
        yield True
    finally:
        _ours.reset(token)
        with contextlib.suppress(OSError):
            file.unlink()  # before another process can have it
        os.close(number)


def holder(file: Path) -> str | None:
    """Which other process has the lock, such as "genrec train (pid 7 on host since …)"; or None."""
    if file.absolute() in _ours.get():
        return None
    try:
        number = os.open(file, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _told(file)
    except OSError:
        return None
    finally:
        os.close(number)
    return None


def _taken(file: Path, what: Path, remedy: str) -> int:
    """The number of the open file, once it is locked."""
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        number = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _take(number, what):
                raise UserError(f"{what} is in use by {_told(file)}; wait for it{remedy}")
            if _same(file, number):
                return number
        except BaseException:
            os.close(number)
            raise
        os.close(number)  # who had it has removed it meanwhile, so it keeps nobody out


def _take(number: int, what: Path) -> bool:
    for tried in range(_TRIES):
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
                what,
                os.strerror(error.errno),
            )
            return True
    return False


def _tell(number: int, command: str) -> None:
    """Says in the file who has it; a disk that is full is not told here, but by what is written."""
    since = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    told = {"command": command, "pid": os.getpid(), "host": socket.gethostname(), "since": since}
    with contextlib.suppress(OSError):
        os.ftruncate(number, 0)
        os.pwrite(number, json.dumps(told).encode(), 0)


def _told(file: Path) -> str:
    try:
        told = parse_json(file.read_bytes())
        return "{command} (pid {pid} on {host} since {since})".format(**told)
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _same(file: Path, number: int) -> bool:
    try:
        return os.path.samestat(os.fstat(number), file.stat())
    except FileNotFoundError:
        return False
