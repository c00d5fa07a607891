"""Examines what genrec depends on: versions, devices, memory, disks, and what is missing."""

import dataclasses
import functools
import importlib
import importlib.metadata
import locale
import os
import platform
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.markup import escape

from genrec.cli import console
from genrec.cli.arguments import Doctor
from genrec.cli.commands import Call
from genrec.data.known.download import cache_folder
from genrec.errors import UserError
from genrec.runs.manifest import provenance

_EXTRAS = {
    "serve": "genrec serve",
    "plots": "genrec compare --plot",
    "cloud": "files behind s3:// and gs://",
    "spark": "data.engine spark",
}
"""Those of genrec's extras that a user may want, and what for."""
_MODULES = {
    "orbax-checkpoint": "orbax.checkpoint",
    "faiss-cpu": "faiss",
    "scikit-learn": "sklearn",
    "pyyaml": "yaml",
}
"""Where a package is imported by another name than its own."""
_JAVA = 17
_GIB = 2**30
_COLOURS = {"ok": "green", "missing": "yellow", "problem": "red"}
_LITTLE_MEMORY = 1.5 * _GIB
"""Bytes: what the quickstart takes."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, and how to mend it.

    It may be "missing" where it is needed for some things only; a "problem" is to be mended.
    """

    name: str
    state: Literal["ok", "missing", "problem"]
    said: str


def doctor(command: Doctor, call: Call) -> None:
    findings = examine()
    for each in findings:
        state = f"[{_COLOURS[each.state]}]{each.state:<8}[/]"
        console.show(f"{state} {each.name:<18} {escape(each.said)}")
    broken = [each.name for each in findings if each.state == "problem"]
    listed = [dataclasses.asdict(each) for each in findings]
    console.document({"ok": not broken, "findings": listed})
    if broken:
        raise UserError(f"a problem with {', '.join(broken)}: genrec doctor says what to do")


def examine() -> list[Finding]:
    """Looks at everything; what fails is a finding, not an exception."""
    examinations: list[Callable[[], Iterator[Finding]]] = [
        *(_genrec, _packages, _devices, _cores, _memory, _disks),
        *(_extras, _java, _compilation_cache, _encoding),
    ]
    return [finding for examination in examinations for finding in _safely(examination)]


def _finding(name: str, said: str, problem: str = "") -> Finding:
    """What was found, and behind it what is wrong with it, if anything."""
    return Finding(name, "problem" if problem else "ok", said + problem)


