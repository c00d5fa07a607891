"""Arrays by name in one file: the safetensors format, which any reader of it reads.

https://github.com/huggingface/safetensors: eight bytes with the length of a header, the header in
JSON (for each array its type, shape and place), and the arrays. Nothing in it can be run.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from genrec.errors import UserError, reason
from genrec.storage.files import replacing

_TYPES = {
    "BOOL": np.dtype(bool),
    "U8": np.dtype("<u1"),
    "U16": np.dtype("<u2"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
    "BF16": np.dtype(jnp.bfloat16),
    "F32": np.dtype("<f4"),
}
_NAMES = {kind: name for name, kind in _TYPES.items()}
_LONGEST_HEADER = 100_000_000
_MOST_AXES, _MOST = 32, 1 << 48


def pack_tensors(
    tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> bytes:
    """The contents of a file with arrays of the types above, and what is to be said of them all.

    Raises:
        KeyError: an array is of another type.
    """
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    end = 0
    for name, array in tensors.items():
        begin, end = end, end + array.nbytes
        kind = _NAMES[array.dtype]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    arrays = (np.ascontiguousarray(array).tobytes() for array in tensors.values())
    return b"".join([len(text).to_bytes(8, "little"), text, *arrays])


def write_tensors(
    path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes such a file."""
    with replacing(path) as temporary:
        temporary.write_bytes(pack_tensors(tensors, metadata))


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file, by name.

    Raises:
        UserError: it is no such file, or its header does not fit its contents.
    """
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return parse_tensors(contents, path)


def parse_tensors(contents: bytes, path: Path) -> dict[str, np.ndarray]:
    """The same from the contents of a file; `path` is for the complaint."""
    try:
        length = int.from_bytes(contents[:8], "little")
        if len(contents) < 8 or length > min(_LONGEST_HEADER, len(contents) - 8):
            raise ValueError("the header is longer than the file")
        header = json.loads(contents[8 : 8 + length])
        header.pop("__metadata__", None)
        found, place = {}, 0
        for name, told in header.items():
            kind, shape = _TYPES[told["dtype"]], _whole(told["shape"])
            begin, end = _whole(told["data_offsets"])
            # Before anything is made: NumPy has no arrays of more, of no elements either.
            if len(shape) > _MOST_AXES or math.prod(max(size, 1) for size in shape) > _MOST:
                raise ValueError(f"{name} has an impossible shape")
            if begin != place or end - begin != kind.itemsize * math.prod(shape):
                raise ValueError(f"{name} is not where the header says")
            start = 8 + length + begin
            array = np.frombuffer(contents, kind, math.prod(shape), start).reshape(shape)
            if kind.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
                raise ValueError(f"{name} has flags other than 0 and 1")
            found[name], place = array, end
        if 8 + length + place != len(contents):
            raise ValueError("there is more in it than the header says")
        return found
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from error


def _whole(numbers: Any) -> tuple[int, ...]:
    """Sizes or places: text times a large number would be a large text, and -1 anything at all."""
    if not isinstance(numbers, list) or not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError("its header has something else in place of whole numbers")
    return tuple(numbers)
