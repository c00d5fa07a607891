"""The machine that a benchmark runs on: what it is, and how much else it does meanwhile."""

import importlib.util
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

DISTURBED = 0.05
"""Share of the processors that other programs may take without being mentioned."""


def machine(device: str) -> dict[str, Any]:
    """Cores, platform and versions, for the figures' file."""
    packages = ("jax", "flax", "numpy", "torch", "transformers")
    there = [name for name in packages if importlib.util.find_spec(name)]
    return {
        "device": device,
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in there},
    }


def other_seconds() -> float:
    """Processor seconds that other programs have had so far; 0 where the system does not tell."""
    path = Path("/proc/stat")
    if not path.exists():
        return 0.0
    user, nice, system, _, _, interrupt, soft, steal = map(
        int, path.read_text().splitlines()[0].split()[1:9]
    )
    busy = (user + nice + system + interrupt + soft + steal) / os.sysconf("SC_CLK_TCK")
    return busy - time.process_time()


def busy() -> float:
    """Processors that other programs keep busy, watched for two seconds."""
    before = other_seconds()
    time.sleep(2.0)
    return (other_seconds() - before) / 2.0
