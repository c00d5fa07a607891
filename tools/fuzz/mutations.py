"""Damages the contents of a file: blindly, or by the format that its name tells."""

import contextlib
import random
from collections.abc import Callable

from fuzz.array_mutations import damaged_npy, damaged_parquet
from fuzz.text_mutations import (
    HOSTILE_BYTES,
    damaged_json,
    damaged_lines,
    damaged_table,
    damaged_yaml,
)

_LONGEST = 1 << 20
"""Bytes that an input has at most: larger ones would only take longer."""

_FORMATS: dict[str, Callable[[random.Random, bytes], bytes]] = {
    ".json": damaged_json,
    ".lock": damaged_json,
    ".jsonl": damaged_lines,
    ".csv": damaged_table,
    ".tsv": damaged_table,
    ".yaml": damaged_yaml,
    ".npy": damaged_npy,
    ".parquet": damaged_parquet,
}


def mutated(rng: random.Random, name: str, contents: bytes) -> bytes:
    """The contents of a damaged file.

    Two of three inputs of a known format are well formed but hold something hostile; of the others,
    bytes are changed.
    """
    ending = name[name.rfind(".") :]
    if ending in _FORMATS and rng.random() < 0.67:
        # What is hostile already may be too much for who should make it worse.
        with contextlib.suppress(ArithmeticError, LookupError, RecursionError, ValueError):
            contents = _FORMATS[ending](rng, contents)
        if rng.random() < 0.85:
            return contents[: 16 * _LONGEST]
    return blindly(rng, contents)


def blindly(rng: random.Random, contents: bytes) -> bytes:
    """One to four changes of the bytes, without regard to what they mean."""
    data = bytearray(contents)
    for _ in range(rng.choice((1, 1, 2, 4))):
        rng.choice(_CHANGES)(rng, data)
    return bytes(data[:_LONGEST])


def _position(rng: random.Random, data: bytearray) -> int:
    """Anywhere, but most often near the beginning or the end, where headers are."""
    span = len(data)
    if span > 64 and rng.random() < 0.5:
        near = rng.randrange(64)
        return near if rng.random() < 0.5 else span - 1 - near
    return rng.randrange(span) if span else 0


def _flip(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 1, 3, 16))):
        if data:
            data[_position(rng, data)] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, data: bytearray) -> None:
    if data:
        start, width = _position(rng, data), rng.choice((1, 1, 2, 4, 8))
        data[start : start + width] = rng.choice(HOSTILE_BYTES)[:width]


def _delete(rng: random.Random, data: bytearray) -> None:
    start = _position(rng, data)
    del data[start : start + rng.choice((1, 2, 8, 100, 4096))]


def _truncate(rng: random.Random, data: bytearray) -> None:
    del data[_position(rng, data) :]


def _insert(rng: random.Random, data: bytearray) -> None:
    start = _position(rng, data)
    data[start:start] = rng.choice(HOSTILE_BYTES)


def _duplicate(rng: random.Random, data: bytearray) -> None:
    start, span = _position(rng, data), rng.choice((1, 8, 64, 1024))
    data[start:start] = data[start : start + span] * rng.choice((1, 2, 50))


def _splice(rng: random.Random, data: bytearray) -> None:
    """A piece from elsewhere in the file takes the place of another."""
    here, there, span = _position(rng, data), _position(rng, data), rng.choice((1, 8, 64, 1024))
    data[here : here + span] = data[there : there + span]


def _empty(rng: random.Random, data: bytearray) -> None:
    if rng.random() < 0.1:
        data.clear()


_CHANGES = (_flip, _flip, _set, _set, _delete, _truncate, _insert, _duplicate, _splice, _empty)
