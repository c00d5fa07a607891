"""Progress of a long stage: a live bar on a terminal, a plain line now and then elsewhere."""

import contextlib
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 15.0
_quiet = False


def silence(quiet: bool) -> None:
    """Decides for this process whether progress is shown from now on."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    return _quiet


class Bar:
    """Counts the work of one stage. `advance(n, loss=2.1)` says that n more units are done."""

    def __init__(self, name: str, total: int, unit: str, done: int = 0):
        self.name, self.total, self.unit = name, total, unit
        self.done = self._first = done
        self._started = self._last_line = time.perf_counter()
        self._live: Progress | None = None
        console = Console(stderr=True)
        # Asked of the file itself: rich is told by FORCE_COLOR that a log is a terminal too.
        if sys.stderr.isatty() and not console.is_dumb_terminal and not is_quiet():
            self._live = Progress(
                TextColumn("{task.description:<10}"),
                BarColumn(bar_width=28),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=console,
                transient=True,
            )
            self._task = self._live.add_task(name, total=total, completed=done, rate="", note="")

    def advance(self, amount: int = 1, **values: float | int) -> None:
        """Adds `amount` finished units; `values` are shown beside the bar."""
        self.done += amount
        note = "  ".join(f"{key} {value:.4g}" for key, value in values.items())
        style = ",.0f" if self.rate >= 10 else ".2g"
        rate = f"{self.rate:{style}} {self.unit}/s"
        if self._live is not None:
            self._live.update(self._task, completed=self.done, rate=rate, note=note)
        elif not is_quiet() and time.perf_counter() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = time.perf_counter()
            left = (self.total - self.done) / self.rate if self.rate else 0.0
            share = f"{self.done:,}/{self.total:,}"
            Console(stderr=True, highlight=False).print(
                f"{self.name:<10} {share}  {rate}  {_clock(left)} left  {note}", soft_wrap=True
            )

    @property
    def seconds(self) -> float:
        """Seconds since the bar was made."""
        return time.perf_counter() - self._started

    @property
    def rate(self) -> float:
        """Units finished per second."""
        return (self.done - self._first) / max(self.seconds, 1e-9)


@contextlib.contextmanager
def progress(name: str, total: int, unit: str, done: int = 0) -> Iterator[Bar]:
    """A `Bar` for `total` units of work, of which `done` were finished before this process."""
    bar = Bar(name, total, unit, done)
    with bar._live or contextlib.nullcontext():
        yield bar


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"
