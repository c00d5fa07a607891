"""What each stage does: reads the files of those before it from the run folder, writes its own."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from genrec.config import Config, DataConfig, ModelConfig
from genrec.data import Dataset, Source, load_dataset, movielens_100k, prepare
from genrec.decoding import ListsWriter, Options, Recommender, Resolver, order_within
from genrec.embedding import embed_cooccurrence, embed_file, embed_tfidf, fuse, lend
from genrec.evaluation import (
    Evaluation,
    Recommend,
    evaluate,
    item_knn,
    most_popular,
    summarise,
    target_ranks,
)
from genrec.files import read_json, replacing, write_json
from genrec.model import Catalogue, EncoderDecoder
from genrec.tokenizer import (
    SemanticIds,
    disambiguate,
    fit_rqvae,
    health,
    load_semantic_ids,
    load_tokenizer,
    save_semantic_ids,
    save_tokenizer,
)
from genrec.training import Checkpoints, train

COOCCURRENCE_DIM = 128
"""Width of the co-occurrence vectors; more of it is noise on histories of ten items."""


@dataclass(frozen=True)
class Task:
    """What a stage is told.

    Attributes:
        config: every setting.
        folder: the run's.
        identity: what the stage's files are made from: the settings and the sha256 of every input,
            by name.
    """

    config: Config
    folder: Path
    identity: dict[str, Any]


def make_dataset(task: Task) -> str:
    """Writes dataset/. Like every stage, returns the line that sums up what came of it."""
    config = task.config
    counts = prepare(
        data_source(config.data),
        task.folder / "dataset",
        k_core=config.data.k_core,
        seed=config.seed,
    )
    return "{users:,} users, {items:,} items, {interactions:,} interactions".format(**counts)


def make_embeddings(task: Task) -> str:
    """Writes embeddings.npy."""
    dataset, settings = load_dataset(task.folder / "dataset"), task.config.embedding
    if settings.path is not None:
        counts = read_json(task.folder / "dataset" / "counts.json")
        rows = dataset.items["row"].to_numpy()
        vectors = embed_file(Path(settings.path), rows, counts["item_rows_read"])
    else:
        vectors = embed_tfidf(dataset.texts, dim=settings.dim, seed=task.config.seed)
    with replacing(task.folder / "embeddings.npy") as temporary, temporary.open("wb") as stream:
        np.save(stream, vectors)
    return f"{len(vectors):,} vectors of width {vectors.shape[1]} ({settings.kind})"


def make_semantic_ids(task: Task) -> str:
    """Writes tokenizer/."""
    settings = dataclasses.asdict(task.config.tokenizer)
    del settings["cooccurrence"], settings["collisions"]
    vectors = _item_vectors(task.config, task.folder)
    tokenizer, history = fit_rqvae(vectors, **settings, seed=task.config.seed)
    codes = tokenizer.encode(vectors)
    report = health(codes, tokenizer.codebook_sizes, vectors, tokenizer.decode(codes))
    if task.config.tokenizer.collisions == "code":
        ids = disambiguate(codes, tokenizer.codebook_sizes)
    else:
        ids = SemanticIds(codes.astype(np.int32), tokenizer.codebook_sizes, unique=False)
    with replacing(task.folder / "tokenizer") as temporary:
        save_tokenizer(temporary, tokenizer)
        save_semantic_ids(temporary / "semantic_ids.parquet", ids)
        write_json(temporary / "health.json", {**report, "training": history})
    sizes = "x".join(map(str, ids.codebook_sizes))
    return (
        f"{sizes} codes; {report['distinct_share']:.1%} distinct{' without the last' * ids.unique}"
    )


def make_checkpoints(task: Task) -> str:
    """Writes checkpoints/ and metrics.jsonl."""
    config, folder = task.config, task.folder
    dataset, ids = load_dataset(folder / "dataset"), semantic_ids(folder)
    catalogue, histories = catalogue_of(config, folder, dataset, ids), dataset.training()
    build = builder(config.model, catalogue, ids.codebook_sizes)
    steps = train(
        build,
        catalogue,
        histories,
        config.training,
        max_history=config.model.max_history,
        seed=config.seed,
        folder=folder,
        identity=task.identity,
        validate=validation(config, dataset, catalogue, build, places=places(config, folder, ids)),
    )
    single = int((histories.lengths < 2).sum())
    longer = int((histories.lengths > config.model.max_history + 1).sum())
    notes = [f"the best by validation NDCG@10 is step {steps:,}"]
    if single:
        notes.append(f"{single:,} histories of one item had no target")
    if longer:
        whole = config.training.longer_histories == "windows" and config.model.encoder == "causal"
        how = "were cut into windows" if whole else "were read from their recent end only"
        notes.append(f"{longer:,} longer than model.max_history {how}")
    return "; ".join(notes)


def make_metrics(task: Task) -> str:
    """Writes metrics.json and the lists of all test users."""
    config, folder = task.config, task.folder
    dataset = load_dataset(folder / "dataset")
    test, training = dataset.held_out("test"), dataset.training()

    def measured(recommend: Recommend) -> Evaluation:
        return evaluate(
            recommend,
            test.histories,
            test.targets,
            k=config.decoding.beam,
            top_k=config.evaluation.top_k,
            num_items=dataset.num_items,
        )

    baselines = {
        "most_popular": most_popular(training, dataset.num_items),
        "item_knn": item_knn(training, dataset.num_items, config.evaluation.neighbours),
    }
    ours = measured(best_recommender(config, folder, dataset, progress_name="evaluate"))
    theirs = {name: {"test": measured(each).to_json()} for name, each in baselines.items()}
    for suffix, ranking in (("", ours.unfiltered), ("_filtered", ours.filtered)):
        with ListsWriter(folder / f"recommendations{suffix}.parquet", dataset.item_ids) as writer:
            writer.write(dataset.user_ids, ranking.items, ranking.scores)
    write_json(folder / "metrics.json", {"test": ours.to_json(), "baselines": theirs})
    return f"{len(test.targets):,} test users"


def data_source(data: DataConfig) -> Source:
    """The files that the settings name; a known data set is fetched into the cache first."""
    if data.interactions is None:
        known = movielens_100k()
        return known if data.text is None else dataclasses.replace(known, text=data.text)
    items = None if data.items is None else Path(data.items)
    return Source(Path(data.interactions), items, data.columns, data.text or "{title}")


def best_recommender(
    config: Config,
    folder: Path,
    dataset: Dataset,
    progress_name: str | None = None,
) -> Recommender:
    """The best checkpoint of a run, ready to recommend.

    Raises:
        UserError: nothing has been trained here.
    """
    ids = semantic_ids(folder)
    catalogue = catalogue_of(config, folder, dataset, ids)
    build = builder(config.model, catalogue, ids.codebook_sizes)
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
        places=places(config, folder, ids),
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


def places(config: Config, folder: Path, ids: SemanticIds) -> np.ndarray | None:
    """int32 (N,), the place of each item among those that share its codes; None if none do."""
    if ids.unique:
        return None
    tokenizer = load_tokenizer(folder / "tokenizer")
    return order_within(ids.codes, _item_vectors(config, folder), tokenizer.decode)


def item_resolver(config: Config, folder: Path) -> tuple[Resolver, tuple[int, ...]]:
    """What finds items for any codes, and the codebook sizes.

    The disambiguation code says nothing of what an item is like, so it is left out of the way back
    from codes to a vector.
    """
    ids, tokenizer = semantic_ids(folder), load_tokenizer(folder / "tokenizer")
    levels = len(tokenizer.codebook_sizes)
    resolver = Resolver(
        ids.codes,
        _item_vectors(config, folder),
        lambda codes: tokenizer.decode(codes[:, :levels]),
        index=config.decoding.index,
        seed=config.seed,
    )
    return resolver, ids.codebook_sizes


def _item_vectors(config: Config, folder: Path) -> np.ndarray:
    """What is tokenized: the content vectors, with those of co-occurrence beside them if wanted."""
    content = np.load(folder / "embeddings.npy")
    if config.tokenizer.cooccurrence == 0:
        return content
    dataset = load_dataset(folder / "dataset")
    other = embed_cooccurrence(
        dataset.training(), dataset.num_items, dim=COOCCURRENCE_DIM, seed=config.seed
    )
    return fuse(content, lend(other, content), config.tokenizer.cooccurrence)


def semantic_ids(folder: Path) -> SemanticIds:
    return load_semantic_ids(folder / "tokenizer" / "semantic_ids.parquet")


def catalogue_of(config: Config, folder: Path, dataset: Dataset, ids: SemanticIds) -> Catalogue:
    """What the model knows of every item."""
    content = None
    if config.model.content:
        vectors = np.load(folder / "embeddings.npy")
        vectors = vectors - vectors.mean(axis=0)
        norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
        content = (vectors / norms * vectors.shape[1] ** 0.5).astype(np.float32)
    seen = dataset.training().counts(dataset.num_items) > 0
    return Catalogue(ids.codes, content, None if seen.all() else seen)


def builder(
    settings: ModelConfig, catalogue: Catalogue, codebook_sizes: tuple[int, ...]
) -> Callable[[nnx.Rngs], EncoderDecoder]:
    """What makes the model from random streams."""
    options = dataclasses.asdict(settings)
    del options["max_history"], options["content"]

    def build(rngs: nnx.Rngs) -> EncoderDecoder:
        return EncoderDecoder(
            num_items=len(catalogue.codes),
            codebook_sizes=codebook_sizes,
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
    how = Options(beam, config.decoding.batch_size, dense_share=dense_share)
    model = recommender(config, catalogue, build, None, how, places=places)

    def validate(params: Any) -> dict[str, float]:
        model.params = jax.device_put(params)
        items, _ = model(histories, beam, exclude_history=True)
        return summarise(target_ranks(items, targets), (10,), beam)

    return validate
