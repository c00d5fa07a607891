"""Another process that has the lock of a folder."""

import contextlib
import subprocess
import sys

HOLD = """
import sys
from pathlib import Path
from genrec.storage.lock import held

folder = Path(sys.argv[1])
with held(folder / ".lock", folder, "genrec train", ""):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def other_process(folder):
    """One that has the lock until it is told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.communicate("")
