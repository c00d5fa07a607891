"""The log of a training: metrics.jsonl for programs, TensorBoard events for people."""

import json
import time
from pathlib import Path
from typing import Any

import jax
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore
from tensorboardX.summary import scalar

from genrec.storage.files import replacing

Line = dict[str, Any]


class Log:
    """Appends lines to metrics.jsonl and to the TensorBoard events; a context manager.

    Lines of `metrics.jsonl` have "step" and "epoch", and either how the training went since the
    line before ("loss", "targets_per_second", "learning_rate", "gradient_norm") or "validation".

    Args:
        folder: gets metrics.jsonl and tensorboard/.
        lines, step: how many lines were written, and steps done, where the training goes on; what
            an interrupted one wrote beyond them is dropped.
    """

    def __init__(self, folder: Path, lines: int, step: int):
        path = folder / "metrics.jsonl"
        with replacing(path) as temporary:
            kept = path.read_text().splitlines()[:lines] if lines and path.exists() else []
            temporary.write_text("".join(line + "\n" for line in kept))
        self._file = path.open("a")
        (folder / "tensorboard").mkdir(exist_ok=True)
        # Not by SummaryWriter: a full disk, or a clock that is put back by weeks, ends its thread,
        # and then the training would wait for it for ever. By step, as two may begin in a second.
        self._events = EventsWriter(str(folder / "tensorboard/events"), f".{step}")
        if step:
            # Hides the events that an interrupted training wrote beyond this step.
            restart = SessionLog(status=SessionLog.START)
            self._events.write_event(Event(step=step + 1, session_log=restart))

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._events.close()

    def write(self, line: Line) -> None:
        """Adds a line, which other programs see at once."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        for path, value in jax.tree.leaves_with_path(line):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            if name != "step":
                event = Event(wall_time=time.time(), step=line["step"], summary=scalar(name, value))
                self._events.write_event(event)
        self._events.flush()
