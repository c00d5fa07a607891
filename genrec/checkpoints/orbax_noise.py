"""Keeping Orbax and TensorStore from printing errors after they have raised one.

Orbax raises an error for the first file that cannot be written or read. The errors of other files
are printed later, where they cannot be caught: when tasks and coroutines are garbage-collected, and
by threads of TensorStore that report to an event loop which is closed.
"""

import functools
import re
import sys
from typing import Any

_ORBAX = re.compile(r"[\\/]orbax[\\/]checkpoint[\\/]")
"""The path of Orbax's source files."""


@functools.cache
def hush_leftovers() -> None:
    """Installs a hook that drops these late errors; to be called before Orbax is used."""
    before = sys.unraisablehook

    def hook(about: Any) -> None:  # sys.UnraisableHookArgs, which is a name for type checkers only
        code = getattr(about.object, "cr_code", None)  # if it is a coroutine
        of_orbax = code is not None and _ORBAX.search(code.co_filename)
        if not of_orbax and str(about.exc_value) != "Event loop is closed":
            before(about)

    sys.unraisablehook = hook
