"""Whether trainings that differ only in the order of summation stay together for long.

    python tools/check_drift.py --json drift.json

One small model is trained for thousands of steps, always from the same weights and on the same
histories in the same order, without dropout:
    one device: rows of packed histories, as genrec trains;
    eight devices: the same batches, shared by 8 devices (virtual ones of the CPU);
    unpacked: the same batches with every history in a row of its own;
    nudged: as on one device, but its first weights are off by about one unit in the last place.
The last are the yardstick: they show how far rounding alone moves a training. On 8 devices and in
other rows the same gradients are added up in another order, and Adam lets the rounding grow.
Several are made, each nudged its own way.

Printed is how far each is from the first: the mean relative difference of the loss in the first 100
steps and in the last tenth, that of the weights in the end, and that of the loss on the items that
were held out. Exit status 1 says that eight devices or other rows moved the held-out loss, or the
training loss in the end, by more than --factor times what the most moved of the nudged ones did, or
the first 100 losses by more than 1e-4.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import AxisType, Mesh
from rich.console import Console
from rich.table import Table

from genrec.config import ModelConfig, TrainingConfig
from genrec.model import EncoderDecoder
from genrec.sequences.histories import Histories
from genrec.sequences.inputs import Catalogue, Inputs
from genrec.sequences.packing import Batch, Plan, epoch_batches
from genrec.storage.files import write_json
from genrec.training.loss import next_item_loss
from genrec.training.mesh import by_rows, put, replicated
from genrec.training.steps import compile_training

USERS, ITEMS, SIZES, LENGTH = 400, 256, (16, 16), 24
SETTINGS = TrainingConfig(rows=16, row_length=LENGTH, learning_rate=3e-3, item_loss=1.0)
EARLY, AT_ONCE = 1e-4, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--nudged", type=int, default=4, help="trainings that are the yardstick")
    parser.add_argument("--factor", type=float, default=3.0)
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    batches = batches_of(arguments.steps)
    whole = trained(batches, devices=1)
    others = {
        "eight devices": trained(batches, devices=8),
        "unpacked": trained([unpacked(batch) for batch in batches], devices=1),
    }
    others |= {
        f"nudged {n}": trained(batches, devices=1, nudge=n + 1) for n in range(arguments.nudged)
    }
    rows = {name: apart(other, whole) for name, other in others.items()}
    wrong = faults(rows, arguments.factor)
    show(rows, whole["held_out"])
    if arguments.json:
        figures = {"steps": arguments.steps, "held_out": whole["held_out"], "rows": rows}
        write_json(arguments.json, figures | {"faults": wrong})
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong:
        sys.exit(1)


def histories() -> Histories:
    """Users who go round the items, and jump now and then."""
    rng = np.random.default_rng(0)
    after = rng.permutation(ITEMS)
    histories_of_users = []
    for _ in range(USERS):
        items = [int(rng.integers(ITEMS))]
        for _ in range(int(rng.integers(4, 20))):
            jumps = rng.random() < 0.2
            items.append(int(rng.integers(ITEMS)) if jumps else int(after[items[-1]]))
        histories_of_users.append(items)
    return Histories.of(histories_of_users)


def batches_of(steps: int) -> list[Batch]:
    """Of as many epochs as it takes; the last item of every history is held out."""
    training, batches, epoch = histories().without_last(1), [], 0
    while len(batches) < steps:
        batches += epoch_batches(training, plan(), seed=0, epoch=epoch)
        epoch += 1
    return batches[:steps]


def plan() -> Plan:
    return Plan(True, SETTINGS.rows, LENGTH, max_history=LENGTH)


def unpacked(batch: Batch) -> Batch:
    """The same histories and targets, each history at the beginning of a row of its own."""
    segments = np.asarray(batch.inputs.segments)
    rows = SETTINGS.rows * LENGTH // 4  # more than there are histories of three items or more
    items, own, targets = (np.zeros((rows, LENGTH), np.int32) for _ in range(3))
    own -= 1
    row = 0
    for number in range(len(segments)):
        for segment in range(segments[number].max() + 1):
            at = np.flatnonzero(segments[number] == segment)
            items[row, : len(at)] = np.asarray(batch.inputs.items)[number, at]
            targets[row, : len(at)] = batch.targets[number, at]
            own[row, : len(at)] = 0
            row += 1
    return Batch(Inputs(items, own), targets, own == 0)


def trained(batches: list[Batch], *, devices: int, nudge: int = 0) -> dict[str, Any]:
    """The losses of all steps, the last weights, and the loss on what was held out."""
    mesh = Mesh(
        np.array(jax.devices()[:devices]).reshape(devices, 1),
        ("data", "fsdp"),
        axis_types=(AxisType.Auto,) * 2,
    )
    catalogue = Catalogue(np.stack(np.divmod(np.arange(ITEMS), SIZES[1]), axis=1).astype(np.int32))
    catalogue = put(catalogue, replicated(mesh))
    init, step = compile_training(build, SETTINGS, mesh, total=len(batches), seed=0)
    state, losses = init(), []
    if nudge:
        state |= {"params": jax.device_put(nudged(state["params"], nudge), replicated(mesh))}
    for batch in batches:
        state, metrics = step(state, catalogue, None, put(batch, by_rows(mesh)))
        losses.append(float(metrics["total"]))  # waits: devices far ahead of others starve them
    leaves = jax.device_get(jax.tree.leaves(state["params"]))
    weights = np.concatenate([np.ravel(leaf) for leaf in leaves])
    return {
        "losses": np.array(losses),
        "weights": weights.astype(np.float64),
        "held_out": held_out(jax.device_get(state["params"]), jax.device_get(catalogue)),
    }


def build(rngs: nnx.Rngs) -> EncoderDecoder:
    settings = ModelConfig(d_model=32, heads=2, d_ff=64, dropout=0.0, item_head=True)
    return EncoderDecoder(settings, num_items=ITEMS, codebook_sizes=SIZES, rngs=rngs)


def nudged(params: Any, seed: int) -> Any:
    """Every weight off by a factor of 1 ± 2^-23, at random."""
    rng = np.random.default_rng(seed)
    unit = np.float32(2**-23)
    return jax.tree.map(
        lambda x: np.asarray(x) * (1 + unit * rng.choice([-1, 1], x.shape).astype(np.float32)),
        params,
    )


def held_out(params: Any, catalogue: Catalogue) -> float:
    """The mean loss, codes and dense head, on every user's last item."""
    every = histories()
    lengths = every.lengths - 1
    items = np.zeros((USERS, LENGTH), np.int32)
    there = np.arange(LENGTH) < lengths[:, None]
    items[there] = every.without_last(1).csr()[1]
    segments = np.where(there, 0, -1).astype(np.int32)
    targets = every.items[every.stops - 1].astype(np.int32)[:, None]
    batch = Batch(Inputs(items, segments), targets, np.ones((USERS, 1), bool))
    model = nnx.merge(nnx.graphdef(nnx.eval_shape(lambda: build(nnx.Rngs(0)))), params)
    loss = next_item_loss(model, catalogue, batch, None, every_prefix=False, item_loss=1.0)
    return float(loss.total / loss.targets)


