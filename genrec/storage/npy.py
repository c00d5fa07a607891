"""Arrays of .npy files of any origin, memory-mapped and checked against the file's size."""

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
