"""The one exception that is meant for people, and how other errors are told to them."""

import contextlib
import difflib
import errno
import os
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path


class UserError(Exception):
    """Something the user can mend: bad input, a missing file, a setting out of range.

    The message is one line that says what is wrong, where, and how to mend it. The command line
    prints it without a traceback and exits with status 2.
    """


def reason(error: BaseException) -> str:
    """The first line of an exception's message, of at most 200 printable characters."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return "".join(letter for letter in line[:200] if letter.isprintable())


def misfit(error: BaseException) -> str:
    """The `reason` why something does not fit, where a KeyError is a part that is not there."""
    return f"{'there is no ' if isinstance(error, KeyError) else ''}{reason(error)}"


_MISREAD = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RecursionError,
    StopIteration,
    TypeError,
    ValueError,
    zlib.error,
)


@contextlib.contextmanager
def blaming(file: str | Path, remedy: str = "") -> Iterator[None]:
    """Whatever goes wrong within is told as the fault of a file that is being read.

    For files that genrec writes, around the code that reads them; not around what uses them later.

    Args:
        file: its path, for the complaint.
        remedy: what to do, such as "; run genrec prepare again"; may be empty.

    Raises:
        UserError: in place of what was raised, unless it says what the machine lacks.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{file} does not exist{remedy}") from error
    except (OSError, *_MISREAD) as error:
        if isinstance(error, OSError) and error.errno is not None:  # Arrow's own have no number
            raise
        raise UserError(f"{file} cannot be read: {misfit(error)}{remedy}") from error


def nearest(name: str, among: Iterable[str], count: int = 1, cutoff: float = 0.0) -> list[str]:
    """The up to `count` names most like `name` in whatever case; the most alike first.

    `cutoff` is the least likeness (0…1); one above 0 makes it quick among very many.
    """
    folded: dict[str, str] = {}
    for other in among:
        folded.setdefault(other.casefold(), other)
    matches = difflib.get_close_matches(name.casefold(), folded, n=count, cutoff=cutoff)
    return [folded[match] for match in matches]


def instead_of(name: str, there: Collection[str], verb: str) -> str:
    """What there is instead of a name that is not there: "the nearest is 'a'; it has: a, b".

    A nearest one is told only if it is like the name. `verb` is "it has", or "there are".
    """
    alike = nearest(name, there, cutoff=0.5)
    return "".join(f"the nearest is {other!r}; " for other in alike) + f"{verb}: {', '.join(there)}"


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNFIT = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)
"""What is wrong with a path that was named, if it is neither missing nor forbidden."""


def lacking(error: BaseException) -> str | None:
    """The complaint where an error means that the machine lacks something: room, memory, a file, a
    permission; with what to do. None for any other error."""
    if isinstance(error, OSError) and error.errno in _UNFIT:
        return f"{os.strerror(error.errno)}{_file_of(error)}: choose another place"
    for cause in causes(error):
        number, message = getattr(cause, "errno", None), str(cause)
        where = _file_of(cause)
        if number in FULL or any(os.strerror(full) in message for full in FULL):
            return f"the disk is full{where}: free some space, or choose another place with --out"
        if number == errno.EROFS or os.strerror(errno.EROFS) in message:
            return f"the disk is read-only{where}: choose another place with --out"
        if isinstance(cause, FileNotFoundError) and cause.filename is not None:
            return f"{cause.filename} is gone: put it back, or run again the command that makes it"
        if number in (errno.EACCES, errno.EPERM):
            return f"not permitted{where}: change the permissions, or choose another place"
        # The texts are those of JAX and DuckDB, neither of which raises MemoryError.
        says_so = message.startswith(("RESOURCE_EXHAUSTED", "Out of Memory Error"))
        if says_so or isinstance(cause, MemoryError) or number == errno.ENOMEM:
            return (
                "out of memory: close other programs, or ask for less at once (training.rows, "
                "training.accumulate, decoding.batch_size, decoding.beam, data.memory_gib)"
            )
        if "can't start new thread" in message:
            return (
                "no more threads can be started: close other programs, or raise the limits of "
                "memory and processes (ulimit -v, ulimit -u)"
            )
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, then those that it was raised from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _file_of(error: BaseException) -> str:
    name = getattr(error, "filename", None)
    return "" if name is None else f" ({name})"
