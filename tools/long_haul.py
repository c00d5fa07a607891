"""Trains and serves for an hour, and looks at memory and open files meanwhile.

    python tools/long_haul.py configs/quickstart.yaml --minutes 60 --json long_haul.json

Both at the same time, each in a process of its own, after one run of the config has made what they
need. The training goes on with more and more epochs until its time is over, so that it validates
and writes a checkpoint every few seconds. The server is asked by some clients at a bounded rate,
for valid histories and, now and then, for what it must refuse; some hang up before the answer; and
its bundle is replaced every few minutes.

Every few seconds the resident memory, the open files and the threads of each process are looked at.
Printed are, for each tenth of the time but the first (in which caches fill), the most memory and
the median of files and threads: a training has phases that take more memory, and moments with more
files, while it writes a checkpoint. Exit status 1 says that one grew: the last
tenth's by more than 5 % over the second's, or by more than 2 files or threads. The training's
malloc gives back what is free, so that what is resident is in use.
"""

import argparse
import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.serving import asked, from_run, resident, server, wait_until_compiled
from genrec.storage.files import replacing, write_json

LOOK = 5.0
TENTHS = 10
GROWTH = {"mib": 0.05, "files": 2, "threads": 2}
"""Allowed: a share of the memory, a number of the others."""

GIVE_BACK = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}
"""For glibc, which else keeps free memory, in pieces, and the more the longer it ran."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=10.0, help="requests a second")
    parser.add_argument("--swap", type=float, default=5.0, help="minutes between bundles")
    parser.add_argument("--nice", type=int, default=0, help="added to the training's niceness")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="genrec-long-") as folder:
        run, bundle = Path(folder) / "run", Path(folder) / "bundle"
        genrec(
            "run", options.config, "--out", run, "--training.epochs", 2, "--tokenizer.steps", 300
        )
        genrec("export", run, "--out", bundle)
        figures = haul(options, run, bundle)
    grown = show(figures)
    if options.json:
        write_json(options.json, figures)
    for line in grown:
        print(line, file=sys.stderr)
    if grown:
        sys.exit(1)


def genrec(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "genrec", *map(str, arguments), "--quiet"], check=True)


def haul(options: argparse.Namespace, run: Path, bundle: Path) -> dict[str, Any]:
    """What was seen of both processes, and how much each did."""
    looks: dict[str, list[dict[str, float]]] = {"training": [], "serving": []}
    requests = asking(run)
    asked_for, swaps = Counter[str](), 0
    with training(run, options.nice) as trainer, server(bundle) as (process, port):
        wait_until_compiled(port)
        began = now = time.monotonic()
        next_look, next_swap = began, began + 60 * options.swap
        while now < began + 60 * options.minutes:
            if trainer.poll() is not None:
                sys.exit(f"the training ended by itself, with status {trainer.returncode}")
            asked_for[ask(port, *next(requests))] += 1
            if now >= next_look:
                looks["training"].append(look(trainer.pid))
                looks["serving"].append(look(process.pid))
                next_look += LOOK
            if now >= next_swap:
                swap(bundle)
                swaps, next_swap = swaps + 1, next_swap + 60 * options.swap
            time.sleep(1 / options.rate)
            now = time.monotonic()
    steps = read_json_lines(run / "metrics.jsonl")
    return {
        "minutes": options.minutes,
        "requests": dict(asked_for),
        "bundles": swaps + 1,
        "steps": max(line["step"] for line in steps),
        "validations": sum("validation" in line for line in steps),
        "looks": looks,
    }


@contextlib.contextmanager
def training(run: Path, nice: int) -> Iterator[subprocess.Popen[bytes]]:
    """A training that outlasts the time, and must then stop as one that is interrupted."""
    shutil.rmtree(run / "checkpoints")
    command = [sys.executable, "-m", "genrec", "train", str(run), "--quiet"]
    process = subprocess.Popen(
        [*command, "--training.epochs", "1000000", "--training.validation-users", "200"],
        preexec_fn=lambda: os.nice(nice),
        env={**os.environ, **GIVE_BACK},
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=300)
    if process.returncode != 130:
        sys.exit(f"the training ended with status {process.returncode} instead of 130")


def asking(run: Path) -> Iterator[tuple[str, str]]:
    """Bodies of requests without end, and how each should end."""
    histories = itertools.cycle(from_run(run))
    for number in itertools.count():
        body = json.dumps({"history": next(histories), "k": 10})
        if number % 10 == 3:
            yield "refused", body[: 1 + number % (len(body) - 1)]
        elif number % 10 == 7:
            yield "hung up", body
        else:
            yield "answered", body


def ask(port: int, ending: str, body: str) -> str:
    """How a request ended; another ending than expected stops everything."""
    if ending == "hung up":
        with socket.create_connection(("127.0.0.1", port)) as connection:
            head = f"POST /recommend HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
            connection.sendall(f"{head}content-type: application/json\r\n\r\n{body}".encode())
        return ending
    status, answer = asked(port, "POST", "/recommend", body)
    if status != {"answered": 200, "refused": 400}[ending]:
        sys.exit(f"answered {status}, {answer}, to {body}")
    return ending


def swap(bundle: Path) -> None:
    """Puts an equal bundle where the one is, as an export over it does."""
    with replacing(bundle) as temporary:
        shutil.copytree(bundle, temporary)


def look(process: int) -> dict[str, float]:
    folder = Path(f"/proc/{process}")
    return {
        "mib": resident(process),
        "files": len(list((folder / "fd").iterdir())),
        "threads": len(list((folder / "task").iterdir())),
    }


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def tenths(looks: list[dict[str, float]], name: str) -> list[float]:
    """The most memory, or the median of files or threads, of each tenth of the time."""
    cuts = [len(looks) * part // TENTHS for part in range(TENTHS + 1)]
    values = [each[name] for each in looks]
    of = max if name == "mib" else statistics.median
    return [of(values[a:b]) for a, b in itertools.pairwise(cuts)]


def show(figures: dict[str, Any]) -> list[str]:
    """Prints the table; what grew, in a line each."""
    table = Table("", "", *(f"{part}0 %" for part in range(2, TENTHS + 1)), box=None)
    grown = []
    for name, looks in figures["looks"].items():
        for measure, allowed in GROWTH.items():
            values = tenths(looks, measure)
            table.add_row(name, measure, *(f"{value:,.0f}" for value in values[1:]))
            most = values[1] * (1 + allowed) if measure == "mib" else values[1] + allowed
            if values[-1] > most:
                grown.append(f"{name}: {measure} grew from {values[1]:,.0f} to {values[-1]:,.0f}")
    console = Console(highlight=False, width=120)
    console.print(table)
    kinds = ", ".join(f"{count:,} {name}" for name, count in figures["requests"].items())
    console.print(
        f"{figures['minutes']:g} minutes: {figures['steps']:,} steps of training with "
        f"{figures['validations']:,} validations; requests: {kinds}; {figures['bundles']} bundles"
    )
    return grown


if __name__ == "__main__":
    main()
