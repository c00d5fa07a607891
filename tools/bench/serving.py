"""A server of a bundle in a process of its own: its requests, its answers, its memory."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

CLIENT = Path(__file__).with_name("serving_client.py")
K = 10
"""Items that each request asks for."""
DRAWN = 2000
"""Users at most whose histories are asked."""


def from_run(run: Path) -> list[list[str]]:
    """The histories of some users of a run, drawn at random."""
    table = pq.read_table(run / "dataset" / "items.parquet", columns=["item", "item_id"])
    ids = dict(zip(table["item"].to_pylist(), table["item_id"].to_pylist(), strict=True))
    column = pq.read_table(run / "dataset" / "sequences.parquet", columns=["items"])["items"]
    rows = np.random.default_rng(0).permutation(len(column))[:DRAWN]
    return [[ids[item] for item in column[int(row)].as_py()] for row in rows]


@contextlib.contextmanager
def server(
    bundle: Path, *flags: str, log: Path | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A server process and its port; it must stop without a mistake.

    What it says goes to a file, for a pipe that nobody reads would stop it.
    """
    command = [sys.executable, "-m", "genrec", "serve", str(bundle), "--port", "0"]
    environment = {**os.environ, "COLUMNS": "500", "JAX_COMPILATION_CACHE_DIR": ""}
    with tempfile.TemporaryDirectory(prefix="genrec-log-") as folder:
        log = log or Path(folder) / "log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [*command, "--no-access-log", *flags], stderr=stderr, env=environment
            )
        try:
            while "http://" not in log.read_text():
                if process.poll() is not None:
                    raise SystemExit(f"the server does not start: {log.read_text()}")
                time.sleep(0.01)
            yield process, int(log.read_text().partition("http://")[2].split(":")[1].split()[0])
        finally:
            process.send_signal(signal.SIGTERM)
            if process.wait():
                print(log.read_text(), file=sys.stderr)
                raise SystemExit(f"the server ended with status {process.returncode}")


def asked(port: int, method: str, path: str, body: str | None = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    with contextlib.closing(connection):
        connection.request(method, path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def wait_until_compiled(port: int) -> None:
    while True:
        status, state = asked(port, "GET", "/ready")
        if status == 200 and not state["compiling"]:
            return
        time.sleep(0.2)


def loaded(port: int, requests: Path, clients: int, seconds: float) -> dict[str, float]:
    command = [sys.executable, str(CLIENT), str(port), str(requests), str(clients), str(seconds)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    report = json.loads(answer.stdout)
    latencies = 1000 * np.array(report["latencies"])
    if report["failed"]:
        print(f"{clients} clients: {report['failed']}", file=sys.stderr)
    return {
        "p50": float(np.percentile(latencies, 50)),
        "p99": float(np.percentile(latencies, 99)),
        "per_second": len(latencies) / report["seconds"],
        "requests": len(latencies),
        "failed": sum(report["failed"].values()),
        "statuses": report["failed"],
        "client_cpu": report["client_cpu"],
        "load": os.getloadavg()[0],
    }


def resident(process: int) -> float:
    """What a process holds in memory, in MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024
