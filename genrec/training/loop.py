"""The training of the encoder-decoder, from random weights to the best checkpoint."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from genrec.checkpoints import Checkpoints
from genrec.config import TrainingConfig
from genrec.errors import UserError
from genrec.model import EncoderDecoder
from genrec.semantic_ids.collisions import rank_in_group
from genrec.semantic_ids.trie import Trie, build_trie, with_exact_fan_out
from genrec.sequences.histories import Histories
from genrec.sequences.inputs import Catalogue
from genrec.sequences.packing import Plan, count_batches, epoch_batches
from genrec.training.mesh import by_rows, make_mesh, put, replicated, to_host
from genrec.training.monitor import Monitor, Position
from genrec.training.preemption import Interruption
from genrec.training.steps import begun_with, compile_training, weights

Validate = Callable[[Any], dict[str, float]]


def train(
    build: Callable[[nnx.Rngs], EncoderDecoder],
    catalogue: Catalogue,
    histories: Histories,
    settings: TrainingConfig,
    *,
    max_history: int,
    seed: int,
    folder: Path,
    identity: Mapping[str, Any],
    validate: Validate,
    begin: Any = None,
) -> int:
    """Trains until the last epoch, going on from the latest checkpoint if there is one.

    The order of users, the dropout masks and the learning rate depend on the seed, the epoch and
    the step alone, so a training that was interrupted ends with the same weights.

    Args:
        build: makes the model from its random streams.
        catalogue: the items' codes and contents, as NumPy arrays.
        histories: those to train on; a history needs two items to have a target.
        folder: the run's; gets checkpoints/, metrics.jsonl and tensorboard/.
        identity: settings and data by name; a checkpoint of others is refused.
        validate: parameters as NumPy arrays → metrics; the best checkpoint has the highest
            "ndcg@10".
        begin: parameters as NumPy arrays to begin with; None begins at random.

    Returns:
        The number of steps that the best checkpoint was trained for.

    Raises:
        UserError: nothing to learn from, a loss that is not finite, a full disk, or a checkpoint
            that is damaged or another training's.
        KeyboardInterrupt: the training was interrupted, and has written a checkpoint.
    """
    model = nnx.eval_shape(lambda: build(nnx.Rngs(0)))
    histories = histories.select(np.flatnonzero(histories.lengths >= 2))
    if not len(histories):
        raise UserError("training: no user has two items or more, so there is no target")
    plan = Plan(
        every_prefix=model.causal,
        rows=settings.rows,
        row_length=settings.row_length,
        max_history=max_history,
        longer=settings.longer_histories,
    )
    part = (jax.process_index(), jax.process_count())
    mesh = make_mesh(settings.fsdp, settings.rows // settings.accumulate)
    batches = count_batches(histories, plan, seed=seed)
    init, step = compile_training(build, settings, mesh, total=batches * settings.epochs, seed=seed)
    needed = settings.distillation or model.queries_ahead is not None
    trie = trie_of_targets(catalogue) if needed else None
    catalogue, trie = put((catalogue, trie), replicated(mesh))

    with Checkpoints(folder / "checkpoints", identity) as checkpoints, Interruption() as interrupt:
        state, position, done = init(), Position(), checkpoints.latest or 0
        if done:
            state, saved = checkpoints.restore(done, state)
            position = Position(**saved)
        elif begin is not None:
            state = begun_with(begin, state)
        patience = math.inf if settings.patience is None else settings.patience
        with Monitor(folder, position, done, batches * settings.epochs) as monitor:
            while position.epoch < settings.epochs and position.waited < patience:
                for batch in epoch_batches(
                    histories, plan, seed=seed, epoch=position.epoch, skip=position.batch, part=part
                ):
                    state, metrics = step(state, catalogue, trie, put(batch, by_rows(mesh)))
                    monitor.step(metrics)
                    done, position.batch = done + 1, position.batch + 1
                    stop = interrupt.asked(done)
                    if stop or done % settings.checkpoint_every == 0:
                        monitor.settle()
                        checkpoints.save(done, state, dataclasses.asdict(position), None)
                    if stop:
                        raise KeyboardInterrupt(f"step {done} is kept")
                monitor.finish_epoch()
                position.epoch, position.batch = position.epoch + 1, 0
                last = position.epoch == settings.epochs
                if last or position.epoch % settings.validate_every == 0:
                    validation = validate(to_host(weights(state)))
                    ndcg = validation["ndcg@10"]
                    position.waited = 0 if ndcg > position.best else position.waited + 1
                    position.best = max(position.best, ndcg)
                    monitor.validated(validation)
                    checkpoints.save(done, state, dataclasses.asdict(position), validation)
        return checkpoints.best


def trie_of_targets(catalogue: Catalogue) -> Trie:
    """The trie of all items that training may see, for `next_item_loss`, as NumPy arrays.

    Below the codes it has one more level, in which items of the same codes differ.
    """
    codes = np.asarray(catalogue.codes)
    seen = None if catalogue.seen is None else np.flatnonzero(np.asarray(catalogue.seen))
    return with_exact_fan_out(build_trie(np.column_stack([codes, rank_in_group(codes)]), seen))
