"""Item vectors that someone else computed, from a NumPy file."""

from pathlib import Path

import numpy as np

from genrec.errors import UserError


def embed_file(path: Path, rows: np.ndarray, num_source_rows: int) -> np.ndarray:
    """Reads item vectors from a .npy file and picks those of the catalogue.

    Args:
        path: a float array of shape (rows of the items file, D).
        rows: integers (N,), each item's row in the items file.
        num_source_rows: how many rows the items file has.

    Returns:
        float32 (N, D).

    Raises:
        UserError: the file is missing or no .npy file, or its array is not 2-D, not float, has
            another number of rows than the items file, or a vector is not finite.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist: embedding.path must name a .npy file")
    try:
        # Mapped, so that only the chosen rows are read; pickles could run code.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is not a .npy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path} holds several arrays (.npz): save the vectors alone with np.save")
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
