"""Reports an error: one line for people, and the exit status."""

import contextlib
import os
import sys
import traceback
from pathlib import Path

from genrec.errors import UserError, lacking

TRACEBACK = "GENREC_TRACEBACK"
"""Environment variable: if it is 1, a traceback is printed like --verbose would."""
_LONGEST = 1500
"""Characters of a complaint that are shown."""


def report(error: BaseException, *, verbose: bool) -> int:
    """Prints to stderr what went wrong, and returns the exit status.

    2 is a mistake that the user can mend, 130 an interruption, 1 anything else.
    """
    _drop_unwritable_output()
    if isinstance(error, BrokenPipeError):  # who reads the output has enough of it
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
    message = " ".join(str(error).split())[:300]
    bug = ": ".join(filter(None, [type(error).__name__, message]))
    _print(
        f"{bug} ({_line_of(error)}). That should not have happened: please report it with the "
        "output of `genrec doctor` and the traceback, which the same command shows with --verbose "
        f"or {TRACEBACK}=1"
    )
    return 1


def _line_of(error: BaseException) -> str:
    """The last line of genrec that it went through: file:line."""
    home = f"{Path(__file__).parents[1]}/"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(home)] or frames
    if not ours:
        return "no line"
    return f"{ours[-1].filename.replace(home, 'genrec/')}:{ours[-1].lineno}"


def _drop_unwritable_output() -> None:
    """What stdout did not take, for its reader has gone or its disk is full, goes nowhere, lest
    Python complains when it flushes at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):  # no file may stand behind it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print(line: str) -> None:
    """One line that a terminal takes as it is: what a file says may stand in it."""
    shown = " ".join(line[:_LONGEST].split())
    shown = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in shown)
    print(f"genrec: {shown}{' …' * (len(line) > _LONGEST)}", file=sys.stderr)
