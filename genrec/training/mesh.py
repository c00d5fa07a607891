"""The mesh of devices that a training runs on, and how its arrays are split over them.

A mesh has two axes. Batches are split over both of them; parameters and optimiser state are split
over the axis "fsdp" and repeated along the axis "data". With one device both axes have length 1.
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from genrec.errors import UserError

SMALLEST = 2**12
"""Arrays with fewer elements are not worth splitting."""


def make_mesh(fsdp: int, rows: int) -> Mesh:
    """All devices of all processes, in groups of `fsdp` that share one copy of the parameters.

    Raises:
        UserError: `fsdp` does not divide the number of devices, or that the `rows` of a batch.
    """
    devices = jax.device_count()
    if devices % fsdp:
        raise UserError(f"training.fsdp is {fsdp}, which does not divide the {devices} devices")
    if rows % devices:
        raise UserError(
            f"training.rows / training.accumulate is {rows}, which the {devices} devices can't "
            f"share evenly: choose a multiple of {devices}"
        )
    auto = (jax.sharding.AxisType.Auto,) * 2
    return jax.make_mesh((devices // fsdp, fsdp), ("data", "fsdp"), axis_types=auto)


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def by_rows(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def split_state(shapes: Any, mesh: Mesh) -> Any:
    """A sharding for every array: the longest axis that "fsdp" divides is split over it."""

    def sharding(x: jax.ShapeDtypeStruct) -> NamedSharding:
        axes = sorted(range(len(x.shape)), key=lambda axis: x.shape[axis], reverse=True)
        fitting = [axis for axis in axes if x.shape[axis] % mesh.shape["fsdp"] == 0]
        if mesh.shape["fsdp"] == 1 or np.prod(x.shape) < SMALLEST or not fitting:
            return replicated(mesh)
        split = fitting[0]
        return NamedSharding(mesh, PartitionSpec(*[None] * split, "fsdp"))

    return jax.tree.map(sharding, shapes)


def put(tree: Any, sharding: NamedSharding) -> Any:
    """Arrays that every process has whole, or its own rows of, as arrays of the whole mesh."""
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), tree)


def to_host(tree: Any) -> Any:
    """The whole arrays as NumPy arrays, on every process."""
    if jax.process_count() > 1:
        mesh = jax.tree.leaves(tree)[0].sharding.mesh
        tree = jax.jit(lambda x: x, out_shardings=replicated(mesh))(tree)
        return jax.tree.map(lambda x: np.asarray(x.addressable_data(0)), tree)
    return jax.device_get(tree)
