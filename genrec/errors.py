"""The one exception that is meant for people, and what others have to say to them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


class UserError(Exception):
    """Something the user can mend: bad input, a missing file, a setting out of range.

    The message is one line that says what is wrong, where, and how to mend it. The command line
    prints it without a traceback and exits with status 2.
    """


def reason(error: BaseException) -> str:
    """Why, for a complaint: the first line of what an exception says, and not too much of it."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return "".join(each for each in said[:200] if each.isprintable())


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
)


@contextlib.contextmanager
def blaming(file: str | Path, remedy: str = "") -> Iterator[None]:
    """What goes wrong within, while what a file holds is read and used, is the file's fault.

    It is for files that genrec writes: to be used where these are read, not around what is made of
    them later.

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
