"""Joining the other processes of a training that runs on several machines."""

import os
from typing import Any

import jax

from genrec.errors import UserError


def join_cluster() -> bool:
    """Makes this process one of several; before anything else touches a device.

    SLURM, GKE, TPU pods and Open MPI are detected by JAX. Elsewhere the environment says it:
    JAX_COORDINATOR_ADDRESS (host:port of process 0), JAX_NUM_PROCESSES and JAX_PROCESS_ID.

    Returns:
        Whether this process leads, that is, writes what only one of them should.

    Raises:
        UserError: no cluster is found, or it can't be joined.
    """
    # Without it, JAX on CPUs has no way for processes to add up their gradients.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    names = {"num_processes": "JAX_NUM_PROCESSES", "process_id": "JAX_PROCESS_ID"}
    try:
        numbers: Any = {key: int(os.environ[n]) for key, n in names.items() if n in os.environ}
        jax.distributed.initialize(**numbers)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"--distributed: no other processes to train with ({reason}): start it by SLURM, GKE, "
            "on a TPU pod or by Open MPI, or set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and "
            "JAX_PROCESS_ID"
        ) from error
    return jax.process_index() == 0
