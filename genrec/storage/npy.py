"""Arrays of .npy files of any origin, checked against the file before anything is made of them."""

import math
from pathlib import Path

import numpy as np

_LONGEST_SIDE = 1 << 48


def open_npy(path: Path) -> np.ndarray:
    """The array of a .npy file, memory-mapped.

    Nothing in it is unpickled, and it takes no memory for what the file only claims to hold.

    Raises:
        ValueError: it is no .npy file, it holds anything but plain numbers or text, or it is not as
            long as its header says.
        OSError: it cannot be opened.
    """
    with path.open("rb") as stream:
        try:
            version = np.lib.format.read_magic(stream)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, fortran, kind = read(stream)
        except OSError:
            raise
        except Exception as error:  # of many kinds: NumPy has Python's own parser read the header
            raise ValueError("it has no sound header of a .npy file") from error
        begin = stream.tell()
        size = stream.seek(0, 2) - begin
    if kind.hasobject:
        raise ValueError("it holds pickled objects, which could run code")
    sides = all(type(side) is int and 0 <= side < _LONGEST_SIDE for side in shape)
    if not sides or math.prod(shape) * kind.itemsize != size:
        raise ValueError(
            f"it holds {size:,} bytes, but should be {kind} of shape {str(tuple(shape))[:80]}"
        )
    if size == 0:
        return np.zeros(shape, kind)
    return np.memmap(path, kind, "r", begin, tuple(shape), "F" if fortran else "C")
