"""Arrays by name in one file, in the safetensors format.

https://github.com/huggingface/safetensors: eight bytes with the length of a header, the header in
JSON (for each array its type, shape and position), and the arrays. No code is in it. The library
of that name is not used, because a bundle has to be readable without it.
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
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(jnp.bfloat16),
    "F32": np.dtype("<f4"),
}
_NAMES = {kind: name for name, kind in _TYPES.items()}
_LONGEST_HEADER = 100_000_000
_MOST_AXES, _MOST = 32, 1 << 48


def pack_tensors(
    tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> bytes:
    """The contents of a file with arrays of the types above, by name, and texts for its header.

    Raises:
        KeyError: an array has another type.
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
    """Writes such a file, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(pack_tensors(tensors, metadata))


def parse_tensors(contents: bytes, path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file, by name, from its contents; `path` is for the error message.

    Raises:
        UserError: the header does not fit the contents.
    """
    try:
        length = int.from_bytes(contents[:8], "little")
        if len(contents) < 8 or length > min(_LONGEST_HEADER, len(contents) - 8):
            raise ValueError("the header is longer than the file")
        header = json.loads(contents[8 : 8 + length])
        header.pop("__metadata__", None)
        tensors, position = {}, 0
        for name, about in header.items():
            kind, shape = _TYPES[about["dtype"]], _sizes(about["shape"])
            begin, end = _sizes(about["data_offsets"])
            # Checked first: NumPy has no larger arrays, not even without elements.
            if len(shape) > _MOST_AXES or math.prod(max(size, 1) for size in shape) > _MOST:
                raise ValueError(f"{name} has an impossible shape")
            if begin != position or end - begin != kind.itemsize * math.prod(shape):
                raise ValueError(f"{name} is not where the header says")
            start = 8 + length + begin
            array = np.frombuffer(contents, kind, math.prod(shape), start).reshape(shape)
            if kind.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
                raise ValueError(f"{name} has flags other than 0 and 1")
            tensors[name], position = array, end
        if 8 + length + position != len(contents):
            raise ValueError("there is more in it than the header says")
        return tensors
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from error


def _sizes(numbers: Any) -> tuple[int, ...]:
    """Checks a list of sizes or positions: ValueError for anything but whole numbers from 0 on."""
    if not isinstance(numbers, list) or not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError("its header has something else in place of whole numbers")
    return tuple(numbers)
