"""Attacks a `genrec serve` of its own on the loopback address, and looks at how others fare.

    genrec run configs/quickstart.yaml && genrec export runs/quickstart --out bundle
    python tools/attack_server.py bundle --run runs/quickstart --json attack.json

Attacks, one after the other, each for some seconds, while well-behaved clients go on asking:
    nobody: no attack, to compare with;
    silent: connections that never send anything;
    slow bodies: connections that send a byte of a request's body each second;
    storm: connections that are closed at once, or reset, as fast as they can be made;
    garbage: what is not HTTP, pipelined requests, heads and bodies far beyond what is allowed,
        lengths that lie, chunks without end;
    flood: many more requests for recommendations at once than the queue holds.
Clients that are cut off begin again. Heads of requests that come slowly are not among the attacks:
a reverse proxy is to bound those, see docs/deploy.md.

Printed for each: how many requests of the well-behaved clients were answered, how many failed,
p50 and p99 of the answers in ms; how often /health was asked and answered; how the attackers'
connections ended; the server's memory and open files when the attack is over. Exit status 1
says that a well-behaved request failed (in a flood: was answered anything but 200 or 503), that
/health did not answer, that files stayed open, that memory grew by more than a tenth over what it
was after the first row, or that the server logged a traceback.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.serving import K, asked, from_run, loaded, resident, server, wait_until_compiled
from bench.serving_client import ask, request_bytes
from genrec.storage.files import write_json

HEAD = b"POST /recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
CLIENTS = 4
READ_TIMEOUT = 3.0
MEMORY = 1.1
FILES = 5
"""More than before that may be open when all attackers have gone."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--run", type=Path, required=True, help="its users' histories are asked")
    parser.add_argument("--attackers", type=int, default=400, help="connections at a time")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each attack")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="genrec-attack-") as folder:
        requests, log = Path(folder) / "requests.jsonl", Path(folder) / "log"
        bodies = [json.dumps({"history": each, "k": K}) for each in from_run(arguments.run)]
        requests.write_text("\n".join(bodies))
        flags = ("--read-timeout", str(READ_TIMEOUT))
        with server(arguments.bundle, *flags, log=log) as (process, port):
            wait_until_compiled(port)
            loaded(port, requests, CLIENTS, 5)
            attacks = attacks_of(port, [request_bytes(body) for body in bodies])
            rows = {
                name: row(name, attack, process.pid, port, requests, arguments)
                for name, attack in attacks.items()
            }
        tracebacks = log.read_text().count("Traceback")
    show(rows)
    wrong = faults(rows, tracebacks)
    if arguments.json:
        figures = {"attackers": arguments.attackers, "cores": os.cpu_count(), "rows": rows}
        write_json(arguments.json, figures | {"faults": wrong})
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong:
        sys.exit(1)


Attack = Callable[[], Awaitable[str]]
"""One connection of an attacker, to its end; returns how it ended."""


def attacks_of(port: int, requests: list[bytes]) -> dict[str, Attack | None]:
    rng, turns = random.Random(0), itertools.count()

    async def opened() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", port)

    async def silent() -> str:
        return await dripped(*await opened(), b"")

    async def slow_bodies() -> str:
        head = HEAD + b"content-length: 5000\r\n\r\n"
        reader, writer = await opened()
        writer.write(head)
        return await dripped(reader, writer, b'{"history": [' + b" " * 4000)

    async def storm() -> str:
        _, writer = await opened()
        if next(turns) % 2:
            writer.transport.abort()
            return "reset"
        writer.close()
        return "closed at once"

    async def garbage() -> str:
        reader, writer = await opened()
        return await sent(reader, writer, nonsense(rng, requests[0]))

    async def flood() -> str:
        reader, writer = await opened()
        try:
            return str(await ask(reader, writer, requests[next(turns) % len(requests)]))
        finally:
            writer.close()

    return {
        "nobody": None,
        "silent": silent,
        "slow bodies": slow_bodies,
        "storm": storm,
        "garbage": garbage,
        "flood": flood,
    }


async def dripped(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, contents: bytes
) -> str:
    """Sends a byte a second, until the server has enough of it."""
    answer = asyncio.ensure_future(reader.read(100))
    try:
        for start in itertools.count():
            done, _ = await asyncio.wait([answer], timeout=1.0)
            if done:
                said = answer.result()
                return f"answered {said[9:12].decode()}" if said else "cut off"
            writer.write(contents[start : start + 1])
    finally:
        answer.cancel()
        writer.close()
    raise AssertionError("unreachable")


async def sent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, contents: bytes) -> str:
    """Sends as much as the server takes, and reads the beginning of its answer."""
    try:
        for start in range(0, len(contents), 1 << 16):
            writer.write(contents[start : start + (1 << 16)])
            await writer.drain()
        answer = await asyncio.wait_for(reader.read(100), 2 * READ_TIMEOUT)
        return f"answered {answer[9:12].decode(errors='replace')}" if answer else "cut off"
    finally:
        writer.close()


