"""Reads damaged and hostile files in processes of their own, and counts how each reading ended.

An input is named by a reader, a seed and a number, and always comes out the same. Workers are forks
of a process without threads. Each reads some inputs, one after another; if it dies, that is the
fault of the input that it was reading.
"""

import contextlib
import gc
import io
import itertools
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import genrec.cli.failures
from fuzz.escapes import age, plant, touched, watch
from fuzz.mutations import mutated

CPU_SECONDS = 10
SECONDS = 60
"""How long a reader may take for an input, of the processor and of the clock."""
MEMORY = 512
"""MiB it may take above what the valid file takes."""
ADDRESSES = 8
"""GiB of address space above what a worker has at its start: the machine must not run out of it."""
LONGEST = 2000
"""Characters that a complaint may have."""

Mutate = Callable[[random.Random, str, bytes], bytes]


def _nothing(folder: Path) -> None:
    pass


@dataclass(frozen=True)
class Reader:
    """Something that reads files which may come from anywhere.

    Attributes:
        name: to call it by.
        make: writes valid files into a new folder.
        read: reads the folder as a command would; what it returns is thrown away.
        files: those that are damaged, by their names within the folder; one or two for an input.
        mend: makes the folder agree with a damaged file, such as checksums in a manifest, so that
            a reader goes on to what is in the file; done for most inputs.
        mutate: (rng, name, contents) → damaged contents, in place of what the name's ending says.
        batch: inputs for each worker; more where it takes long before it can read.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], object]
    files: tuple[str, ...]
    mend: Callable[[Path], None] = _nothing
    mutate: Mutate = mutated
    batch: int = 250


@dataclass
class Tally:
    """How the readings of a reader's inputs ended.

    Attributes:
        inputs, read, refused: how many there were, were read, and were refused in one line.
        faults: number of the input, kind of fault, and what was seen.
        seconds: of the slowest.
        memory: MiB above what the valid files take, at most.
    """

    inputs: int = 0
    read: int = 0
    refused: int = 0
    faults: list[tuple[int, str, str]] = field(default_factory=list)
    seconds: float = 0.0
    memory: float = 0.0


def fuzz(reader: Reader, inputs: int, seed: int, *, first: int = 0) -> Tally:
    """Reads the inputs first…first+inputs-1.

    Raises:
        RuntimeError: the reader refuses its valid files.
    """
    assert threading.active_count() == 1, "a thread would not live on in the fork"
    total = Tally()
    with tempfile.TemporaryDirectory(prefix="fuzz.") as temporary:
        folder = Path(temporary).resolve()
        reader.make(folder / "valid")
        numbers = iter(range(first, first + inputs))
        while some := list(itertools.islice(numbers, reader.batch)):
            while some:
                outcomes = _worker(reader, folder, seed, some)
                for number, outcome in zip(some, outcomes, strict=False):
                    _count(total, number, outcome)
                some = some[len(outcomes) :]
    return total


def replay(reader: Reader, number: int, seed: int, keep: Path | None) -> None:
    """Reads one input in this process, and shows what it raises; `keep` is for its files."""
    with tempfile.TemporaryDirectory(prefix="fuzz.") as temporary:
        folder = Path(temporary).resolve()
        reader.make(folder)
        changed = write_input(reader, folder, seed, number)
        for name, contents in changed.items():
            print(f"{name}: {len(contents):,} bytes {contents[:600]!r}")
        if keep is not None:
            shutil.copytree(folder, keep, dirs_exist_ok=True)
        os.chdir(folder)
        print(repr(reader.read(folder))[:2000])


def write_input(reader: Reader, folder: Path, seed: int, number: int) -> dict[str, bytes]:
    """Damages a valid folder; the new contents of what was damaged."""
    rng = random.Random(f"{seed}/{reader.name}/{number}")
    names = rng.sample(reader.files, min(len(reader.files), rng.choice((1, 1, 1, 2))))
    changed = {}
    for name in names:
        contents = reader.mutate(rng, name, (folder / name).read_bytes())
        (folder / name).write_bytes(contents)
        changed[name] = contents
    if rng.random() < 0.85:
        reader.mend(folder)
    return changed


def _worker(reader: Reader, root: Path, seed: int, numbers: list[int]) -> list[dict[str, Any]]:
    """The outcomes of the first inputs; not of all, if the last of these ended the worker."""
    ours, theirs = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.close(ours)
            os.setsid()
            with os.fdopen(theirs, "w") as pipe:
                _work(reader, root, seed, numbers, pipe)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(theirs)
    outcomes, late = [], False
    with os.fdopen(ours, "rb", buffering=0) as pipe:
        rest = b""
        while True:
            ready, _, _ = select.select([pipe], [], [], SECONDS)
            if not ready:
                late = True
                break
            piece = os.read(pipe.fileno(), 1 << 16)
            *lines, rest = (rest + piece).split(b"\n")
            outcomes += map(json.loads, lines)
            if not piece:
                break
    if late:
        os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    shutil.rmtree(root / "work", ignore_errors=True)
    code = os.waitstatus_to_exitcode(status)
    if outcomes[:1] != ["ready"]:
        raise RuntimeError(f"{reader.name}: the valid files cannot be read")
    outcomes = outcomes[1:]
    if late or code == -signal.SIGPROF:
        outcomes.append({"kind": "hang", "seen": f"more than {CPU_SECONDS} s"})
    elif code != 0:
        seen = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        outcomes.append({"kind": "crash", "seen": seen})
    return outcomes


def _work(reader: Reader, root: Path, seed: int, numbers: list[int], pipe: Any) -> None:
    """What a worker does: its outcomes go into the pipe, one on a line."""
    work, temporary = root / "work", root / "work" / "tmp"
    shutil.copytree(root / "valid", work / "input")
    temporary.mkdir()
    plant(root)
    os.environ["TMPDIR"], tempfile.tempdir = str(temporary), str(temporary)
    folder = work / "input"
    os.chdir(folder)
    seen = watch(work, root)
    outcome, message = _attempt(reader, folder)
    if outcome != "read":
        raise RuntimeError(message)
    gc.collect()
    gc.freeze()  # what is left to look through for each input is what that input made
    usual = _peak()
    pipe.write('"ready"\n')
    pipe.flush()
    valid = {name: (folder / name).read_bytes() for name in _files(folder)}
    soft = _status("VmSize") * 2**20 + ADDRESSES * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (int(soft), resource.getrlimit(resource.RLIMIT_AS)[1]))
    for number in numbers:
        write_input(reader, folder, seed, number)
        age(root)
        _forget_peak()
        seen.clear()
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        started = time.process_time()
        outcome, message = _attempt(reader, folder)
        escapes = [*seen, *touched(root)]
        seconds = time.process_time() - started
        signal.setitimer(signal.ITIMER_PROF, 0)
        memory = max(0.0, _peak() - usual)
        if escapes:
            outcome, message = "escape", "; ".join(escapes)[:LONGEST]
        elif memory > MEMORY:
            outcome, message = "memory", f"{memory:.0f} MiB; {message}"
        elif seconds > CPU_SECONDS:
            outcome, message = "hang", f"{seconds:.1f} s"
        report = {"kind": outcome, "seen": message, "seconds": seconds, "memory": memory}
        pipe.write(json.dumps(report) + "\n")
        pipe.flush()
        _restore(folder, valid)


def _attempt(reader: Reader, folder: Path) -> tuple[str, str | None]:
    """Whether a folder was read or refused, or what else happened; and what was said of it."""
    with tempfile.TemporaryFile() as stream:
        with _stderr_into(stream.fileno()), contextlib.redirect_stdout(io.StringIO()):
            status, where = _exit_status(reader, folder)
            gc.collect()  # a task that nobody waited for complains when it is thrown away
        stream.seek(0)
        printed = f"\n{stream.read().decode(errors='replace')}"
    if status not in (0, 2):
        return "exception", f"{_complaint(printed)[:300]} {where}"
    if "Traceback (most recent call last)" in printed:
        return "complaint", f"a traceback: {printed[-300:]!r}"
    if status == 0:
        return "read", None
    message = _complaint(printed)
    if "\n" in message or "\r" in message or not message or len(message) > LONGEST:
        return "complaint", f"{len(message)} characters: {message[:300]!r}"
    if "out of memory" in message:
        return "memory", message
    return "refused", message


@contextlib.contextmanager
def _stderr_into(file: int) -> Iterator[None]:
    """Also what a library prints that has its own way to it."""
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(file, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


def _exit_status(reader: Reader, folder: Path) -> tuple[int, str]:
    """That of a command which reads the folder; and the lines that an exception came through."""
    try:
        reader.read(folder)
        return 0, ""
    except SystemExit as stop:
        return (stop.code or 0) if isinstance(stop.code, int | None) else 1, ""
    except (Exception, KeyboardInterrupt) as error:
        frames = traceback.extract_tb(error.__traceback__)
        where = "; ".join(f"{Path(each.filename).name}:{each.lineno}" for each in frames[-3:])
        return genrec.cli.failures.report(error, verbose=False), where


def _complaint(printed: str) -> str:
    """What stands after the last "genrec: "; before it there may be warnings, as on a terminal."""
    return printed.rpartition("\ngenrec: ")[2].removesuffix("\n")


def _restore(folder: Path, valid: dict[str, bytes]) -> None:
    for name in _files(folder) - valid.keys():
        (folder / name).unlink()
    for name, contents in valid.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != contents:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents)
    temporary = folder.parent / "tmp"
    shutil.rmtree(temporary)
    temporary.mkdir()


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _count(total: Tally, number: int, outcome: dict[str, Any]) -> None:
    total.inputs += 1
    total.seconds = max(total.seconds, outcome.get("seconds", 0.0))
    total.memory = max(total.memory, outcome.get("memory", 0.0))
    if outcome["kind"] == "read":
        total.read += 1
    elif outcome["kind"] == "refused":
        total.refused += 1
    else:
        total.faults.append((number, outcome["kind"], outcome["seen"]))


def _status(name: str) -> float:
    """MiB of this process: VmSize, its addresses, or VmHWM, the most memory it had."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


def _peak() -> float:
    return _status("VmHWM")


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")
