"""Arrays of .npy files: written so that errors say what happened, and read whatever their origin,
memory-mapped and checked against the size of the file."""

from pathlib import Path

import numpy as np

from genrec.errors import reason


def open_npy(path: Path) -> np.memmap:
    """The array of a .npy file, memory-mapped.

    Nothing in the file is unpickled, and no memory is taken for sizes that the file only claims.

    Raises:
        ValueError: it is no .npy file, it holds Python objects, or it is shorter or longer than its
            header says.
        OSError: it cannot be opened.
    """
    try:
        with np.errstate(over="raise"):
            array = np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # of many kinds: NumPy has Python's own parser read the header
        if "Python objects" in str(error):
            raise ValueError("it holds pickled objects, which could run code") from error
        raise ValueError(f"it is cut off, or no sound .npy file ({reason(error)[:80]})") from error
    size = path.stat().st_size - array.offset
    if array.nbytes != size:
        raise ValueError(
            f"it holds {size:,} bytes, but should be {array.dtype} of shape {array.shape}"
        )
    return array


def save_array(path: Path, array: np.ndarray) -> None:
    """Writes a .npy file like np.save, whose errors do not say so when the disk is full."""
    array = np.ascontiguousarray(array)
    with path.open("wb") as stream:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(stream, header)
        stream.write(array.data)
