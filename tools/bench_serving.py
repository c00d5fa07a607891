"""How fast `genrec serve` answers, with and without batching, how soon, and in how much memory.

    genrec run configs/beauty.yaml && genrec export runs/beauty --out bundle
    python tools/bench_serving.py bundle --run runs/beauty --minutes 10 --json serving.json

Two servers of the bundle, one of them with --max-batch 1, take turns: for some rounds, each is
asked by 1, 8 and 64 clients that wait for an answer before they ask again, k 10, the whole
histories of the run's users. The clients are one process beside the server, so on a small machine
they share its cores; how much of one they take is in the figures. Cells are medians of the rounds.

Before that, fresh processes are started until their first answer, without compiled programs and
with those that the one before left (--cache). With --minutes, 8 clients then load the batching
server for so long, while its memory is looked at every few seconds.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.serving import (
    CLIENT,
    DRAWN,
    K,
    asked,
    from_run,
    loaded,
    resident,
    server,
    wait_until_compiled,
)
from genrec.storage.files import write_json

SIDES = {"batching": [], "one at a time": ["--max-batch", "1"]}
MEASURED = ("p50", "p99", "per_second", "requests", "client_cpu", "load")
_SOAK = 8
_LOOK = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("bundle", type=Path)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", type=Path, help="folder of a run: the histories of its users")
    source.add_argument("--histories", type=Path, help="JSON lines with items, a list")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=10.0, help="of every cell and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--starts", type=int, default=3, help="fresh processes to start")
    parser.add_argument("--minutes", type=float, default=0.0, help="of load, to see the memory")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    histories = from_run(arguments.run) if arguments.run else from_file(arguments.histories)
    figures: dict[str, Any] = {
        "cores": os.cpu_count(),
        "load_before": os.getloadavg(),
        "mean_history": statistics.mean(map(len, histories)),
    }
    console = Console(highlight=False, width=110)
    with tempfile.TemporaryDirectory(prefix="genrec-bench-") as folder:
        requests = Path(folder) / "requests.jsonl"
        lines = [json.dumps({"history": history, "k": K}) for history in histories]
        requests.write_text("\n".join(lines))
        figures["start"] = starts(
            arguments.bundle, requests, Path(folder) / "cache", arguments.starts
        )
        show_starts(console, figures["start"])
        figures["cells"] = cells(arguments, requests)
        show_cells(console, figures["cells"])
        if arguments.minutes:
            figures["memory"] = soak(arguments.bundle, requests, arguments.minutes)
            show_memory(console, figures["memory"])
    figures["load_after"] = os.getloadavg()
    console.print(
        f"load {figures['load_before'][0]:.1f} before, {figures['load_after'][0]:.1f} after"
    )
    if arguments.json:
        write_json(arguments.json, figures)


def from_file(path: Path) -> list[list[str]]:
    lines = [json.loads(line)["items"] for line in path.read_text().splitlines() if line.strip()]
    return [list(map(str, items)) for items in lines[:DRAWN]]


def starts(bundle: Path, requests: Path, cache: Path, count: int) -> dict[str, list[float]]:
    """Seconds from the start of a process to its first answer, each process in turn."""
    body = requests.read_text().splitlines()[0]
    seconds: dict[str, list[float]] = {"fresh": [], "cached": []}
    for number in range(count + 1):
        for name, flags in (("fresh", []), ("cached", ["--cache", str(cache)])):
            if name == "fresh" and number == count:
                continue
            began = time.perf_counter()
            with server(bundle, *flags) as (_, port):
                while asked(port, "POST", "/recommend", body)[0] != 200:
                    time.sleep(0.02)
                took = time.perf_counter() - began
                if name == "cached":
                    wait_until_compiled(port)
            if name == "fresh" or number:  # the first one fills the cache
                seconds[name].append(took)
    return seconds


def cells(arguments: argparse.Namespace, requests: Path) -> list[dict[str, Any]]:
    """Every side at every concurrency: p50 and p99 in ms, requests/s; each round and the median."""
    rounds: dict[tuple[str, int], list[dict[str, float]]] = {}
    with contextlib.ExitStack() as stack:
        ports = {}
        for side, flags in SIDES.items():
            _, ports[side] = stack.enter_context(server(arguments.bundle, *flags))
            wait_until_compiled(ports[side])
        for _ in range(arguments.rounds):
            for clients in arguments.concurrency:
                for side, port in ports.items():
                    load = loaded(port, requests, clients, arguments.seconds)
                    rounds.setdefault((side, clients), []).append(load)
    return [
        {"side": side, "clients": clients, "rounds": each}
        | {
            name: statistics.median(load[name] for load in each)
            for name in each[0]
            if name != "statuses"
        }
        | {"failed": sum(load["failed"] for load in each)}
        for (side, clients), each in rounds.items()
    ]


def soak(bundle: Path, requests: Path, minutes: float) -> dict[str, Any]:
    """Memory of a server under load, in MiB, every few seconds once it has compiled everything."""
    seconds = 60 * minutes
    with server(bundle) as (process, port):
        wait_until_compiled(port)
        loaded(port, requests, _SOAK, 5)
        command = [sys.executable, str(CLIENT), str(port), str(requests), str(_SOAK), str(seconds)]
        client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        looks, until = [], time.perf_counter() + seconds
        while time.perf_counter() < until:
            time.sleep(_LOOK)
            looks.append(resident(process.pid))
        report = json.loads(client.communicate()[0])
    part = max(1, len(looks) // 10)
    return {
        "minutes": minutes,
        "mib": looks,
        "first": statistics.median(looks[:part]),
        "last": statistics.median(looks[-part:]),
        "most": max(looks),
        "requests": len(report["latencies"]),
        "failed": sum(report["failed"].values()),
    }


def show_starts(console: Console, starts_by_name: dict[str, list[float]]) -> None:
    for name, seconds in starts_by_name.items():
        if seconds:
            each = ", ".join(f"{second:.1f}" for second in seconds)
            console.print(f"first answer, {name}: {statistics.median(seconds):.1f} s ({each})")


def show_cells(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"k {K}", title_justify="left")
    for name in ("server", "clients", "p50", "p99", "requests/s", "requests", "failed", "client"):
        table.add_column(name, justify="left" if name == "server" else "right")
    for cell in rows:
        table.add_row(
            cell["side"],
            str(cell["clients"]),
            f"{cell['p50']:.1f} ms",
            f"{cell['p99']:.1f} ms",
            f"{cell['per_second']:,.0f}",
            f"{sum(each['requests'] for each in cell['rounds']):,}",
            str(cell["failed"]),
            f"{cell['client_cpu']:.0%} of a core",
        )
    console.print(table)


def show_memory(console: Console, figures: dict[str, Any]) -> None:
    console.print(
        f"memory over {figures['minutes']:g} minutes, {figures['requests']:,} requests, "
        f"{figures['failed']} failed: {figures['first']:,.0f} MiB in the first tenth, "
        f"{figures['last']:,.0f} in the last, {figures['most']:,.0f} at most"
    )


if __name__ == "__main__":
    main()
