"""Ctrl-C and polite kills: noticed between two steps, so that a checkpoint can be written first."""

import signal
import threading
from types import FrameType

import jax
from jax.experimental import multihost_utils


class Interruption:
    """Within its context, the first SIGINT or SIGTERM only sets `asked`; the second one raises.

    With several processes they must all stop at the same step: SIGTERM, as schedulers send it, is
    agreed on through JAX's preemption service, and SIGINT raises at once. Outside of the main
    thread, signals are left alone.
    """

    def __init__(self):
        self._asked = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread() and jax.process_count() == 1:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]

    def asked(self, step: int) -> bool:
        """Whether to stop now, before the given step; all processes get the same answer."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._asked

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
