"""The model of a run: built from its settings, restored from its checkpoint, made to recommend."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from genrec.checkpoints import Checkpoints
from genrec.config import Config, ModelConfig
from genrec.decoding import Recommender, Resolver, SearchOptions, order_within
from genrec.model import EncoderDecoder
from genrec.runs.items import Items, catalogue_of, tokenized_vectors
from genrec.sequences.inputs import Catalogue
from genrec.tokenizer import load_tokenizer


def builder(
    settings: ModelConfig,
    catalogue: Catalogue,
    codebook_sizes: tuple[int, ...],
    *,
    trained: int | None = None,
) -> Callable[[nnx.Rngs], EncoderDecoder]:
    """What makes the model from random streams.

    `trained` is how many items of the catalogue the model is trained on; None for all.
    """
    options = dataclasses.asdict(settings)
    del options["max_history"], options["content"], options["codes"]

    def build(rngs: nnx.Rngs) -> EncoderDecoder:
        return EncoderDecoder(
            num_items=len(catalogue.codes) if trained is None else trained,
            codebook_sizes=codebook_sizes if settings.codes else (),
            content_dim=0 if catalogue.content is None else catalogue.content.shape[1],
            **options,
            rngs=rngs,
        )

    return build


def best_recommender(
    config: Config, folder: Path, items: Items, progress_name: str | None = None
) -> Recommender:
    """The best checkpoint of a run, ready to recommend.

    Raises:
        UserError: nothing has been trained here.
    """
    catalogue = catalogue_of(config, items)
    build = builder(config.model, catalogue, items.ids.codebook_sizes, trained=items.trained)
    part = "average" if config.training.average else "params"
    with Checkpoints(folder / "checkpoints") as checkpoints:
        like = nnx.eval_shape(lambda: nnx.as_pure(nnx.state(build(nnx.Rngs(0)), nnx.Param)))
        state, _ = checkpoints.restore(checkpoints.best, {part: like})
    return recommender(
        config,
        catalogue,
        build,
        state[part],
        options(config),
        places=places(config, folder, items),
        progress_name=progress_name,
    )


def recommender(
    config: Config,
    catalogue: Catalogue,
    build: Callable[[nnx.Rngs], EncoderDecoder],
    params: Any,
    options: SearchOptions,
    **given: Any,
) -> Recommender:
    """A model ready to recommend; `given` is what else `Recommender` may be told."""
    return Recommender(
        nnx.graphdef(nnx.eval_shape(lambda: build(nnx.Rngs(0)))),
        params,
        catalogue,
        max_history=config.model.max_history,
        options=options,
        **given,
    )


def options(config: Config) -> SearchOptions:
    """How lists are made, by the settings of the decoding."""
    settings = dataclasses.asdict(config.decoding)
    del settings["unknown_items"], settings["index"]
    return SearchOptions(**settings, seed=config.seed)


def places(config: Config, folder: Path, items: Items) -> np.ndarray | None:
    """int32 (N,), the place of each item among those that share its codes; None if none do."""
    if items.ids.unique:
        return None
    tokenizer = load_tokenizer(folder / "tokenizer")
    vectors = tokenized_vectors(config, items.dataset, items.content, items.trained)
    return order_within(items.ids.codes, vectors, tokenizer.decode)


def item_resolver(config: Config, folder: Path, items: Items) -> Resolver:
    """What finds items for any codes.

    The disambiguation code says nothing of what an item is like, so it is left out of the way back
    from codes to a vector.
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
