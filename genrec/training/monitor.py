"""Monitoring a training: the progress bar, the log, and the check that its loss is finite."""

import contextlib
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from genrec.errors import UserError
from genrec.progress import Bar, progress
from genrec.training.log import Line, Log

STEPS_PER_LINE = 50
"""Steps between two lines of the log."""


@dataclass
class Position:
    """Where a training stands; with the state, all that it takes to go on bit for bit.

    Attributes:
        epoch, batch: the next batch to train on, both counted from 0.
        loss, targets: sums over the targets since the last line of the log.
        learning_rate, gradient_norm: those of the last step.
        best: the highest validation NDCG@10 so far.
        waited: validations since then.
    """

    epoch: int = 0
    batch: int = 0
    loss: float = 0.0
    targets: float = 0.0
    learning_rate: float = 0.0
    gradient_norm: float = 0.0
    lines: int = 0
    best: float = -1.0
    waited: int = 0


class Monitor:
    """Shows and logs a training on the first process, and checks it on all; a context manager.

    The metrics of a step are read only when the next one has been dispatched, so that the device
    never waits for them; `settle` reads what is left.

    Args:
        position: where the training stands; the sums and the last step's numbers are kept here.
        done: steps done before.
    """

    def __init__(self, folder: Path, position: Position, done: int, total: int):
        self._folder, self._position = folder, position
        self._done, self._total = done, total
        self._pending: tuple[int, int, Any] | None = None
        self._clock, self._timed, self._rate = 0.0, 0.0, 0.0
        self._open = contextlib.ExitStack()
        self._log: Log | None = None
        self._bar: Bar | None = None

    def __enter__(self) -> "Monitor":
        if jax.process_index() == 0:
            log = Log(self._folder, self._position.lines, self._done)
            self._log = self._open.enter_context(log)
            bar = progress("train", self._total, "step", done=self._done)
            self._bar = self._open.enter_context(bar)
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def step(self, metrics: Any) -> None:
        """Notes the metrics of the step that was just dispatched, `position`'s batch."""
        self.settle()
        self._pending = (self._position.epoch, self._position.batch, metrics)

    def settle(self) -> None:
        """Reads the last step's metrics.

        Raises:
            UserError: its loss or gradient is not finite.
        """
        if self._pending is None:
            return
        epoch, batch, metrics = self._pending
        self._pending = None
        values = {name: float(value) for name, value in metrics.items()}
        for name in ("loss", "total", "gradient_norm"):
            if not math.isfinite(values[name]):
                subject = "gradient" if name == "gradient_norm" else "loss"
                raise UserError(
                    f"training: the {subject} is {values[name]} at epoch {epoch + 1}, batch "
                    f"{batch + 1}: try a smaller training.learning_rate; the checkpoints before it "
                    "are kept"
                )
        self._done += 1
        targets = values["targets"]
        self._position.loss += values["loss"] * targets
        self._position.targets += targets
        self._position.learning_rate = values["learning_rate"]
        self._position.gradient_norm = values["gradient_norm"]
        now = time.perf_counter()
        if self._clock:  # the first step compiles, and would spoil the rate
            self._timed += targets
            self._rate = self._timed / (now - self._clock)
        else:
            self._clock = now
        if self._bar is not None:
            columns = {"loss": values["loss"], "targets/s": self._rate, "epoch": epoch + 1}
            self._bar.advance(**columns)
        if self._done % STEPS_PER_LINE == 0:
            self._write_line(epoch)

    def finish_epoch(self) -> None:
        """Logs what is left of an epoch."""
        self.settle()
        if self._position.targets:
            self._write_line(self._position.epoch)

    def validated(self, metrics: dict[str, float]) -> None:
        """Logs a validation; the time that it took does not count for the rate."""
        self._write({"step": self._done, "epoch": self._position.epoch, "validation": metrics})
        self._clock, self._timed = time.perf_counter(), 0.0

    def _write_line(self, epoch: int) -> None:
        self._write(
            {
                "step": self._done,
                "epoch": epoch + 1,
                "loss": self._position.loss / self._position.targets,
                "targets_per_second": round(self._rate, 1),
                "learning_rate": self._position.learning_rate,
                "gradient_norm": self._position.gradient_norm,
            }
        )
        self._position.loss = self._position.targets = 0.0
        self._clock, self._timed = time.perf_counter(), 0.0

    def _write(self, line: Line) -> None:
        self._position.lines += 1
        if self._log is not None:
            self._log.write(line)
