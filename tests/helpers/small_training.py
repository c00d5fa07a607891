"""A training of a few seconds, also for processes that tests start."""

import json
from functools import partial

import jax
import numpy as np
from flax import nnx

from genrec.config import TrainingConfig
from genrec.sequences.histories import Histories
from genrec.sequences.inputs import Catalogue
from genrec.training import train
from genrec.training.loss import next_item_loss
from small import small_model

NUM_ITEMS = 12
CATALOGUE = Catalogue(
    np.stack([np.arange(NUM_ITEMS) % 4, np.arange(NUM_ITEMS) // 4], axis=1).astype(np.int32)
)
SETTINGS = TrainingConfig(
    epochs=4,
    rows=2,
    row_length=16,
    learning_rate=1e-2,
    validate_every=2,
    validation_beam=10,
    average=0.9,
)
IDENTITY = {"seed": 3, "data": "0123456789abcdef"}
MAX_HISTORY = 8


def loss_of(model, *args, **options):
    """`next_item_loss`, compiled as a whole."""
    return _loss_of(*nnx.split(model), *args, **options)


@partial(
    jax.jit,
    static_argnums=0,
    static_argnames=("every_prefix", "label_smoothing", "item_loss", "distillation"),
)
def _loss_of(graph, state, *args, **options):
    return next_item_loss(nnx.merge(graph, state), *args, **options)


def histories():
    """Users who go round the catalogue from where they start."""
    return Histories.of(
        [(start + np.arange(5 + start % 4)) % NUM_ITEMS for start in range(NUM_ITEMS)]
    )


def build(rngs):
    return small_model((4, 3), NUM_ITEMS, rngs, d_model=16, dropout=0.2, item_embedding=False)


def build_tiger(rngs):
    return small_model(
        (4, 3),
        NUM_ITEMS,
        rngs,
        d_model=16,
        dropout=0.2,
        item_embedding=False,
        tokens="codes",
        encoder="bidirectional",
        user_tokens=3,
    )


def run(folder, settings=SETTINGS, *, validate=lambda _: {"ndcg@10": 0.5}, seed=3, **other):
    options = {
        "build": build,
        "catalogue": CATALOGUE,
        "histories": histories(),
        "settings": settings,
        "max_history": MAX_HISTORY,
        "seed": seed,
        "folder": folder,
        "identity": IDENTITY,
        "validate": validate,
    }
    return train(**(options | other))


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
