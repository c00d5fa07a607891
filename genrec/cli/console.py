"""Output of the commands: for people or as JSON for programs, and how much of it.

The command line sets both once, by `speak`; the functions that print heed them. Where genrec is
used from Python nobody calls `speak`, and warnings and progress come as they are.
"""

import json
import logging
import os
import sys
import warnings
from typing import Any

from rich.console import Console, RenderableType

from genrec import progress

logger = logging.getLogger("genrec")

_as_json = False
_log: logging.StreamHandler | None = None
_SLOW_COMPILATION = 0.2
"""Seconds from which a compilation is worth a line."""


def speak(*, quiet: bool = False, verbose: bool = False, json: bool = False) -> None:
    """Sets how this process prints, and has what genrec logs printed to stderr.

    Args:
        quiet: errors only: neither results for people nor progress nor warnings.
        verbose: what is logged at every level, with the time and the module.
        json: results as one JSON document on stdout; what is for people goes to stderr.
    """
    global _as_json, _log
    _as_json = json
    progress.silence(quiet)
    if _log is not None:
        logger.removeHandler(_log)
    _log = logging.StreamHandler()
    line = "genrec %(asctime)s %(name)s: %(message)s" if verbose else "genrec: %(message)s"
    _log.setFormatter(logging.Formatter(line, "%H:%M:%S"))
    logger.addHandler(_log)
    logger.propagate = False  # or handlers that other libraries give the root logger repeat it
    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.NOTSET
    logger.setLevel(level)
    if quiet and not sys.warnoptions:
        warnings.simplefilter("ignore")


def _console() -> Console:
    """Where results for people go; rich leaves out colours but on a terminal, and by NO_COLOR."""
    return Console(highlight=False, quiet=progress.is_quiet(), stderr=_as_json)


def say(text: str) -> None:
    """A line for people, as it stands: neither wrapped nor styled."""
    _console().print(text, soft_wrap=True, markup=False)


def show(*blocks: RenderableType, wrap: bool = False) -> None:
    """Tables, or lines with rich's markup, for people; wrapped at the terminal's width or not."""
    for block in blocks:
        _console().print(block, soft_wrap=not wrap)


def document(value: dict[str, Any]) -> None:
    """The result of a command as one JSON document on stdout, if --json asked for it."""
    if _as_json:
        print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=os.fspath))


def tell_compilations() -> None:
    """Logs what JAX compiles from now on, and how long it takes; only with --verbose."""
    if not logger.isEnabledFor(logging.DEBUG):
        return
    import jax

    def log(event: str, duration_secs: float, **details: Any) -> None:
        if event.endswith("backend_compile_duration") and duration_secs >= _SLOW_COMPILATION:
            function = details.get("fun_name", "a function")
            logger.debug("compiled %s in %.1f s", function, duration_secs)

    jax.monitoring.register_event_duration_secs_listener(log)


def hush() -> None:
    """Commands say in one line what went wrong, so libraries log no failure of their own."""
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
