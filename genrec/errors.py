"""The one exception that is meant for people, and what others have to say to them."""


class UserError(Exception):
    """Something the user can mend: bad input, a missing file, a setting out of range.

    The message is one line that says what is wrong, where, and how to mend it. The command line
    prints it without a traceback and exits with status 2.
    """


def reason(error: BaseException) -> str:
    """Why, for a complaint: the first line of what an exception says, and not too much of it."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return "".join(each for each in said[:200] if each.isprintable())
