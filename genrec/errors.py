"""The one exception that is meant for people."""


class UserError(Exception):
    """Something the user can mend: bad input, a missing file, a setting out of range.

    The message is one line that says what is wrong, where, and how to mend it. The command line
    prints it without a traceback and exits with status 2.
    """
