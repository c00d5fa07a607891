"""Takes from every stage of a small run what it needs, and checks its message and its files.

    python tools/fail_stages.py --json faults.json

Each stage is begun where an undisturbed run stood before it, with one thing wrong:
    file too long: no file may grow beyond some size (RLIMIT_FSIZE), several sizes in turn;
    full disk: the folder is a tmpfs with little room (as root only);
    read-only: the folder may be read only (as root, by giving up its rights);
    lost input: a file that it reads is gone;
    memory: its address space is limited (RLIMIT_AS), to several sizes above what its imports take.
A stage should say in one line what it lacks and exit with status 2, or end as usual; one that takes
minutes of the processor hangs, and is stopped. Then what was taken is given back, and the same
command must leave the files of an undisturbed one.
"""

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from faults.commands import COMMANDS, begin_life, contents, spawn, torn, undisturbed
from genrec.storage.files import write_json

MIB = 2**20
FAULTS = ("file too long", "full disk", "read-only", "lost input", "memory")
LENGTHS = (0, 200, 3000, 30_000)
ROOM = (64 << 10, 256 << 10)
MEMORY = (16, 64, 256, 1024)
"""MiB above what the process has when it starts."""
CPU_SECONDS = 120
"""After which a stage, which takes a few, is taken to hang."""
READS = {
    "prepare": "../data/log.csv",
    "embed": "run/dataset/items.parquet",
    "tokenize": "run/embeddings.npy",
    "train": "run/tokenizer/semantic_ids.parquet",
    "graph": "run/embeddings.npy",
    "fuse": "run/graph/items.npy",
    "evaluate": "run/dataset/sequences.parquet",
    "report": "run/metrics.json",
    "append": "../data/new.csv",
    "remove": "run/embeddings.npy",
    "export": "run/dataset/items.parquet",
    "export again": "run/embeddings.npy",
    "update": "../data/more.npy",
    "update --remove": "bundle/weights.safetensors",
}
NOBODY = 65534


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--stages", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--json", type=Path, help="file for what was found")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        undisturbed(folder, arguments.stages)
        for stage in arguments.stages:
            expected = contents(folder / "after" / stage)
            for fault in arguments.faults:
                for size, disturbed in WAYS[fault](folder, stage):
                    status, output, mended = disturbed
                    lines = output.strip().splitlines()
                    row = {"stage": stage, "fault": fault, "size": size, "status": status}
                    mended()  # or the input that was taken would be missed
                    row |= {"torn": torn(folder / "life"), "lines": len(lines)}
                    row |= {"says": lines[-1] if lines else "", "verdict": ""}
                    again, more, _ = spawn(COMMANDS[stage], folder / "life").wait()
                    same = again == 0 and contents(folder / "life") == expected
                    row["verdict"] = verdict(status, output, same, row["torn"])
                    if again != 0:
                        row["again"] = more
                    if row["verdict"] == "traceback":
                        row["said"] = output
                    rows.append(row)
                    print(row["verdict"], stage, fault, size, row["says"][:300], flush=True)
    table = Table("stage", "fault", "size", "verdict", "it says", box=None)
    for row in rows:
        cells = (row["stage"], row["fault"], str(row["size"] or ""), row["verdict"], row["says"])
        table.add_row(*(cell.replace("[", "\\[") for cell in cells))
    Console(highlight=False, width=200).print(table)
    if arguments.json:
        write_json(arguments.json, rows)
    if any(row["verdict"] in ("torn", "differs") for row in rows):
        sys.exit(1)


def verdict(status: int, output: str, same: bool, bad: str | None) -> str:
    """In one word, or two."""
    if bad is not None:
        return "torn"
    if not same:
        return "differs"
    if status == -signal.SIGXCPU:
        return "hangs"
    if status < 0:
        return f"signal {-status}"
    if "thread-local data: ABORT" in output:  # the C library's, which exits with 127
        return "aborts"
    if "Traceback" in output or status not in (0, 2):
        return "traceback"
    return "ends" if status == 0 else "one line"


Disturbed = Iterator[tuple[int | None, tuple[int, str, Callable[[], Any]]]]
"""How much was left; exit status, what was said, and what mends it."""


def file_too_long(folder: Path, stage: str) -> Disturbed:
    for size in LENGTHS:
        yield size, _with_limit(begin_life(folder, stage), stage, resource.RLIMIT_FSIZE, size)


def memory(folder: Path, stage: str) -> Disturbed:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    for size in MEMORY:
        limit = pages * resource.getpagesize() + size * MIB
        yield size, _with_limit(begin_life(folder, stage), stage, resource.RLIMIT_AS, limit)


def _with_limit(
    life: Path, stage: str, resource_kind: int, limit: int
) -> tuple[int, str, Callable]:
    def begin() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
        resource.setrlimit(resource_kind, (limit, limit))

    status, output, _ = spawn(COMMANDS[stage], life, begin=begin).wait()
    return status, output, lambda: None


def full_disk(folder: Path, stage: str) -> Disturbed:
    for room in ROOM if os.geteuid() == 0 else ():
        life = begin_life(folder, stage)
        aside = life.rename(folder / "aside")
        life.mkdir()
        used = sum(path.stat().st_size + 8192 for path in aside.rglob("*"))
        mount = ["mount", "-t", "tmpfs", "-o", f"size={used + room}", "tmpfs", str(life)]
        if subprocess.run(mount, capture_output=True).returncode:
            life.rmdir()
            aside.rename(life)
            return
        shutil.copytree(aside, life, dirs_exist_ok=True)
        shutil.rmtree(aside)
        status, output, _ = spawn(COMMANDS[stage], life).wait()

        def mend(life: Path = life, aside: Path = aside) -> None:
            shutil.copytree(life, aside)
            subprocess.run(["umount", str(life)], check=True)
            life.rmdir()
            aside.rename(life)

        yield room, (status, output, mend)


def read_only(folder: Path, stage: str) -> Disturbed:
    life, root = begin_life(folder, stage), os.geteuid() == 0
    folders = [life, *(path for path in life.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)

    def mend() -> None:
        for path in folders:
            path.chmod(0o755)

    status, output, _ = spawn(
        COMMANDS[stage], life, begin=lambda: os.setuid(NOBODY) if root else None
    ).wait()
    yield None, (status, output, mend)


def lost_input(folder: Path, stage: str) -> Disturbed:
    life = begin_life(folder, stage)
    file = life / READS[stage]
    kept = file.read_bytes()
    file.unlink()
    status, output, _ = spawn(COMMANDS[stage], life).wait()
    yield None, (status, output, lambda: file.write_bytes(kept))


WAYS: dict[str, Callable[[Path, str], Disturbed]] = {
    "file too long": file_too_long,
    "full disk": full_disk,
    "read-only": read_only,
    "lost input": lost_input,
    "memory": memory,
}


if __name__ == "__main__":
    main()
