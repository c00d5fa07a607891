"""Reads thousands of damaged and hostile files with everything in genrec that reads files.

    python tools/fuzz_readers.py --inputs 10000 --json fuzz.json

Each input should be read, or be refused in one line (exit status 2). Faults are
    exception: anything that a command would show as a failure of its own;
    complaint: a refusal of several lines, or of thousands of characters, or a traceback beside it,
        be it of a task that is thrown away later;
    crash: the process died;
    hang: it took more than 10 seconds;
    memory: it took 512 MiB more than the valid files do, or all that there was;
    escape: a file outside of the input's folder was read or written, a program was started, a
        pickle loaded, a network connection opened, or planted code ran.
The exit status is 1 if there was any. One input is shown with its traceback by --replay:

    python tools/fuzz_readers.py --readers items.parquet --replay 123
"""

import argparse
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fuzz.artifact_readers import READERS as ARTIFACTS
from fuzz.file_readers import READERS as FILES
from fuzz.finished_run import use
from fuzz.http_readers import READERS as HTTP
from fuzz.run_readers import READERS as RUNS
from fuzz.workers import Reader, Tally, fuzz, replay
from genrec.storage.files import write_json

READERS: dict[str, Reader] = {reader.name: reader for reader in (*FILES, *RUNS, *HTTP, *ARTIFACTS)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--readers",
        nargs="+",
        choices=READERS,
        default=list(READERS),
        metavar="READER",
        help=f"of {', '.join(READERS)}; all of them if none is named",
    )
    parser.add_argument("--inputs", type=int, default=10_000, help="for each reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for what was found")
    parser.add_argument("--run", type=Path, help="a finished tiny run; else one is made")
    parser.add_argument("--replay", type=int, help="number of the one input to read, in the open")
    parser.add_argument("--keep", type=Path, help="replay: folder for its files")
    arguments = parser.parse_args()
    if arguments.run is not None:
        use(arguments.run)
    readers = [READERS[name] for name in arguments.readers]
    if arguments.replay is not None:
        for reader in readers:
            replay(reader, arguments.replay, arguments.seed, arguments.keep)
        return
    tallies: dict[str, Tally] = {}
    for reader in readers:
        started = time.monotonic()
        tallies[reader.name] = fuzz(reader, arguments.inputs, arguments.seed, first=arguments.first)
        _show(reader.name, tallies[reader.name])
        print(f"{reader.name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        if arguments.json is not None:
            write_json(arguments.json, {name: asdict(each) for name, each in tallies.items()})
    Console(width=100).print(_table(tallies))
    sys.exit(any(each.faults for each in tallies.values()))


def _show(name: str, tally: Tally) -> None:
    """The faults, each sort once: those that say the same but for figures."""
    sorts: dict[str, list[tuple[int, str]]] = {}
    for number, kind, seen in tally.faults:
        sort = re.sub(r"[0-9]+", "0", f"{kind} {seen[-60:] if kind == 'exception' else seen[:40]}")
        sorts.setdefault(sort, []).append((number, f"{kind}: {seen}"))
    for faults in sorts.values():
        number, seen = faults[0]
        print(f"{name} {number} ({len(faults)} such): {seen}", flush=True)


def _table(tallies: dict[str, Tally]) -> Table:
    table = Table("reader")
    for column in ("inputs", "read", "refused", "faults", "slowest, s", "most memory, MiB"):
        table.add_column(column, justify="right")
    for name, each in tallies.items():
        counts = (each.inputs, each.read, each.refused, len(each.faults))
        cells = (f"{count:,}" for count in counts)
        table.add_row(name, *cells, f"{each.seconds:.1f}", f"{each.memory:.0f}")
    return table


if __name__ == "__main__":
    main()