def apart(other: dict[str, Any], whole: dict[str, Any]) -> dict[str, float]:
    """How far two trainings are from each other."""
    losses = np.abs(other["losses"] - whole["losses"]) / whole["losses"]
    mean = whole["losses"][-len(losses) // 10 :].mean()
    return {
        "early": float(losses[:AT_ONCE].mean()),
        "late": float(losses[-len(losses) // 10 :].mean()),
        "late_mean": float(abs(other["losses"][-len(losses) // 10 :].mean() - mean) / mean),
        "weights": float(
            np.linalg.norm(other["weights"] - whole["weights"]) / np.linalg.norm(whole["weights"])
        ),
        "held_out": abs(other["held_out"] - whole["held_out"]) / whole["held_out"],
    }


def faults(rows: dict[str, dict[str, float]], factor: float) -> list[str]:
    """What drifts, in a line each."""
    nudges = [row for name, row in rows.items() if name.startswith("nudged")]
    wrong = []
    for name, row in rows.items():
        if name.startswith("nudged"):
            continue
        if row["early"] > EARLY:
            wrong.append(f"{name}: the first losses differ by {row['early']:.1e}")
        for measure in ("late", "held_out"):
            most = factor * max(each[measure] for each in nudges)
            if row[measure] > most:
                wrong.append(f"{name}: {measure} is {row[measure]:.1e}, above {most:.1e}")
    return wrong


def show(rows: dict[str, dict[str, float]], held: float) -> None:
    names = {
        "early": "first 100 losses",
        "late": "last tenth",
        "late_mean": "its mean",
        "weights": "weights",
        "held_out": f"held out ({held:.4f})",
    }
    table = Table("from one device", *names.values(), box=None)
    for name, row in rows.items():
        table.add_row(name, *(f"{row[measure]:.1e}" for measure in names))
    Console(highlight=False, width=110).print(table)


if __name__ == "__main__":
    main()
