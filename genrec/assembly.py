"""What stages and recommendation are put together from: settings and a run's files to objects."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from genrec.checkpoints import Checkpoints
from genrec.config import Config, DataConfig, ModelConfig, TokenizerConfig
from genrec.core.inputs import Catalogue
from genrec.data import Dataset, Source, load_dataset
from genrec.datasets import known_source
from genrec.decoding import Options, Recommender, Resolver, order_within
from genrec.embedding import embed_cooccurrence, fuse, lend, load_vectors
from genrec.errors import UserError
from genrec.evaluation import summarise, target_ranks
from genrec.model import EncoderDecoder
from genrec.tokenizer import (
    Objective,
    SemanticIds,
    Tokenizer,
    fit_opq,
    fit_rqkmeans,
    fit_rqvae,
    load_semantic_ids,
    load_tokenizer,
)

COOCCURRENCE_DIM = 128
"""Width of the co-occurrence vectors; more of it is noise on histories of ten items."""


@dataclass(frozen=True)
class Items:
    """The items of a run, with all that is known of each.

    Attributes:
        dataset: of N items; its histories know only the first `trained` of them.
        ids: their semantic IDs.
        content: float32 (N, E), the vectors of what they say of themselves.
        trained: how many there were when tokenizer and model were trained; others came later.
    """

    dataset: Dataset
    ids: SemanticIds
    content: np.ndarray
    trained: int


def data_source(data: DataConfig) -> Source:
    """The files that the settings name; a known data set is fetched into the cache first.

    Raises:
        UserError: see `known_source`; or it has no ratings, and `data.min_rating` asks for them.
    """
    if data.dataset is not None:
        known = known_source(data.dataset, raw=None if data.raw is None else Path(data.raw))
        if data.min_rating is not None and known.columns.rating is None:
            raise UserError(f"data.min_rating: {data.dataset} has no ratings")
        return known if data.text is None else dataclasses.replace(known, text=data.text)
    if data.interactions is None:
        raise UserError("give one of data.dataset and data.interactions")
    return Source(
        data.interactions,
        data.items,
        data.columns,
        data.text or "{title}",
        data.timestamp_unit,
        data.delimiter,
    )


def fit_tokenizer(
    vectors: np.ndarray,
    settings: TokenizerConfig,
    *,
    seed: int,
    checkpoints: Checkpoints | None = None,
) -> tuple[Tokenizer, list[dict[str, Any]]]:
    """A tokenizer of the kind wanted, and the history of its training, empty where there is none.

    Raises:
        UserError: see `fit_rqvae`, `fit_rqkmeans` and `fit_opq`.
    """
    sizes = settings.codebook_sizes
    if settings.kind == "rqkmeans":
        return fit_rqkmeans(vectors, codebook_sizes=sizes, seed=seed), []
    if settings.kind == "opq":
        return fit_opq(vectors, codebook_sizes=sizes, seed=seed), []
    objective = Objective(
        commitment=settings.commitment,
        gradient=settings.gradient,
        ema_decay=settings.ema_decay if settings.codebooks == "ema" else None,
        sinkhorn=settings.sinkhorn,
        noise=settings.noise if settings.kind == "rqvae" else 0.0,
    )
    return fit_rqvae(
        vectors,
        codebook_sizes=sizes,
        latent_dim=settings.latent_dim,
        hidden=settings.hidden if settings.kind == "rqvae" else None,
        steps=settings.steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        objective=objective,
        collapse=settings.collapse,
        seed=seed,
        checkpoints=checkpoints,
    )


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
    options: Options,
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


def options(config: Config) -> Options:
    """How lists are made, by the settings of the decoding."""
    settings = dataclasses.asdict(config.decoding)
    del settings["unknown_items"], settings["index"]
    return Options(**settings, seed=config.seed)


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


def tokenized_vectors(
    config: Config, dataset: Dataset, content: np.ndarray, trained: int | None = None
) -> np.ndarray:
    """What is tokenized: the content vectors, with those of co-occurrence beside them if wanted.

    Args:
        content: float32 (N, E).
        trained: how many of the items there were at first; the vectors of these do not depend on
            the others. None: all.
    """
    if config.tokenizer.cooccurrence == 0:
        return content
    trained = len(content) if trained is None else trained
    _, other = cooccurrence_of(config, dataset, content, trained)
    return fuse(content, other, config.tokenizer.cooccurrence, fitted=trained)


def cooccurrence_of(
    config: Config, dataset: Dataset, content: np.ndarray, trained: int
) -> tuple[np.ndarray, np.ndarray]:
    """What the first so many items are consumed with, zero where nobody knows; and of all items,
    borrowed where nobody does."""
    known = embed_cooccurrence(dataset.training(), trained, dim=COOCCURRENCE_DIM, seed=config.seed)
    padded = np.pad(known, [(0, len(content) - trained), (0, 0)])
    return known, lend(padded, content, fitted=trained)


def items_of(folder: Path) -> Items:
    """The items of a run as they were when it was trained."""
    dataset = load_dataset(folder / "dataset")
    path = folder / "tokenizer" / "semantic_ids.parquet"
    ids = load_semantic_ids(path)
    if len(ids.codes) != dataset.num_items:
        raise UserError(
            f"{path} has {len(ids.codes):,} items, but the dataset {dataset.num_items:,}: run "
            "genrec tokenize again"
        )
    content = load_vectors(folder / "embeddings.npy", dataset.num_items)
    return Items(dataset, ids, content, dataset.num_items)


def catalogue_of(config: Config, items: Items) -> Catalogue:
    """What the model knows of every item."""
    content = None
    if config.model.content:
        vectors = items.content - items.content[: items.trained].mean(axis=0)
        norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
        content = (vectors / norms * vectors.shape[1] ** 0.5).astype(np.float32)
    seen = items.dataset.training().counts(items.dataset.num_items) > 0
    return Catalogue(items.ids.codes, content, None if seen.all() else seen)


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


def validation(
    config: Config,
    dataset: Dataset,
    catalogue: Catalogue,
    build: Callable[[nnx.Rngs], EncoderDecoder],
    *,
    places: np.ndarray | None = None,
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
    how = Options(beam, config.decoding.batch_size, dense_share=dense_share)
    model = recommender(config, catalogue, build, None, how, places=places)

    def validate(params: Any) -> dict[str, float]:
        model.params = jax.device_put(params)
        items, _ = model(histories, beam, exclude_history=True)
        return summarise(target_ranks(items, targets), (10,), beam)

    return validate