def _safely(examination: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from examination()
    except Exception as error:
        said = f"cannot be looked at: {type(error).__name__}: {error}"
        yield Finding(examination.__name__.strip("_"), "problem", " ".join(said.split()))


def _genrec() -> Iterator[Finding]:
    commit = provenance()["git_commit"]
    where = f"{Path(__file__).parents[1]}" + (f", commit {commit}" if commit else "")
    yield Finding("genrec", "ok", f"{importlib.metadata.version('genrec')} in {where}")
    said = f"{platform.python_version()} ({sys.executable}) on {platform.platform()}"
    yield Finding("python", "ok", said)


def _packages() -> Iterator[Finding]:
    for name, least in _required()[""].items():
        installed = _version(name)
        install = f"pip install '{name}>={least}'" if least else f"pip install {name}"
        if installed is None:
            yield Finding(name, "problem", f"missing: {install}")
        elif _numbers(installed) < _numbers(least):
            yield Finding(name, "problem", f"{installed} is too old: {install}")
        elif reason := _broken(_MODULES.get(name, name.replace("-", "_"))):
            yield Finding(name, "problem", f"{installed} cannot be imported ({reason}): {install}")
        else:
            yield Finding(name, "ok", installed)
    yield Finding("jaxlib", "ok", _version("jaxlib") or "comes with jax")


def _broken(module: str) -> str | None:
    """Why a module cannot be imported; None if it can."""
    try:
        importlib.import_module(module)
    except Exception as error:  # a broken package may raise anything
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None


def _devices() -> Iterator[Finding]:
    import jax

    kinds = Counter(f"{device.platform} ({device.device_kind})" for device in jax.devices())
    said = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    total = float(jax.numpy.ones(8).sum())
    yield _finding("devices", said, f": the sum of eight ones is {total}" * (total != 8))


def _cores() -> Iterator[Finding]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = os.environ.get("OMP_NUM_THREADS")
    limit = f"; OMP_NUM_THREADS={threads}" if threads else ""
    yield Finding("cores", "ok", f"{usable} of {os.cpu_count()}{limit}")


def _memory() -> Iterator[Finding]:
    total, free = memory()
    said = f"{total / _GIB:.1f} GiB" + ("" if free is None else f", {free / _GIB:.1f} GiB free")
    little = free is not None and free < _LITTLE_MEMORY
    advice = "; the quickstart takes 1.5 GiB: close other programs"
    yield _finding("memory", said, advice if little else "")


def memory() -> tuple[int, int | None]:
    """Bytes of memory that this process may have, and how many are free; None where unknown."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = None
    if (meminfo := Path("/proc/meminfo")).exists():
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    cgroup = Path("/sys/fs/cgroup")  # what a container is given
    if (limit := cgroup / "memory.max").exists() and limit.read_text().strip() != "max":
        total = min(total, int(limit.read_text()))
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        # Files that were read are let go when the memory is wanted.
        used = int((cgroup / "memory.current").read_text()) - int(stat["inactive_file"])
        free = min(total if free is None else free, total - used)
    return total, free


def _disks() -> Iterator[Finding]:
    chosen = "GENREC_CACHE" if os.environ.get("GENREC_CACHE") else "the default, no GENREC_CACHE"
    folders = {"cache folder": (cache_folder(), f" ({chosen})"), "this folder": (Path.cwd(), "")}
    for name, (folder, about) in folders.items():
        existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        free = shutil.disk_usage(existing).free
        problem = "; nearly full" if free < _GIB else ""
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            problem = f"; {existing} cannot be written to"
        yield _finding(name, f"{folder}{about}, {free / _GIB:.1f} GiB free", problem)


def _extras() -> Iterator[Finding]:
    for extra, purpose in _EXTRAS.items():
        missing = ", ".join(name for name in _required()[extra] if _version(name) is None)
        lacks = f"{missing}, for {purpose}: pip install 'genrec[{extra}]'"
        name, state = f"extra {extra}", "missing" if missing else "ok"
        yield Finding(name, state, lacks if missing else f"for {purpose}")


def _java() -> Iterator[Finding]:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    wanted = f"for data.engine spark: install Java {_JAVA}, and set JAVA_HOME to it"
    if java is None:
        yield Finding("java", "missing", wanted)
        return
    output = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30).stderr
    line = (output.splitlines() or ["no version"])[0]
    version = re.search(r'version "(?:1\.)?(\d+)', line)
    if version is None or int(version[1]) < _JAVA:
        yield Finding("java", "missing", f"{line} ({java}) is too old; {wanted}")
    else:
        yield Finding("java", "ok", f"{line} ({java})")


def _compilation_cache() -> Iterator[Finding]:
    import jax

    folder = getattr(jax.config, "jax_compilation_cache_dir", None)
    off = "off; JAX_COMPILATION_CACHE_DIR=DIR saves compiling the same again in the next process"
    yield Finding("compilation cache", "ok", folder or off)


def _encoding() -> Iterator[Finding]:
    output = getattr(sys.stdout, "encoding", None) or "unknown"
    said = f"output {output}, files {locale.getencoding()}"
    advice = "; titles of items may not be printable: set PYTHONUTF8=1 or LANG=C.UTF-8"
    unicode = output.lower().replace("-", "") == "utf8"
    yield _finding("encoding", said, "" if unicode else advice)


@functools.cache
def _required() -> dict[str, dict[str, str]]:
    """For each extra, and "" for none, what genrec requires: names and least versions."""
    required: dict[str, dict[str, str]] = defaultdict(dict)
    for line in importlib.metadata.requires("genrec") or []:
        name = re.match(r"[\w.-]+", line)
        least = re.search(r">=([\w.]+)", line)
        extra = re.search(r"extra == [\"']([\w-]+)[\"']", line)
        if name is not None:
            required[extra[1] if extra else ""][name[0]] = least[1] if least else ""
    return required


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """The first numbers of a version, to compare: (0, 12, 8) of 0.12.8rc1."""
    return tuple(int(each) for each in re.findall(r"\d+", version.split("+")[0])[:3])