def nonsense(rng: random.Random, request: bytes) -> bytes:
    """One of what no client should send."""
    kind = rng.randrange(8)
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 5000))
    if kind == 1:  # the head of a request in which some bytes are others
        spoilt = bytearray(request)
        for _ in range(5):
            spoilt[rng.randrange(60)] = rng.randrange(256)
        return bytes(spoilt)
    if kind == 2:
        return b"GET /health HTTP/1.1\r\nhost: x\r\n" + b"x-more: y\r\n" * 100_000 + b"\r\n"
    if kind == 3:
        return b"GET /" + b"a" * 2_000_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"
    if kind == 4:
        return HEAD + b"content-length: 100000000\r\n\r\n" + b" " * 2_000_000
    if kind == 5:
        return (
            HEAD
            + b"transfer-encoding: chunked\r\n\r\n"
            + (b"8000\r\n" + b"[" * 32_768 + b"\r\n") * 60
        )
    if kind == 6:  # less than it says, and a request behind it
        return HEAD + b"content-length: 2\r\n\r\n{}" + request * 20 + b"\0" * 100
    return HEAD + b"content-encoding: gzip\r\ncontent-length: -1\r\n\r\n" + rng.randbytes(200)


def row(
    name: str,
    attack: Attack | None,
    pid: int,
    port: int,
    requests: Path,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """How others fare during one attack, and the server after it."""
    before = open_files(pid)
    # A storm leaves each address in use for a minute, of which there are not without end.
    at_once = (
        20
        if name == "storm"
        else 2 * arguments.attackers
        if name == "flood"
        else arguments.attackers
    )
    with attacked(attack, at_once, arguments.seconds) as endings, watched(port) as health:
        if attack is not None:
            time.sleep(1)  # all of them are there
        load = loaded(port, requests, CLIENTS, arguments.seconds - 2)
    until = time.monotonic() + 2 * READ_TIMEOUT + 5
    while open_files(pid) > before + FILES and time.monotonic() < until:
        time.sleep(0.2)
    return {
        "answered": load["requests"],
        "failed": load["failed"],
        "statuses": load["statuses"],
        "p50": load["p50"],
        "p99": load["p99"],
        "health": dict(health),
        "attackers": dict(endings),
        "mib": resident(pid),
        "files_before": before,
        "files": open_files(pid),
    }


@contextlib.contextmanager
def attacked(attack: Attack | None, at_once: int, seconds: float) -> Iterator[Counter[str]]:
    """Attackers beside the body of the statement, and how their connections ended."""
    endings: Counter[str] = Counter()
    until = time.monotonic() + seconds

    async def one() -> None:
        assert attack is not None
        while time.monotonic() < until:
            try:
                endings[await asyncio.wait_for(attack(), max(0.1, until - time.monotonic()))] += 1
            except TimeoutError:
                endings["there to the end"] += 1
            except (OSError, EOFError) as error:
                endings["cut off" if isinstance(error, ConnectionError) else str(error)] += 1
            await asyncio.sleep(0.01)

    async def all_of_them() -> None:
        await asyncio.gather(*(one() for _ in range(at_once)))

    thread = threading.Thread(target=lambda: asyncio.run(all_of_them()))
    if attack is not None:
        thread.start()
    yield endings
    if attack is not None:
        thread.join()


@contextlib.contextmanager
def watched(port: int) -> Iterator[Counter[str]]:
    """How often /health answered, asked twice a second."""
    answers: Counter[str] = Counter()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            try:
                answers[str(asked(port, "GET", "/health")[0])] += 1
            except OSError as error:
                answers[type(error).__name__] += 1

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield answers
    finally:
        over.set()
        thread.join()


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def faults(rows: dict[str, dict[str, Any]], tracebacks: int) -> list[str]:
    """What does not hold, in a line each."""
    wrong = [f"{tracebacks} tracebacks in the server's log"] if tracebacks else []
    allowed = next(iter(rows.values()))["mib"] * MEMORY
    for name, row in rows.items():
        others = row["statuses"].keys() - ({"503"} if name == "flood" else set())
        if others:
            wrong.append(f"{name}: well-behaved clients had {row['statuses']}")
        if not row["answered"]:
            wrong.append(f"{name}: nobody was answered")
        if set(row["health"]) != {"200"}:
            wrong.append(f"{name}: /health answered {row['health']}")
        if name == "flood" and not row["attackers"].keys() <= {"200", "503", "there to the end"}:
            wrong.append(f"{name}: requests ended as {row['attackers']}")
        if row["files"] > row["files_before"] + FILES:
            wrong.append(f"{name}: {row['files']} files are open, {row['files_before']} before")
        if row["mib"] > allowed:
            wrong.append(f"{name}: memory grew to {row['mib']:,.0f} MiB")
    return wrong


def show(rows: dict[str, dict[str, Any]]) -> None:
    table = Table(box=None)
    for column in ("attack", "answered", "failed", "p50", "p99", "/health", "MiB", "files"):
        table.add_column(column, justify="left" if column == "attack" else "right")
    table.add_column("attackers")
    for name, row in rows.items():
        endings = sorted(row["attackers"].items(), key=lambda each: -each[1])
        table.add_row(
            name,
            f"{row['answered']:,}",
            f"{row['failed']:,}",
            f"{row['p50']:.1f}",
            f"{row['p99']:.1f}",
            f"{row['health'].get('200', 0)} of {sum(row['health'].values())}",
            f"{row['mib']:,.0f}",
            f"{row['files_before']} → {row['files']}",
            ", ".join(f"{count:,} {how}" for how, count in endings),
        )
    Console(highlight=False, width=160).print(table)


if __name__ == "__main__":
    main()
