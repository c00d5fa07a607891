"""The tiny run whose files are damaged; and all that commands import, before any fork."""

import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from faults.commands import write_data

_SHORT = ["--tokenizer.steps", "150", "--training.epochs", "1"]
_given: list[Path] = []


def use(run: Path) -> None:
    """Takes a finished run that is there already, with log.csv and items.csv beside it."""
    _given.append(run.absolute())


@functools.cache
def finished_run() -> Path:
    """A run of which all is done, which nobody may change; log.csv and items.csv lie beside it."""
    if _given:
        return _given[-1]
    temporary = Path(tempfile.mkdtemp(prefix="fuzz_run."))
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    folder = temporary / "data"
    write_data(folder)
    # In a process of its own, because a run starts threads, which would not live on in a fork.
    command = ["run", str(folder / "tiny.yaml"), "--out", str(folder / "run"), "--quiet", *_SHORT]
    subprocess.run([sys.executable, "-m", "genrec", *command], check=True)
    return folder / "run"
