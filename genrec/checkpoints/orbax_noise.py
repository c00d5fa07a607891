"""Orbax and TensorStore raise what went wrong; here the pages that they print of it are kept back.

Orbax stops at the first file that cannot be written or read. What the others came to is printed
later, when nobody can catch it: of tasks and coroutines when they are thrown away, and by threads
of TensorStore because the loop that they report to is closed.
"""

import functools
import re
import sys
from typing import Any

_ORBAX = re.compile(r"[\\/]orbax[\\/]checkpoint[\\/]")
"""In the path of its files."""


@functools.cache
def hush_leftovers() -> None:
    """For whoever is about to use Orbax: what ends when nobody can catch it is not printed."""
    before = sys.unraisablehook

    def hook(about: Any) -> None:  # sys.UnraisableHookArgs, which is a name for type checkers only
        code = getattr(about.object, "cr_code", None)  # if it is a coroutine
        of_orbax = code is not None and _ORBAX.search(code.co_filename)
        if not of_orbax and str(about.exc_value) != "Event loop is closed":
            before(about)

    sys.unraisablehook = hook
