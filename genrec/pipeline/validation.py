"""Validation of a training: recommends to a sample of users, and measures the lists."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx

from genrec.config import Config
from genrec.data import Dataset
from genrec.decoding import SearchOptions
from genrec.evaluation import summarise, target_ranks
from genrec.model import EncoderDecoder
from genrec.runs.model import make_recommender
from genrec.sequences.inputs import Catalogue


def validation(
    config: Config,
    dataset: Dataset,
    catalogue: Catalogue,
    build: Callable[[nnx.Rngs], EncoderDecoder],
    *,
    ranks: np.ndarray | None = None,
    dense_share: float = 0.0,
) -> Callable[[Any], dict[str, float]]:
    """Parameters → metrics, by decoding for a fixed sample of users and their validation items.

    `dense_share` is the dense head's share of the score, as in the settings of the decoding.
    """
    held_out = dataset.held_out("validation")
    count = min(len(held_out.targets), config.training.validation_users)
    generator = np.random.default_rng(config.seed)
    users = np.sort(generator.choice(len(held_out.targets), count, replace=False))
    histories, targets = held_out.histories.select(users), held_out.targets[users]
    beam = config.training.validation_beam
    if not config.model.codes:
        dense_share = 1.0
    how = SearchOptions(beam, config.decoding.batch_size, dense_share=dense_share)
    model = make_recommender(config, catalogue, build, None, how, ranks=ranks)

    def validate(params: Any) -> dict[str, float]:
        model.params = jax.device_put(params)
        items, _ = model(histories, beam, exclude_history=True)
        return summarise(target_ranks(items, targets), (10,), beam)

    return validate
