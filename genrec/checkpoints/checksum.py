"""Checksums of arrays: the same on any mesh and with any number of processes."""

import math
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

_BLOCK = 2**18
"""Elements per step: few enough for the processor's cache."""


def checksums(tree: Any) -> dict[str, str]:
    """Type, shape and checksum of every array, such as "float32[64,8] 90fa15bc0c3c6b1e", by path.

    A change of one element always changes the checksum; any other change is missed once in 2^32.
    The checksum is a sum modulo 2^64 over the elements' bits and indices, so each process can sum
    up its own shards: nothing is compiled, and no array is moved to another device.

    Args:
        tree: arrays on any mesh. With several processes all must call this at the same time.
    """
    leaves = _named(tree)
    sums = [_local_sum(array) for array in leaves.values()]
    if jax.process_count() > 1:
        # As pairs: JAX has no 64-bit integers by default.
        pairs = np.array([divmod(number, 2**32) for number in sums], np.uint32)
        every = np.asarray(multihost_utils.process_allgather(pairs)).astype(object)
        total = (every[..., 0] * 2**32 + every[..., 1]).sum(axis=0)
        sums = [
            own if array.is_fully_addressable else int(whole)
            for array, own, whole in zip(leaves.values(), sums, total, strict=True)
        ]
    return {
        path: f"{_kind(array)} {number % 2**64:016x}"
        for (path, array), number in zip(leaves.items(), sums, strict=True)
    }


def kinds(tree: Any) -> dict[str, str]:
    """Type and shape of every leaf with `dtype` and `shape`, such as "float32[64,8]", by path."""
    return {path: _kind(array) for path, array in _named(tree).items()}


def _named(tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _kind(array: Any) -> str:
    return f"{array.dtype}[{','.join(map(str, array.shape))}]"


def _local_sum(array: jax.Array) -> int:
    """The sum over the shards of this process, leaving out copies of shards elsewhere."""
    strides = [math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
    total = 0
    for shard in array.addressable_shards:
        if shard.replica_id == 0:
            first = sum(
                (part.start or 0) * stride
                for part, stride in zip(shard.index, strides, strict=True)
            )
            total += _sum(np.asarray(shard.data), first, strides)
    return total % 2**64


def _sum(block: np.ndarray, first: int, strides: list[int]) -> int:
    """The sum over a block of an array.

    Args:
        first: flat index in the whole array of the block's first element.
        strides: elements of the whole array between neighbours along each axis.
    """
    if block.size > _BLOCK:
        axis = int(np.argmax(block.shape))
        middle = block.shape[axis] // 2
        low, high = np.split(block, [middle], axis)
        return _sum(low, first, strides) + _sum(high, first + middle * strides[axis], strides)
    # Each index has an odd factor of its own, from the first steps of the generator SplitMix64.
    factor = np.full(block.shape, first, np.uint64)
    for axis, stride in enumerate(strides):
        steps = np.arange(block.shape[axis], dtype=np.uint64) * np.uint64(stride)
        factor += steps.reshape([-1 if other == axis else 1 for other in range(block.ndim)])
    factor *= np.uint64(0x9E3779B97F4A7C15)
    factor ^= factor >> np.uint64(32)
    factor *= np.uint64(0xBF58476D1CE4E5B9)
    factor |= np.uint64(1)
    factor *= block.view(f"u{block.dtype.itemsize}")
    return int(factor.sum(dtype=np.uint64))
