"""Programs that are compared take turns: each has a process of its own, and one works at a time.

Frameworks fight over threads and memory where they share a process, and a busy machine is not as
fast now as it was a minute ago. So every side of a comparison gets a process that prepares itself
once and then waits; the parent asks them in turn, over and over, and compares the answers of a
round with each other.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.machine import DISTURBED, busy

Answer = dict[str, Any]
Measure = Callable[[Any], Answer]
"""Does what it is asked, such as to work for about so many seconds; returns what it measured."""

ENVIRONMENT = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # page faults are dear, to every framework
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several sides share a GPU's memory
    "TRANSFORMERS_VERBOSITY": "error",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}

TOOLS = Path(__file__).parents[1]


class Side:
    """A process that measures when asked. Use it as a context manager: leaving ends the process.

    Args:
        name: for messages.
        module: of tools/bench, one that calls `serve`.
        settings: what its `prepare` is given.
        environment: variables beside those of `ENVIRONMENT`.
    """

    def __init__(self, name: str, module: str, settings: Answer, environment: Mapping[str, str]):
        self.name = name
        path = os.pathsep.join([str(TOOLS), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"bench.{module}", json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ENVIRONMENT, **environment, "PYTHONPATH": path},
        )

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()  # the end of its requests
            self._process.wait(timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    def prepared(self) -> Answer:
        """Waits until it is ready to be asked; what it says of its preparation."""
        return self._receive()

    def measure(self, request: Any) -> Answer:
        """Has it do something that JSON can tell, and waits for the answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it is gone, which the missing answer tells
        return self._receive()

    def _receive(self) -> Answer:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            raise SystemExit(f"{self.name} stopped with status {status}; see its messages above")
        return json.loads(line)


def add_turn_flags(parser: argparse.ArgumentParser, seconds: float, of: str) -> None:
    """The flags of every command whose sides take turns."""
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=seconds, help=of)
    parser.add_argument(
        "--patience",
        type=float,
        default=0.0,
        help="seconds to wait at each turn for other programs to end, and to repeat disturbed ones",
    )


def undisturbed(side: Side, request: Any, patience: float) -> dict[str, Any]:
    """A side's turn while no other program works, or whatever it comes to when patience ends."""
    deadline, limit = time.monotonic() + patience, DISTURBED * (os.cpu_count() or 1)
    while True:
        while time.monotonic() < deadline and busy() > limit:
            pass
        answer = side.measure(request)
        if answer["others"] <= limit or time.monotonic() >= deadline:
            return answer


def serve(prepare: Callable[[Answer], tuple[Answer, Measure]]) -> None:
    """The main program of a side: prepares itself, then measures whenever it is asked.

    To each answer the peak memory of the process so far is added, "peak_memory" in bytes.
    """
    # Whatever a library prints must not pass for an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(answer: Answer) -> None:
        answers.write(json.dumps({"peak_memory": peak_memory()} | answer) + "\n")
        answers.flush()

    ready, measure = prepare(json.loads(sys.argv[1]))
    send(ready)
    for line in sys.stdin:
        send(measure(json.loads(line)))


def peak_memory() -> int:
    """The most memory that this process has held at a time, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # where getrusage counts what the parent held when it forked
        lines = status.read_text().splitlines()
        peaks = [line.split() for line in lines if line.startswith("VmHWM:")]
        if peaks:
            return int(peaks[0][1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
