"""What a training says while it runs: metrics.jsonl for programs, TensorBoard events for people."""

import json
import time
from pathlib import Path
from typing import Any

import tensorboardX

from genrec.files import replacing

Line = dict[str, Any]


class Log:
    """Appends to both; use it as a context manager.

    Lines of `metrics.jsonl` have "step" and "epoch", and either how the training went since the
    line before ("loss", "targets_per_second", "learning_rate", "gradient_norm") or "validation".

    Args:
        folder: gets metrics.jsonl and tensorboard/.
        step: where the training goes on; what an interrupted one wrote beyond it is dropped.
    """

    def __init__(self, folder: Path, step: int):
        path = folder / "metrics.jsonl"
        with replacing(path) as temporary:
            kept = "".join(json.dumps(line) + "\n" for line in _lines(path) if line["step"] <= step)
            temporary.write_text(kept)
        self._file = path.open("a")
        self._events = tensorboardX.SummaryWriter(
            str(folder / "tensorboard"), purge_step=step + 1 if step else None
        )

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._events.close()

    def write(self, line: Line) -> None:
        """Adds a line, which other programs see at once."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        for name, value in _scalars(line):
            if name != "step":
                self._events.add_scalar(name, value, line["step"], time.time())
        self._events.flush()


def _lines(path: Path) -> list[Line]:
    """The lines of a log; one that was cut short is left out, and it is the last."""
    lines: list[Line] = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def _scalars(line: Line, prefix: str = "") -> list[tuple[str, float | int]]:
    nested = [
        _scalars(value, f"{prefix}{name}/")
        if isinstance(value, dict)
        else [(f"{prefix}{name}", value)]
        for name, value in line.items()
    ]
    return [scalar for scalars in nested for scalar in scalars]
