"""What libraries leave is not printed; what is left by others is."""

import re
import subprocess
import sys

LEAVE_BEHIND = """
import asyncio, gc, logging, sys
from genrec.checkpoints import orbax_noise
from genrec.cli import console

for _ in range(2):  # hushed twice is as hushed as once
    if sys.argv[1] in ("orbax", "command"):
        orbax_noise.hush_leftovers()
    if sys.argv[1] == "command":
        console.hush()

CODE = '''
async def fail(said):
    raise ValueError(said)

async def end(said):
    try:
        await asyncio.sleep(0)
    except BaseException:
        raise Exception(said)
'''

def written_in(path):
    names = {"asyncio": asyncio}
    exec(compile(CODE, path, "exec"), names)
    return names

async def leave(task):
    left = asyncio.ensure_future(task)
    await asyncio.sleep(0.01)
    del left

def throw_away(coroutine):
    coroutine.send(None)

closed = asyncio.new_event_loop()
closed.close()

class Report:
    def __del__(self):
        closed.call_soon_threadsafe(print)

class Mistake:
    def __del__(self):
        raise RuntimeError("(3)")

orbax = written_in("/lib/orbax/checkpoint/_src/reading.py")
other = written_in("/lib/other/checkpoint/reading.py")
Report()
throw_away(orbax["end"]("(1)"))
throw_away(other["end"]("(2)"))
Mistake()
asyncio.run(leave(other["fail"]("(4)")))
other["fail"]("")
gc.collect()
logging.getLogger("absl").error("(5)")
"""


def printed(how):
    command = [sys.executable, "-W", "default", "-c", LEAVE_BEHIND, how]
    seen = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return set(re.findall(r"\([1-5]\)$|loop is closed$|never awaited$", seen, re.MULTILINE))


def test_what_orbax_leaves_is_not_printed_and_commands_print_nothing_of_tasks():
    everything = printed("")
    assert everything == {"(1)", "(2)", "(3)", "(4)", "(5)", "loop is closed", "never awaited"}
    assert printed("orbax") == everything - {"(1)", "loop is closed"}
    assert printed("command") == {"(2)", "(3)"}
