"""The same training on several devices and in several processes as on one."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genrec.errors import UserError
from genrec.training.mesh import make_mesh
from small_training import SETTINGS, lines, run

TESTS = Path(__file__).parents[1] / "helpers"
ROWS = replace(SETTINGS, rows=8, validate_every=1)

CHILD = """
import sys
import jax
from genrec.training.cluster import join_cluster

folder, fsdp, until, distributed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if distributed == "yes":
    join_cluster()

from pathlib import Path
from dataclasses import replace
from genrec.training import mesh
from small_training import SETTINGS, run

mesh.SMALLEST = 64  # else nothing of so small a model would be split
split = []
rule = mesh.split_state
def spy(shapes, on):
    found = rule(shapes, on)
    split.extend(x for x in jax.tree.leaves(found) if x.spec)
    return found
from genrec.training import steps
steps.split_state = spy

class Stop(Exception):
    pass

validations = 0
def validate(params):
    global validations
    validations += 1
    assert {type(x).__name__ for x in jax.tree.leaves(params)} == {"ndarray"}
    if validations > until:
        raise Stop
    return {"ndcg@10": 0.5}

settings = replace(SETTINGS, rows=8, validate_every=1, fsdp=fsdp)
try:
    run(Path(folder), settings, validate=validate)
except Stop:
    pass
print(jax.device_count(), len(split) > 0)
"""


def start(folder, *, devices, fsdp=1, until=99, process=None, port=0):
    environment = {
        **os.environ,
        "PYTHONPATH": str(TESTS),
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} "
        f"--xla_force_host_platform_device_count={devices}",
    }
    if process is not None:
        environment |= {
            "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
            "JAX_NUM_PROCESSES": "2",
            "JAX_PROCESS_ID": str(process),
        }
    distributed = "no" if process is None else "yes"
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(fsdp), str(until), distributed],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes):
    """What each printed: its number of devices, and whether anything was split."""
    outputs = [process.communicate(timeout=240) for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [out.splitlines()[-1].split() for out, _ in outputs]


def losses(folder):
    return [line["loss"] for line in lines(folder) if "loss" in line]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    run(folder, ROWS)
    return losses(folder)


@pytest.mark.soak
@pytest.mark.parametrize("fsdp", [1, 4])
def test_eight_devices_give_the_losses_of_one(alone, tmp_path, fsdp):
    (said,) = finish(start(tmp_path, devices=8, fsdp=fsdp))
    assert said == ["8", str(fsdp > 1)]
    assert np.allclose(losses(tmp_path), alone, rtol=1e-4)


@pytest.mark.soak
def test_what_eight_devices_began_goes_on_on_one(alone, tmp_path):
    (said,) = finish(start(tmp_path, devices=8, fsdp=4, until=2))
    assert said == ["8", "True"]
    assert np.allclose(losses(tmp_path), alone[:3], rtol=1e-4)
    run(tmp_path, ROWS)
    assert np.allclose(losses(tmp_path), alone, rtol=1e-4)


@pytest.mark.soak
def test_two_processes_train_together_and_resume_together(alone, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for until in (2, 99):
        said = finish(
            *(
                start(tmp_path, devices=2, fsdp=2, until=until, process=i, port=port)
                for i in range(2)
            )
        )
        assert said == [["4", "True"]] * 2
        assert len(losses(tmp_path)) == min(until + 1, SETTINGS.epochs)
    assert np.allclose(losses(tmp_path), alone, rtol=1e-4)


def test_devices_that_rows_or_groups_do_not_fit_are_refused():
    with pytest.raises(UserError, match="fsdp is 2, which does not divide the 1 devices"):
        make_mesh(2, 8)
