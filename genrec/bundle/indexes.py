"""A Faiss index as plain arrays, checked when they are read.

Faiss reads the files that it writes without a check: one that somebody else made could have it
crash, take all memory, or never end.

An index is by inner product, and keeps its vectors as they are ("Flat") or eight bits of every
number ("SQ8"). The file holds codes uint8 (N, bytes of a vector) and, of the latter, trained
float32 (2 C,): the least value of each of the C entries of a vector, then their spans.
"""

from collections.abc import Mapping
from pathlib import Path

import faiss
import numpy as np

from genrec.errors import UserError
from genrec.storage.safetensors import pack_tensors, parse_tensors


def pack_index(index: faiss.Index) -> bytes:
    """The contents of the file of an index that Faiss made of "Flat" or "SQ8"."""
    codes = faiss.vector_to_array(index.codes)  # pyright: ignore[reportAttributeAccessIssue]
    tensors = {"codes": codes.reshape(index.ntotal, -1)}
    if isinstance(index, faiss.IndexScalarQuantizer):
        tensors["trained"] = faiss.vector_to_array(index.sq.trained)
    return pack_tensors(tensors)


def load_index(contents: Mapping[str, bytes], name: str, width: int, count: int) -> faiss.Index:
    """The index of `count` (N) vectors of a width (C) that a file of a bundle holds, to search and
    to add to; `contents` are those of all its files.

    Raises:
        UserError: there is no such file, or it holds something else.
    """
    if name not in contents:
        raise UserError(f"the bundle has no {name}: export it again")
    tensors = parse_tensors(contents[name], Path(name))
    codes, trained = tensors.get("codes"), tensors.get("trained")
    size = width if trained is not None else width * np.dtype(np.float32).itemsize
    fits = codes is not None and codes.dtype == np.uint8 and codes.shape == (count, size)
    if trained is not None:
        fits &= trained.dtype == np.float32 and trained.shape == (2 * width,)
    if not fits or (trained is not None and not np.isfinite(trained).all()):
        raise UserError(f"{name} does not hold {count:,} vectors of width {width}")
    if trained is None:
        index = faiss.IndexFlatIP(width)
    else:
        kind = faiss.ScalarQuantizer.QT_8bit
        index = faiss.IndexScalarQuantizer(width, kind, faiss.METRIC_INNER_PRODUCT)
        faiss.copy_array_to_vector(np.ascontiguousarray(trained), index.sq.trained)
        index.is_trained = True
    index.add_sa_codes(np.ascontiguousarray(codes))  # pyright: ignore[reportCallIssue]
    return index
