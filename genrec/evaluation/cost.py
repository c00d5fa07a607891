"""The time and memory that recommending takes."""

import resource
import sys
import time
from typing import Any

import jax
import numpy as np

from genrec.evaluation.protocol import RankingFunction
from genrec.sequences.histories import Histories

_USERS = 512
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere


def decoding_cost(recommend: RankingFunction, histories: Histories, k: int) -> dict[str, Any]:
    """Time and memory of filtered lists of `k` items.

    Args:
        histories: of U users. Up to 512 of them, evenly spread, are recommended to twice, and the
            second time is measured, in which nothing is compiled.

    Returns:
        "device", such as "cpu"; "users_per_second"; "peak_memory_gib", the peak so far of the
        device's memory, or on a CPU of this process.
    """
    count = min(_USERS, len(histories))
    users = histories.select(np.linspace(0, len(histories) - 1, count).astype(np.int64))
    recommend(users, k, exclude_history=True)
    started = time.perf_counter()
    recommend(users, k, exclude_history=True)
    seconds = time.perf_counter() - started
    device = jax.devices()[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT
    return {
        "device": device.device_kind,
        "users_per_second": count / seconds,
        "peak_memory_gib": (device.memory_stats() or {}).get("peak_bytes_in_use", peak) / 2**30,
    }
