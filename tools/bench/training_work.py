"""What the sides of a training benchmark share: the data, the counting of FLOPs, the timing."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from bench.machine import other_seconds

T = TypeVar("T")
GOLDEN = 0.6180339887498949
WARM_UP = 0.25
AT_ONCE = 50
"""Batches that are put in order together; also what Hugging Face sorts by length at once."""


@dataclass(frozen=True)
class TrainingLog:
    """The training sequences of a dataset and the semantic IDs of its items.

    Attributes:
        items: int32 (total,), all sequences end to end.
        timestamps: int64 (total,), seconds since 1970.
        lengths: int64 (U,).
        users: uint32 (U,), a hash of each user.
        codes: int32 (N, L).
        codebook_sizes: int64 (L,).
    """

    items: np.ndarray
    timestamps: np.ndarray
    lengths: np.ndarray
    users: np.ndarray
    codes: np.ndarray
    codebook_sizes: np.ndarray

    def save(self, path: Path) -> None:
        np.savez(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> "TrainingLog":
        with np.load(path) as arrays:
            return cls(**arrays)


class StepWork(NamedTuple):
    """What a training step did.

    Attributes:
        targets: next items that were trained.
        filled: token slots of the encoder that held a token.
        slots: token slots that were computed.
        flops: of the matrix products, forward and backward, in all slots.
    """

    targets: int
    filled: int
    slots: int
    flops: int


def timed(steps: Iterator[StepWork], finish: Callable[[], Any], seconds: float) -> dict[str, Any]:
    """Takes steps until so many seconds are over; their sums, and the time that they took.

    Steps of a few seconds go before and do not count: a process that has waited finds its caches
    cold, and its memory perhaps gone to others. "others" is how many processors other programs kept
    busy meanwhile.

    Args:
        steps: does a step, or hands it to the device, whenever it is asked for the next.
        finish: waits for what was handed to the device.
    """
    start = time.perf_counter()
    while time.perf_counter() - start < seconds * WARM_UP:
        next(steps)
    finish()
    done, before = [], other_seconds()
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        done.append(next(steps))
    finish()
    elapsed = time.perf_counter() - start
    others = (other_seconds() - before) / elapsed
    sums = zip(StepWork._fields, (sum(values) for values in zip(*done, strict=True)), strict=True)
    return {"seconds": elapsed, "others": others, "steps": len(done), **dict(sums)}


def timed_matmul(multiply: Callable[[], Any], size: int, seconds: float) -> dict[str, Any]:
    """The fastest of the products of two (size, size) matrices that fit into so many seconds."""
    best, before, start = float("inf"), other_seconds(), time.perf_counter()
    while time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        multiply()
        best = min(best, time.perf_counter() - begin)
    others = (other_seconds() - before) / (time.perf_counter() - start)
    return {"flops_per_second": 2 * size**3 / best, "others": others}


def matmul_size(device: str) -> int:
    """Large enough that a product shows what the device can do."""
    return 3072 if device == "cpu" else 8192


def evenly(batches: Iterable[T], length: Callable[[T], int]) -> Iterator[T]:
    """The same batches, in an order in which every stretch has short and long ones in proportion.

    A measurement of a few steps then stands for the epoch. The batches are drawn as they are
    needed, some tens at a time.
    """
    remaining = iter(batches)
    while some := list(itertools.islice(remaining, AT_ONCE)):
        some.sort(key=length)
        yield from (some[place] for place in np.argsort(np.arange(len(some)) * GOLDEN % 1.0))


def encoder_flops(length: int, layers: int, d_model: int, inner: int, d_ff: int) -> int:
    """Forward matrix products of one row of `length` tokens; `inner` is heads x head width."""
    projections = 8 * length * d_model * inner
    attention = 4 * length * length * inner
    feed_forward = 4 * length * d_model * d_ff
    return layers * (projections + attention + feed_forward)


def decoder_flops(
    length: int, queries: int, levels: int, layers: int, d_model: int, inner: int, d_ff: int
) -> int:
    """Forward matrix products of one row: `queries` targets of `levels` codes over `length` tokens.

    The logits are not among them: what they cost depends on the vocabulary.
    """
    tokens = queries * levels
    self_attention = 8 * tokens * d_model * inner + 4 * tokens * levels * inner
    cross_attention = 4 * (tokens + length) * d_model * inner + 4 * tokens * length * inner
    feed_forward = 4 * tokens * d_model * d_ff
    return layers * (self_attention + cross_attention + feed_forward)


TRAINING = 3
"""Backward takes two products for every one of the forward pass."""
