"""Notices when what reads an input leaves the input's folder, or runs something."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz.text_mutations import PAYLOAD, PLANTED

_WRITES = {
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.mkdir": (0,),
    "os.truncate": (0,),
    "os.symlink": (0, 1),
    "os.link": (0, 1),
    "os.chmod": (0,),
    "shutil.rmtree": (0,),
}
_RUNS = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "subprocess.Popen",
    "pickle.find_class",
    "socket.connect",
    "socket.getaddrinfo",
)


def plant(root: Path) -> None:
    """Files that nobody should read, beside the input and where hostile paths point."""
    for name in PLANTED:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("planted\n")


def age(root: Path) -> None:
    """Has the planted files look as if nobody had read them since they were written."""
    for name in PLANTED:
        os.utime(root / name, (0, time.time()))


def watch(work: Path, root: Path) -> list[str]:
    """A list to which is added whatever leaves the folder `work`."""
    seen: list[str] = []
    home = (work / "input", work / "tmp", Path(os.devnull))
    strange = (root, Path("/etc/passwd"))

    def outside(path: Any) -> bool:
        return _named(path) and not _within(path, home)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            writes = bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if outside(arguments[0]) and (writes or _within(arguments[0], strange)):
                seen.append(f"open {arguments[0]!r}"[:300])
        elif event in _WRITES:
            if any(outside(arguments[each]) for each in _WRITES[event]):
                seen.append(f"{event} {arguments!r}"[:300])
        elif event in _RUNS:
            seen.append(f"{event} {arguments!r}"[:300])

    sys.addaudithook(hook)
    return seen


def _named(path: Any) -> bool:
    return isinstance(path, str | bytes | os.PathLike)


def _within(path: Any, folders: tuple[Path, ...]) -> bool:
    whole = os.path.realpath(os.fsdecode(path)) + os.sep
    return any(whole.startswith(f"{folder}{os.sep}") for folder in folders)


def touched(root: Path) -> Iterator[str]:
    """What a library read or wrote that Python's hook cannot see, and whether a payload ran."""
    for name in PLANTED:
        # Most systems note that a file was read if that was not so since it was written.
        if (root / name).exists() and (root / name).stat().st_atime > 0:
            yield f"{name} was read"
        path = root / name
        if not path.exists() or path.read_text() != "planted\n":
            plant(root)
            yield f"{name} was changed"
    marker = root / "work" / "input" / PAYLOAD
    for path in (marker, root / "work" / PAYLOAD, root / PAYLOAD, Path("/tmp") / PAYLOAD):
        if path.exists():
            path.unlink()
            yield f"a payload ran and left {path.name}"
