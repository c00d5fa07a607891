"""The model of a run: built from its settings, restored from its checkpoint, made to recommend."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from genrec.checkpoints import Checkpoints
from genrec.config import Config, ModelConfig
from genrec.decoding import Recommender, Resolver, SearchOptions, rank_by_distance
from genrec.model import EncoderDecoder
from genrec.runs.experts import experts_of
from genrec.runs.items import RunItems, catalogue_of, tokenized_vectors
from genrec.sequences.inputs import Catalogue
from genrec.tokenizer import load_tokenizer


def model_builder(
    settings: ModelConfig,
    catalogue: Catalogue,
    codebook_sizes: tuple[int, ...],
    *,
    trained: int | None = None,
) -> Callable[[nnx.Rngs], EncoderDecoder]:
    """A function from random streams to the model with freshly drawn parameters.

    `trained` is how many items of the catalogue the model is trained on; None for all.
    """

    def build(rngs: nnx.Rngs) -> EncoderDecoder:
        return EncoderDecoder(
            settings,
            num_items=len(catalogue.codes) if trained is None else trained,
            codebook_sizes=codebook_sizes,
            content_dim=0 if catalogue.content is None else catalogue.content.shape[1],
            rngs=rngs,
        )

    return build


def decoding_options(config: Config) -> SearchOptions:
    """How lists are made, by the settings of the decoding."""
    settings = dataclasses.asdict(config.decoding)
    del settings["unknown_items"], settings["index"]
    if settings["dense_share"] is None:
        settings["dense_share"] = 0.0 if config.model.codes else 1.0
    return SearchOptions(**settings, seed=config.seed)


def make_recommender(
    config: Config,
    catalogue: Catalogue,
    build: Callable[[nnx.Rngs], EncoderDecoder],
    params: Any,
    options: SearchOptions,
    **others: Any,
) -> Recommender:
    """A model ready to recommend; `others` are further arguments of `Recommender`."""
    return Recommender(
        nnx.graphdef(nnx.eval_shape(lambda: build(nnx.Rngs(0)))),
        params,
        catalogue,
        max_history=config.model.max_history,
        options=options,
        **others,
    )


def load_recommender(
    config: Config, folder: Path, items: RunItems, progress_name: str | None = None
) -> Recommender:
    """The best checkpoint of a run, by validation, ready to recommend.

    Raises:
        UserError: nothing has been trained here.
    """
    catalogue = catalogue_of(config, items)
    build = model_builder(config.model, catalogue, items.ids.codebook_sizes, trained=items.trained)
    part = "average" if config.training.average else "params"
    with Checkpoints(folder / "checkpoints") as checkpoints:
        shapes = nnx.eval_shape(lambda: nnx.as_pure(nnx.state(build(nnx.Rngs(0)), nnx.Param)))
        state, _ = checkpoints.restore(checkpoints.best, {part: shapes})
    recommender = make_recommender(
        config,
        catalogue,
        build,
        state[part],
        decoding_options(config),
        ranks=collision_ranks(config, folder, items),
        progress_name=progress_name,
    )
    names, levels = recommender.expert_names, recommender.trie.levels
    recommender.experts = experts_of(config, folder, items, names, levels)
    return recommender


def collision_ranks(config: Config, folder: Path, items: RunItems) -> np.ndarray | None:
    """int32 (N,), the rank of each item among those that share its codes; None if none do.

    Ranks begin at 0, with the item nearest to the vector that its codes stand for.
    """
    if items.ids.unique:
        return None
    tokenizer = load_tokenizer(folder / "tokenizer")
    vectors = tokenized_vectors(config, items.dataset, items.content, items.trained)
    return rank_by_distance(items.ids.codes, vectors, tokenizer.decode)


def load_resolver(config: Config, folder: Path, items: RunItems) -> Resolver:
    """Finds an item for any codes, also for codes that no item has.

    The disambiguation code says nothing about an item's content, so the way back from codes to a
    vector leaves it out.
    """
    tokenizer = load_tokenizer(folder / "tokenizer")
    levels = len(tokenizer.codebook_sizes)
    return Resolver(
        items.ids.codes,
        tokenized_vectors(config, items.dataset, items.content, items.trained),
        lambda codes: tokenizer.decode(codes[:, :levels]),
        index=config.decoding.index,
        seed=config.seed,
    )
