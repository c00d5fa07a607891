"""Kills a small training again and again, and compares what comes of it with an undisturbed one.

    python tools/kill_training.py --kills 50

A training is started, sent SIGKILL at a random moment (often in the middle of a checkpoint, since
it writes one every five steps), and started again; after some kills it is left alone. Its final
parameters, optimiser state and average must equal the undisturbed training's bit for bit. Then the
next one begins from nothing, until there were enough kills.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which to kill")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        train_in(arguments.train)
        return
    with tempfile.TemporaryDirectory() as temporary:
        figures = torment(Path(temporary), arguments.kills, random.Random(arguments.seed))
    for name, value in figures.items():
        print(f"{name.replace('_', ' '):<40} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    if not figures["bit_identical"]:
        sys.exit(1)


def torment(folder: Path, kills: int, moments: random.Random) -> dict[str, int | float | bool]:
    """Kills a training, lets it finish, and says what was seen."""
    whole, killed = folder / "whole", folder / "killed"
    started = time.perf_counter()
    process = start(whole, folder)
    ready = time.perf_counter()
    finish(process)
    seconds = time.perf_counter() - ready
    total = max(checkpoints(whole))
    inside = done = lives = 0
    identical = True
    while done < kills:
        lives += 1
        for _ in range(min(KILLS_OF_A_LIFE, kills - done)):
            process = start(killed, folder)
            time.sleep(moments.uniform(0, seconds / 2))
            process.send_signal(signal.SIGKILL)
            if process.wait() == 0:
                break  # it had finished before
            done += 1
            inside += any(killed.glob("checkpoints/*tmp*"))
            latest = max(checkpoints(killed), default=0)
            print(f"kill {done:>3}: latest checkpoint {latest:>4} of {total} steps", flush=True)
        finish(start(killed, folder))
        identical &= compare(whole, killed)
        shutil.rmtree(killed)
    return {
        "kills": kills,
        "kills_that_left_a_half_written_checkpoint": inside,
        "trainings": lives,
        "bit_identical": identical,
        "undisturbed_seconds": round(seconds, 1),
        "seconds": round(time.perf_counter() - started, 1),
    }


def start(run: Path, folder: Path) -> "subprocess.Popen[str]":
    """A training that is about to take its first step."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--train", str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
    )
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise SystemExit("the training did not start")
    return process


def finish(process: "subprocess.Popen[str]") -> None:
    if process.wait() != 0:
        raise SystemExit("the training failed when it was left alone")


KILLS_OF_A_LIFE = 5
USERS, ITEMS, SIZES = 400, 200, (16, 16)


def train_in(folder: Path) -> None:
    """The training that is killed: small, with all that has a state."""
    import logging

    import jax
    from flax import nnx

    from genrec.config import TrainingConfig
    from genrec.core.histories import Histories
    from genrec.core.inputs import Catalogue
    from genrec.model import EncoderDecoder
    from genrec.training import train

    rng = np.random.default_rng(0)
    histories = Histories.of([rng.integers(0, ITEMS, rng.integers(2, 30)) for _ in range(USERS)])
    codes = np.stack([np.arange(ITEMS) % 16, np.arange(ITEMS) // 16], axis=1).astype(np.int32)

    def build(rngs: nnx.Rngs) -> EncoderDecoder:
        return EncoderDecoder(
            num_items=ITEMS,
            codebook_sizes=SIZES,
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            heads=2,
            d_ff=64,
            dropout=0.2,
            item_embedding=True,
            item_head=True,
            rngs=rngs,
        )

    def validate(params) -> dict[str, float]:
        return {"ndcg@10": 1e-3 * float(jax.tree.leaves(params)[0].sum())}

    settings = TrainingConfig(
        epochs=16, rows=8, row_length=64, average=0.99, checkpoint_every=5, validate_every=1
    )
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    print("ready", flush=True)
    train(
        build,
        Catalogue(codes),
        histories,
        settings,
        max_history=20,
        seed=1,
        folder=folder,
        identity={"what": "kills"},
        validate=validate,
    )


def compare(whole: Path, killed: Path) -> bool:
    """Whether the last checkpoints of two trainings hold the same values, bit for bit."""
    import jax
    from orbax.checkpoint import v1 as ocp

    def last(folder: Path) -> tuple[int, list[np.ndarray]]:
        step = max(checkpoints(folder))
        state = ocp.load_checkpointables(str(folder / "checkpoints" / str(step)))
        return step, [np.asarray(leaf) for leaf in jax.tree.leaves(state)]

    (step, leaves), (other_step, others) = last(whole), last(killed)
    pairs = zip(leaves, others, strict=True)
    return step == other_step and all(
        a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs
    )


def checkpoints(folder: Path) -> list[int]:
    """The steps of a training's finished checkpoints."""
    return [int(path.name) for path in folder.glob("checkpoints/*") if path.name.isdigit()]


if __name__ == "__main__":
    main()
