"""Kills every stage of a small run again and again, and compares its files in the end.

    python tools/kill_stages.py --kills 240 --json kills.json

Each stage, and each command that lets items come and go, is begun where an undisturbed run stood
before it, sent SIGKILL, and begun again; after some kills it is left alone. By turns, the moment is
drawn from all of the stage's time, or from its work on files: before the n-th time that it creates,
renames or deletes one, most of which is at its end. (That is seen by a hook in the process, which
does not see what libraries in C++ write; the other kills meet that.)

After every kill, all files that are in place must be whole: they are parsed, checkpoints and
bundles compared with their checksums, and the manifest's stages with the files that it lists. In
the end everything must equal the undisturbed run's (see `faults.commands.contents`), and nothing
else may be left. Of what a kill left, `resumed` says that the next start went on from a checkpoint,
`redone` that it began the stage anew, `done` that there was nothing left to do. `missed` ones had
ended before their moment came.

A start would cost seconds of imports; so this process has imported all that genrec needs, and each
command is a fork of it that runs genrec's command line.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from faults.commands import COMMANDS, begin_life, checkpointed, contents, spawn, torn, undisturbed
from genrec.storage.files import write_json

KILLS_OF_A_LIFE = 4
COLUMNS = ("kills", "resumed", "redone", "done", "missed", "differing", "errors")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=240, help="of all stages together")
    parser.add_argument("--stages", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which to kill")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = torment(folder, arguments.stages, arguments.kills, random.Random(arguments.seed))
    figures = {
        "stages": rows,
        "kills": sum(row["kills"] for row in rows.values()),
        "seed": arguments.seed,
        "seconds": round(time.perf_counter() - started, 1),
    }
    print_table(rows)
    if arguments.json:
        write_json(arguments.json, figures)
    if any(row["differing"] or row["errors"] for row in rows.values()):
        sys.exit(1)


def torment(
    folder: Path, stages: list[str], kills: int, moments: random.Random
) -> dict[str, dict[str, Any]]:
    """Figures of every stage."""
    whole = undisturbed(folder, stages)
    rows = {}
    for number, stage in enumerate(stages):
        wanted = kills * (number + 1) // len(stages) - kills * number // len(stages)
        rows[stage] = {"seconds": round(whole[stage][0], 2), "file_operations": whole[stage][1]}
        rows[stage] |= kill_stage(folder, stage, wanted, whole[stage], moments)
        print(f"{stage}: {json.dumps(rows[stage])}", flush=True)
    return rows


def kill_stage(
    folder: Path, stage: str, kills: int, whole: tuple[float, int], moments: random.Random
) -> dict[str, int]:
    """Kills one stage so often, over several lives."""
    counts: Counter[str] = Counter(dict.fromkeys(COLUMNS, 0))
    expected = contents(folder / "after" / stage)
    while counts["kills"] < kills:
        life = begin_life(folder, stage)
        for _ in range(min(KILLS_OF_A_LIFE, kills - counts["kills"])):
            if not kill_once(life, stage, whole, moments, counts):
                break
            if bad := torn(life):
                counts["errors"] += 1
                print(f"{stage}: torn after a kill: {bad}", flush=True)
            left = {name: each for name, each in contents(life).items() if ".lock" not in name}
            if left == expected:
                counts["done"] += 1
            else:
                counts["resumed" if checkpointed(life, stage) else "redone"] += 1
        status, output, _ = spawn(COMMANDS[stage], life).wait()
        if status != 0:
            counts["errors"] += 1
            print(f"{stage}: {output}", flush=True)
        elif (now := contents(life)) != expected:
            counts["differing"] += 1
            names = [name for name in now.keys() | expected if now.get(name) != expected.get(name)]
            print(f"{stage}: other than undisturbed: {sorted(names)}", flush=True)
    return dict(counts)


def kill_once(
    life: Path,
    stage: str,
    whole: tuple[float, int],
    moments: random.Random,
    counts: Counter[str],
) -> bool:
    """Starts the stage and kills it; False if it had finished before."""
    seconds, operations = whole
    if (counts["kills"] + counts["missed"]) % 2:
        process = spawn(COMMANDS[stage], life, kill_at=moments.randint(1, operations))
    else:
        process = spawn(COMMANDS[stage], life)
        time.sleep(moments.uniform(0, seconds))
        process.kill()
    status, output, _ = process.wait()
    if status == -signal.SIGKILL:
        counts["kills"] += 1
        return True
    counts["missed"] += 1
    if status != 0:
        counts["errors"] += 1
        print(f"{stage}: {output}", flush=True)
    return False


def print_table(rows: dict[str, dict[str, Any]]) -> None:
    table = Table("stage", *COLUMNS, box=None)
    for name, row in rows.items():
        table.add_row(name, *(str(row[column]) for column in COLUMNS))
    total = [str(sum(row[column] for row in rows.values())) for column in COLUMNS]
    table.add_section()
    table.add_row("all", *total)
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
