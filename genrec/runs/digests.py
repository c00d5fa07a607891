"""SHA-256 of a run's files, read once while one command has the run to itself."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from genrec.storage.files import sha256

_remembered: ContextVar[dict[Path, str] | None] = ContextVar("remembered", default=None)


@contextlib.contextmanager
def remembered_digests() -> Iterator[None]:
    """Within it, `digest` reads a file or folder once, until `forget_digest` of it.

    Only for who has the run's lock: what another process writes meanwhile would not be noticed.
    """
    token = _remembered.set({})
    try:
        yield
    finally:
        _remembered.reset(token)


def digest(path: Path) -> str:
    """The SHA-256 of a file, or of a folder's files, as `genrec.storage.files.sha256` has it."""
    digests = _remembered.get()
    if digests is None:
        return sha256(path)
    path = path.absolute()
    if path not in digests:
        digests[path] = sha256(path)
    return digests[path]


def forget_digest(path: Path) -> None:
    """For who is about to write a file anew."""
    (_remembered.get() or {}).pop(path.absolute(), None)
