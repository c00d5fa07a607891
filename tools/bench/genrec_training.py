"""A side of bench_training.py: genrec's own training step, by either recipe."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from bench.training_work import (
    TRAINING,
    StepWork,
    TrainingLog,
    decoder_flops,
    encoder_flops,
    evenly,
    matmul_size,
    timed,
    timed_matmul,
)
from bench.turns import Answer, Measure, serve
from genrec.config import Config
from genrec.config.parsing import load_config
from genrec.runs.model import model_builder
from genrec.sequences.histories import Histories
from genrec.sequences.inputs import Catalogue
from genrec.sequences.packing import Batch, Plan, epoch_batches
from genrec.training.loop import trie_of_targets
from genrec.training.mesh import by_rows, make_mesh, put, replicated
from genrec.training.steps import compile_training

CONTENT_WIDTH = 384
"""Width of the content vectors where the model reads them: that of all-MiniLM-L6-v2."""


def prepare(settings: Answer) -> tuple[Answer, Measure]:
    """Gets ready for "matmul" or "train"."""
    jax.config.update("jax_enable_compilation_cache", False)  # compiling is timed
    if settings["work"] == "matmul":
        return prepare_matmul(settings)
    config, log = load_config(settings["config"]), TrainingLog.load(Path(settings["log"]))
    content = None
    if config.model.content:
        shape = (len(log.codes), CONTENT_WIDTH)
        content = np.random.default_rng(0).standard_normal(shape, np.float32)
    catalogue = Catalogue(log.codes, content)
    mesh = make_mesh(config.training.fsdp, config.training.rows // config.training.accumulate)
    sizes = [int(size) for size in log.codebook_sizes]
    build = model_builder(config.model, catalogue, tuple(sizes))
    init, step = compile_training(build, config.training, mesh, total=100_000, seed=0)
    needed = config.training.distillation or config.model.look_ahead
    trie = trie_of_targets(catalogue) if needed else None
    fixed, rows = put((catalogue, trie), replicated(mesh)), by_rows(mesh)
    state, losses = init(), []

    def take(batch: Batch) -> StepWork:
        nonlocal state
        state, metrics = step(state, *fixed, put(batch, rows))
        # As in the training loop, the last step's loss is read while this one runs.
        losses.append(metrics["loss"])
        if len(losses) > 1:
            losses.pop(0).block_until_ready()
        return count(batch, config, catalogue, sizes)

    def finish() -> None:
        jax.block_until_ready(state)

    def batches() -> Iterator[Batch]:
        in_order = evenly(endless_batches(log, config), lambda batch: batch.inputs.items.shape[1])
        width = config.model.max_history if settings["padded"] else 0
        return (padded(batch, width) for batch in in_order)

    compile_seconds = 0.0
    for batch in examples(batches()):
        first, second = (elapsed(lambda batch=batch: (take(batch), finish())) for _ in range(2))
        compile_seconds += max(0.0, first - second)
    steps = map(take, batches())

    def measure(seconds: float) -> Answer:
        return timed(steps, finish, seconds) | device_memory()

    parameters = sum(x.size for x in jax.tree.leaves(state["params"]))
    return {"compile_seconds": compile_seconds, "parameters": parameters}, measure


def prepare_matmul(settings: Answer) -> tuple[Answer, Measure]:
    size = matmul_size(settings["device"])
    left, right = (jax.random.normal(jax.random.key(seed), (size, size)) for seed in range(2))
    product = jax.jit(jnp.matmul)

    def multiply() -> None:
        product(left, right).block_until_ready()

    multiply()
    return {}, lambda seconds: timed_matmul(multiply, size, seconds)


def endless_batches(log: TrainingLog, config: Config) -> Iterator[Batch]:
    """genrec's batches of the log, epoch after epoch."""
    ends = np.cumsum(log.lengths)
    histories = Histories(ends - log.lengths, ends, log.items, log.timestamps, log.users)
    plan = Plan(
        every_prefix=config.model.encoder == "causal",
        rows=config.training.rows,
        row_length=config.training.row_length,
        max_history=config.model.max_history,
        longer=config.training.longer_histories,
    )
    for epoch in itertools.count():
        yield from epoch_batches(histories, plan, seed=0, epoch=epoch)


def examples(batches: Iterator[Batch]) -> list[Batch]:
    """A batch of every width that there is among the first hundred."""
    by_shape = {batch.inputs.items.shape: batch for batch in itertools.islice(batches, 100)}
    return list(by_shape.values())


def padded(batch: Batch, width: int) -> Batch:
    """The batch with rows of at least `width` slots."""
    missing = width - batch.inputs.items.shape[1]
    if missing <= 0:
        return batch
    inputs = batch.inputs

    def pad(x, fill: int):
        return None if x is None else np.pad(x, ((0, 0), (0, missing)), constant_values=fill)

    wider = inputs._replace(
        items=pad(inputs.items, 0), segments=pad(inputs.segments, -1), gaps=pad(inputs.gaps, 0)
    )
    return batch._replace(inputs=wider)


def count(batch: Batch, config: Config, catalogue: Catalogue, sizes: list[int]) -> StepWork:
    """What a step on the batch is worth, and what it computes."""
    model, training = config.model, config.training
    rows, width = batch.inputs.items.shape
    levels, queries = len(sizes), batch.targets.shape[1]
    tokens = 1 if model.tokens == "items" else levels
    user = 1 if model.user_tokens else 0
    length = width * tokens + user
    inner = model.heads * (model.head_dim or model.d_model // model.heads)
    shared = (model.d_model, inner, model.d_ff)
    flops = rows * (
        encoder_flops(length, model.encoder_layers, *shared)
        + decoder_flops(length, queries, levels, model.decoder_layers, *shared)
        + 2 * queries * model.d_model * sum(sizes)
    )
    content = 0 if catalogue.content is None else 2 * catalogue.content.shape[1] * model.d_model
    flops += rows * width * content
    if model.item_head:
        scored = training.item_negatives or len(catalogue.codes)
        flops += 2 * rows * queries * model.d_model * (scored + model.d_model)
        flops += training.accumulate * scored * content
    held = np.asarray(batch.inputs.segments) >= 0
    filled = int(held.sum()) * tokens + user * int(held.any(axis=1).sum())
    return StepWork(int(np.sum(batch.wanted)), filled, rows * length, TRAINING * flops)


def device_memory() -> Answer:
    """The most memory held on an accelerator; nothing on a CPU."""
    statistics = jax.devices()[0].memory_stats()
    return {"device_memory": statistics["peak_bytes_in_use"]} if statistics else {}


def elapsed(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    serve(prepare)
