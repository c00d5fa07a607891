"""Optimised product quantization: a rotation, then a codebook for each part of the vector.

It is a special case of residual quantization: each level has its own part of the vector, and its
codes are zero outside that part, so the code nearest to the residual is the one nearest in that
part. An OPQ is therefore stored as a tokenizer whose encoder and decoder are linear.
"""

from typing import Any

import faiss
import jax.numpy as jnp
import numpy as np

from genrec.errors import UserError
from genrec.tokenizer.components import fitting_sample, principal_components
from genrec.tokenizer.kmeans import kmeans
from genrec.tokenizer.tokenizer import Tokenizer


def fit_opq(vectors: np.ndarray, *, codebook_sizes: tuple[int, ...], seed: int) -> Tokenizer:
    """Fits an optimised product quantizer (Ge et al. 2013) with Faiss; each level has a part.

    The parts are ordered by their variance, so that the first code says most about the vector.

    Args:
        vectors: float (N, D), finite; D at least L. If L does not divide D, the rotation drops as
            few directions as possible.

    Raises:
        UserError: fewer columns than levels.
    """
    mean, scale, sample = fitting_sample(vectors, codebook_sizes, seed)
    levels, dim = len(codebook_sizes), vectors.shape[1]
    if dim < levels:
        raise UserError(
            f"vectors of width {dim} cannot be cut into {levels} parts: name fewer "
            "tokenizer.codebook_sizes"
        )
    components = principal_components(vectors, dim)
    part = dim // levels
    rotation = _rotation(sample, components, levels, part, max(codebook_sizes))
    parts = (sample @ rotation).reshape(len(sample), levels, part)
    order = np.argsort(-parts.var(axis=0).sum(axis=1), kind="stable")
    rotation = rotation.reshape(dim, levels, part)[:, order].reshape(dim, -1)
    codebooks = {}
    for level, size in enumerate(codebook_sizes):
        codebook = np.zeros((size, levels, part), np.float32)
        own = np.ascontiguousarray(parts[:, order[level]])
        codebook[:, level] = kmeans(own, size, seed + level)
        codebooks[level] = jnp.array(codebook.reshape(size, -1))
    params: dict[str, Any] = {
        "encoder": {"linear": {"kernel": jnp.array(rotation)}},
        "decoder": {"linear": {"kernel": jnp.array(rotation.T)}},
        "codebooks": codebooks,
    }
    return Tokenizer(params, mean, scale, (), part * levels, codebook_sizes)


def _rotation(
    sample: np.ndarray, components: np.ndarray, levels: int, part: int, size: int
) -> np.ndarray:
    """float32 (D, levels · part) with orthonormal columns, fitted to `sample` (N, D)."""
    width = levels * part
    if len(sample) < sample.shape[1]:
        # Faiss writes beyond its memory with fewer points than columns. Its starting point would
        # be the principal components, dealt out to the parts in turn.
        return components[:, np.arange(width).reshape(part, levels).T.reshape(-1)]
    opq = faiss.OPQMatrix(sample.shape[1], levels, width)
    # A product quantizer with as many codes as there are points for, a power of two.
    bits = max(1, min(size, len(sample)).bit_length() - 1)
    quantizer = faiss.ProductQuantizer(width, levels, bits)
    quantizer.cp.min_points_per_centroid = 1
    opq.pq = quantizer  # a bare pointer: it lives as long as the name does
    opq.train(np.ascontiguousarray(sample, np.float32))  # pyright: ignore[reportCallIssue]
    return faiss.vector_to_array(opq.A).reshape(width, -1).T.copy()
