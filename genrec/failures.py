"""What went wrong, in one line for people, and the exit status that says whose turn it is."""

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from genrec.errors import UserError

TRACEBACK = "GENREC_TRACEBACK"
"""Environment variable: if it is 1, a traceback is printed like --verbose would."""
_LONGEST = 1500
"""Characters of a complaint that are shown."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNFIT = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)
"""What is wrong with a path that was named, if it is neither missing nor forbidden."""


def report(error: BaseException, *, verbose: bool) -> int:
    """Says to stderr what went wrong, and returns the exit status.

    2 is a mistake that the user can mend, 130 an interruption, 1 anything else.
    """
    if isinstance(error, BrokenPipeError):  # who reads the output has enough of it
        _silence_stdout()
        return 1
    if isinstance(error, KeyboardInterrupt):
        where = f", and {error}" if str(error) else ""
        _print(f"interrupted{where}; the same command goes on from there")
        return 130
    line = str(error) if isinstance(error, UserError) else lacking(error)
    if verbose or os.environ.get(TRACEBACK) == "1":
        traceback.print_exception(error)
    if line is not None:
        _print(line)
        return 2
    said = " ".join(str(error).split())[:300]
    _print(
        f"{type(error).__name__}{': ' * bool(said)}{said} ({_place(error)}). That should not have "
        f"happened: please report it with the output of `genrec doctor` and the traceback, which "
        f"the same command shows with --verbose or {TRACEBACK}=1"
    )
    return 1


def lacking(error: BaseException) -> str | None:
    """What the machine lacks: room, memory, a file, a permission; and what to do. Else None."""
    if isinstance(error, OSError) and error.errno in _UNFIT:
        return f"{os.strerror(error.errno)}{_file_of(error)}: choose another place"
    for cause in _causes(error):
        number, said = getattr(cause, "errno", None), str(cause)
        where = _file_of(cause)
        if number in _FULL or any(os.strerror(each) in said for each in _FULL):
            if not where:
                _silence_stdout()  # it may be the output, which is flushed once more at the end
            return f"the disk is full{where}: free some space, or choose another place with --out"
        if number == errno.EROFS or os.strerror(errno.EROFS) in said:
            return f"the disk is read-only{where}: choose another place with --out"
        if isinstance(cause, FileNotFoundError) and cause.filename is not None:
            return f"{cause.filename} is gone: put it back, or run again the command that makes it"
        if number in (errno.EACCES, errno.EPERM):
            return f"not permitted{where}: change the permissions, or choose another place"
        if isinstance(cause, MemoryError) or number == errno.ENOMEM or _out_of_memory(said):
            return (
                "out of memory: close other programs, or ask for less at once (training.rows, "
                "training.accumulate, decoding.batch_size, decoding.beam, data.memory_gib)"
            )
        if "can't start new thread" in said:
            return (
                "no more threads can be started: close other programs, or raise the limits of "
                "memory and processes (ulimit -v, ulimit -u)"
            )
    return None


def _out_of_memory(said: str) -> bool:
    """Whether JAX or DuckDB says so; neither raises MemoryError."""
    return said.startswith(("RESOURCE_EXHAUSTED", "Out of Memory Error"))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, then those that it was raised from."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def _file_of(error: BaseException) -> str:
    name = getattr(error, "filename", None)
    return "" if name is None else f" ({name})"


def _place(error: BaseException) -> str:
    """The last line of genrec that it went through: file:line."""
    here = Path(__file__).parent
    frames = traceback.extract_tb(error.__traceback__)
    ours = [each for each in frames if here in Path(each.filename).parents] or frames
    if not ours:
        return "no line"
    last = ours[-1]
    path = Path(last.filename)
    name = path.relative_to(here.parent) if here in path.parents else path
    return f"{name}:{last.lineno}"


def _silence_stdout() -> None:
    """What is left to write goes nowhere, lest Python complains when it flushes at its end."""
    with contextlib.suppress(OSError, ValueError):  # no file may stand behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print(line: str) -> None:
    """One line that a terminal takes as it is: what a file says may stand in it."""
    shown = " ".join(line[:_LONGEST].split())
    shown = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in shown)
    print(f"genrec: {shown}{' …' * (len(line) > _LONGEST)}", file=sys.stderr)
