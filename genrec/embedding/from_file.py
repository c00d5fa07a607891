"""Item vectors from .npy files: the user's own, and those that a run has written."""

from pathlib import Path

import numpy as np

from genrec.errors import UserError, blaming, reason
from genrec.storage.npy import open_npy

_CHECKED_AT_ONCE = 1 << 14


def embed_file(path: Path, rows: np.ndarray, num_source_rows: int) -> np.ndarray:
    """Reads the user's own item vectors and picks those of the catalogue.

    Args:
        path: a .npy file with a float array of shape (rows of the items file, C).
        rows: integers (N,), each item's row in the items file.
        num_source_rows: how many rows the items file has.

    Returns:
        float32 (N, C).

    Raises:
        UserError: the file is missing or no .npy file, or its array is not 2-D, not float, has
            another number of rows than the items file, or a vector is not finite.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist: embedding.path must name a .npy file")
    try:
        array = open_npy(path)  # mapped, so that only the chosen rows are read
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is not a .npy file of numbers, as np.save writes it: {reason(error)}"
        ) from error
    if array.ndim != 2 or not array.shape[1]:
        raise UserError(f"{path} has shape {array.shape}: it must be (items, width)")
    if not np.issubdtype(array.dtype, np.floating):
        raise UserError(f"{path} holds {array.dtype}: vectors must be float16, 32 or 64")
    if len(array) != num_source_rows:
        raise UserError(
            f"{path} has {len(array):,} rows but the items file has {num_source_rows:,}: "
            "there must be one vector per row, in the same order"
        )
    vectors = np.asarray(array[rows], np.float32)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise UserError(
            f"{path}: {int((~finite).sum()):,} vectors are not finite, the first in row "
            f"{int(rows[int((~finite).argmax())])}"
        )
    return vectors


def load_vectors(path: Path, num_items: int) -> np.ndarray:
    """The content vectors that a run has written of its items: float32 (N, C), memory-mapped.

    Raises:
        UserError: the file is missing, or does not hold one finite vector for each item.
    """
    with blaming(path, "; run genrec embed again"):
        vectors = open_npy(path)
        if vectors.dtype != np.float32 or vectors.ndim != 2 or not vectors.shape[1]:
            raise ValueError(f"it holds {vectors.dtype} of shape {vectors.shape}, not vectors")
        if len(vectors) != num_items:
            raise ValueError(f"it has {len(vectors):,} vectors for {num_items:,} items")
        for first in range(0, num_items, _CHECKED_AT_ONCE):
            if not np.isfinite(vectors[first : first + _CHECKED_AT_ONCE]).all():
                raise ValueError("a vector is not finite")
    return vectors
