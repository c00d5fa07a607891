"""The stages in order: what each one reads and writes in the run folder, and what can be skipped."""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq
from flax import nnx
from rich.table import Table

from genrec import manifest
from genrec.config import Config, DataConfig, check
from genrec.data import (
    Dataset,
    Histories,
    Source,
    find_items,
    load_dataset,
    movielens_100k,
    prepare,
)
from genrec.decoding import Recommender
from genrec.embedding import embed_cooccurrence, embed_file, embed_tfidf, fuse
from genrec.errors import UserError
from genrec.evaluation import (
    Evaluation,
    Recommend,
    evaluate,
    item_knn,
    most_popular,
    results_table,
    summarise,
    target_ranks,
)
from genrec.files import read_json, replacing, sha256, write_json
from genrec.model import EncoderDecoder
from genrec.settings import dump_config, load_config
from genrec.tokenizer import (
    disambiguate,
    fit_rqvae,
    health,
    load_semantic_ids,
    save_semantic_ids,
    save_tokenizer,
)
from genrec.training import Checkpoints, train


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Attributes:
        make: (settings, run folder) → its files, and the line that sums them up.
        sections: the parts of the settings that it depends on.
        after: the stages whose files it reads.
        outputs: the files that it writes.
    """

    make: Callable[[Config, Path], str]
    sections: tuple[str, ...]
    after: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of a stage: made anew, or skipped because it was done already."""

    stage: str
    skipped: bool
    seconds: float
    summary: str


def run(config: Config, folder: str | Path) -> list[Outcome]:
    """Runs every stage that is not done yet, in order.

    Raises:
        UserError: the folder or an input is not as it should be.
    """
    return [run_stage(name, config, folder) for name in STAGES]


def run_stage(name: str, config: Config, folder: str | Path) -> Outcome:
    """Runs one stage, or skips it if its files are there and made from the same.

    Raises:
        UserError: a stage before it is not done, or the folder or an input is not as it should be.
    """
    started = time.perf_counter()
    folder, stage = Path(folder), STAGES[name]
    config = open_run(config, folder)
    inputs = _inputs(name, config, folder)
    wanted = manifest.fingerprint(name, config, stage.sections, inputs)
    entry = manifest.read_manifest(folder).get(name)
    if entry is not None and manifest.is_current(folder, entry, wanted):
        return Outcome(name, True, time.perf_counter() - started, entry["summary"])
    summary = stage.make(config, folder)
    seconds = time.perf_counter() - started
    manifest.record(folder, name, config, stage.sections, inputs, stage.outputs, seconds, summary)
    return Outcome(name, False, seconds, summary)


def open_run(config: Config, folder: Path) -> Config:
    """Makes the run's folder or checks the one that is there, and keeps the settings in it.

    Returns:
        The settings with absolute paths, as they are kept in config.yaml.

    Raises:
        UserError: the folder holds something else, or a training with other settings, which
            would be lost.
    """
    check(config)
    config = _with_absolute_paths(config)
    file = folder / "config.yaml"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: choose a folder with --out")
    if not file.exists() and folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} holds other files: choose a new folder with --out")
    if (folder / "checkpoints").exists():
        before, now = load_config(file), config
        differing = [
            f"{name} was {old}, now {new}"
            for name, old, new in _differences(before, now)
            if name.split(".")[0] in _SHAPES_TRAINING
        ]
        if differing:
            raise UserError(
                f"{folder} holds a training with other settings ({'; '.join(differing)}): "
                "choose another folder with --out, or delete its checkpoints"
            )
    with replacing(file) as temporary:
        temporary.write_text(dump_config(config), encoding="utf-8")
    return config


def files(folder: Path) -> list[str]:
    """What a run has written, in the order of its stages."""
    return [
        "config.yaml",
        "manifest.json",
        *(name for stage in STAGES.values() for name in stage.outputs if (folder / name).exists()),
    ]


@dataclass(frozen=True)
class LoadedRun:
    """A finished run, ready to recommend."""

    dataset: Dataset
    recommender: Recommender

    def recommend(
        self, histories: Sequence[Sequence[str]], k: int = 10, *, exclude_history: bool = True
    ) -> tuple[list[list[str]], list[list[float]]]:
        """The k items most probable to come next, for each history of item ids or titles.

        Returns:
            Item ids, best first, and their scores, log-probabilities. A list is shorter than k only
            where no other item is left.

        Raises:
            UserError: an item is unknown, a history is empty, or k exceeds the beam width.
        """
        if not 1 <= k <= self.recommender.beam:
            raise UserError(
                f"k is {k}, but must lie between 1 and the beam width, {self.recommender.beam} "
                "(decoding.beam)"
            )
        for number, history in enumerate(histories, 1):
            if not history:
                raise UserError(f"history {number} has no item, so there is nothing to go on")
        known = Histories.of(find_items(self.dataset, history) for history in histories)
        items, scores = self.recommender(known, k, exclude_history=exclude_history)
        return _named(self.dataset, items, scores)

    def titles(self) -> dict[str, str]:
        """The title of every item id."""
        return dict(zip(self.dataset.item_ids, self.dataset.titles, strict=True))


def load_run(folder: str | Path) -> LoadedRun:
    """The best model of a run, by validation.

    Raises:
        UserError: it is not a run, or not trained, or its files are not those of its training.
    """
    folder = Path(folder)
    config = _config_of(folder)
    _inputs("evaluate", config, folder)
    dataset = load_dataset(folder / "dataset")
    return LoadedRun(dataset, _recommender(config, folder, dataset))


@dataclass(frozen=True)
class Example:
    """What one user of the test had, then chose, and was recommended."""

    user_id: str
    recent: list[str]
    target: str
    titles: list[str]
    item_ids: list[str]
    scores: list[float]


def examples(folder: Path, *, count: int = 3, k: int = 5, recent: int = 5) -> list[Example]:
    """A few users, drawn by the seed, with their filtered recommendations.

    Raises:
        UserError: the run has not been evaluated.
    """
    config = _config_of(folder)
    _require(folder, config, "evaluate")
    dataset = load_dataset(folder / "dataset")
    test = dataset.held_out("test")
    table = pq.read_table(folder / "recommendations_filtered.parquet")
    titles = dict(zip(dataset.item_ids, dataset.titles, strict=True))
    generator = np.random.default_rng(config.seed)
    users = generator.choice(len(test.targets), min(count, len(test.targets)), replace=False)
    shown = []
    for user in users.tolist():
        row = table.slice(user, 1).to_pylist()[0]
        ids = row["item_id"][:k]
        shown.append(
            Example(
                user_id=row["user_id"],
                recent=[dataset.titles[item] for item in test.histories[user][-recent:]],
                target=dataset.titles[test.targets[user]],
                titles=[titles[item_id] for item_id in ids],
                item_ids=ids,
                scores=row["score"][:k],
            )
        )
    return shown


def metrics_table(folder: Path) -> Table:
    """The figures of a run's evaluation on the test items, beside the baselines'."""
    return results_table(read_json(folder / "metrics.json"), "test")


def read_histories(path: Path) -> tuple[list[str], list[list[str]]]:
    """User ids and histories from JSON lines or Parquet with the columns user_id and items.

    Raises:
        UserError: the file can't be read or lacks a column.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist")
    try:
        read = pq.read_table if path.suffix == ".parquet" else pyarrow.json.read_json
        table = read(path)
        users = table["user_id"].cast(pa.string()).to_pylist()
        histories = table["items"].cast(pa.list_(pa.string())).to_pylist()
    except (KeyError, OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path} should be JSON lines or Parquet with user_id and items, a list: {reason}"
        ) from error
    return users, [history or [] for history in histories]


def write_lists(
    path: Path,
    user_ids: Sequence[str],
    item_ids: Sequence[Sequence[str]],
    scores: Sequence[Sequence[float]],
) -> None:
    """Writes one ranked list for each user as Parquet: user_id, item_id (list), score (list)."""
    table = pa.table(
        {
            "user_id": pa.array(user_ids, pa.string()),
            "item_id": pa.array(item_ids, pa.list_(pa.string())),
            "score": pa.array(scores, pa.list_(pa.float32())),
        }
    )
    with replacing(path) as temporary:
        pq.write_table(table, temporary)


def _prepare(config: Config, folder: Path) -> str:
    source = _source(config.data)
    counts = prepare(source, folder / "dataset", k_core=config.data.k_core, seed=config.seed)
    return "{users:,} users, {items:,} items, {interactions:,} interactions".format(**counts)


def _embed(config: Config, folder: Path) -> str:
    dataset, settings = load_dataset(folder / "dataset"), config.embedding
    if settings.kind == "tfidf":
        vectors = embed_tfidf(dataset.texts, dim=settings.dim, seed=config.seed)
    else:
        counts = read_json(folder / "dataset" / "counts.json")
        rows = dataset.items["row"].to_numpy()
        vectors = embed_file(Path(cast(str, settings.path)), rows, counts["item_rows_read"])
    with replacing(folder / "embeddings.npy") as temporary, temporary.open("wb") as stream:
        np.save(stream, vectors)
    return f"{len(vectors):,} vectors of width {vectors.shape[1]} ({settings.kind})"


def _tokenize(config: Config, folder: Path) -> str:
    vectors = _item_vectors(config, folder)
    settings = dataclasses.asdict(config.tokenizer)
    del settings["cooccurrence"]
    tokenizer, history = fit_rqvae(vectors, **settings, seed=config.seed)
    codes = tokenizer.encode(vectors)
    report = health(codes, tokenizer.codebook_sizes, vectors, tokenizer.decode(codes))
    ids = disambiguate(codes, tokenizer.codebook_sizes)
    with replacing(folder / "tokenizer") as temporary:
        save_tokenizer(temporary, tokenizer)
        save_semantic_ids(temporary / "semantic_ids.parquet", ids)
        write_json(temporary / "health.json", {**report, "training": history})
    sizes = "×".join(map(str, ids.codebook_sizes))
    return f"{len(codes):,} semantic IDs of {sizes}"


def _item_vectors(config: Config, folder: Path) -> np.ndarray:
    """What is tokenized: the content vectors, with those of co-occurrence beside them if wanted."""
    content = np.load(folder / "embeddings.npy")
    weight = config.tokenizer.cooccurrence
    if weight == 0:
        return content
    dataset = load_dataset(folder / "dataset")
    other = embed_cooccurrence(
        dataset.training(), dataset.num_items, dim=content.shape[1], seed=config.seed
    )
    return fuse(content, other, weight)


def _train(config: Config, folder: Path) -> str:
    dataset = load_dataset(folder / "dataset")
    codes, build = _codes_and_builder(config, folder, dataset)
    epochs = train(
        build,
        codes,
        dataset.training(),
        config.training,
        max_history=config.model.max_history,
        seed=config.seed,
        folder=folder,
        fingerprint=_training_fingerprint(config, folder),
        validate=_validation(config, dataset, codes, build),
    )
    return f"{config.training.epochs} epochs; the best by validation NDCG@10 is epoch {epochs}"


def _validation(
    config: Config, dataset: Dataset, codes: np.ndarray, build: Callable[[nnx.Rngs], EncoderDecoder]
) -> Callable[[Any], dict[str, float]]:
    """Parameters → metrics, by decoding for a fixed sample of users and their validation items."""
    held_out = dataset.held_out("validation")
    count = min(len(held_out.targets), config.training.validation_users)
    generator = np.random.default_rng(config.seed)
    users = np.sort(generator.choice(len(held_out.targets), count, replace=False))
    histories, targets = held_out.histories.select(users), held_out.targets[users]
    beam = config.training.validation_beam

    def validate(params: Any) -> dict[str, float]:
        recommender = Recommender(
            _graph(build),
            params,
            codes,
            max_history=config.model.max_history,
            beam=beam,
            batch_size=config.decoding.batch_size,
        )
        items, _ = recommender(histories, beam, exclude_history=True)
        return summarise(target_ranks(items, targets), (10,), beam)

    return validate


def _evaluate(config: Config, folder: Path) -> str:
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
    ours = measured(_recommender(config, folder, dataset, progress_name="evaluate"))
    theirs = {name: {"test": measured(each).to_json()} for name, each in baselines.items()}
    for name, ranking in (("", ours.unfiltered), ("_filtered", ours.filtered)):
        lists = _named(dataset, ranking.items, ranking.scores)
        path = folder / f"recommendations{name}.parquet"
        write_lists(path, cast(Sequence[str], dataset.user_ids), *lists)
    write_json(folder / "metrics.json", {"test": ours.to_json(), "baselines": theirs})
    return f"{len(test.targets):,} test users"


def _source(data: DataConfig) -> Source:
    if data.dataset is not None:
        known = movielens_100k()
        return known if data.text is None else dataclasses.replace(known, text=data.text)
    return Source(
        Path(cast(str, data.interactions)),
        Path(data.items) if data.items else None,
        data.columns,
        data.text or "{title}",
    )


def _codes_and_builder(
    config: Config, folder: Path, dataset: Dataset
) -> tuple[np.ndarray, Callable[[nnx.Rngs], EncoderDecoder]]:
    """The semantic IDs, and what makes the model for them from random streams."""
    ids = load_semantic_ids(folder / "tokenizer" / "semantic_ids.parquet")
    settings = dataclasses.asdict(config.model)
    del settings["max_history"]

    def build(rngs: nnx.Rngs) -> EncoderDecoder:
        return EncoderDecoder(
            num_items=dataset.num_items, codebook_sizes=ids.codebook_sizes, **settings, rngs=rngs
        )

    return ids.codes, build


def _graph(build: Callable[[nnx.Rngs], EncoderDecoder]) -> nnx.GraphDef[EncoderDecoder]:
    return nnx.graphdef(nnx.eval_shape(lambda: build(nnx.Rngs(0))))


def _recommender(
    config: Config, folder: Path, dataset: Dataset, progress_name: str | None = None
) -> Recommender:
    """The best checkpoint of a run, ready to recommend."""
    codes, build = _codes_and_builder(config, folder, dataset)
    with Checkpoints(folder / "checkpoints", _training_fingerprint(config, folder)) as checkpoints:
        like = nnx.eval_shape(lambda: nnx.as_pure(nnx.state(build(nnx.Rngs(0)), nnx.Param)))
        params = checkpoints.restore(checkpoints.best, {"params": like})["params"]
    return Recommender(
        _graph(build),
        params,
        codes,
        max_history=config.model.max_history,
        beam=config.decoding.beam,
        batch_size=config.decoding.batch_size,
        progress_name=progress_name,
    )


def _training_fingerprint(config: Config, folder: Path) -> str:
    inputs = _inputs("train", config, folder)
    return manifest.fingerprint("train", config, STAGES["train"].sections, inputs)


def _inputs(name: str, config: Config, folder: Path) -> dict[str, str]:
    """The sha256 of all that a stage reads.

    Raises:
        UserError: a stage before it is not done, or an input file is missing.
    """
    external: list[Path] = []
    if name == "prepare":
        source = _source(config.data)
        external = [path for path in (source.interactions, source.items) if path is not None]
    if name == "embed" and config.embedding.path is not None:
        external = [Path(config.embedding.path)]
    for path in external:
        if not path.is_file():
            raise UserError(f"{path} does not exist")
    found = {str(path): sha256(path) for path in external}
    for earlier in STAGES[name].after:
        found |= _require(folder, config, earlier)
    return found


def _require(folder: Path, config: Config, name: str) -> dict[str, str]:
    """The outputs of a finished stage and their sha256; UserError where it is not done."""
    entry = manifest.read_manifest(folder).get(name)
    if entry is None:
        raise UserError(f"{folder}: {name} is not done; run `genrec {name} {folder}` first")
    settings = manifest.settings_of(config, STAGES[name].sections)
    if (entry["config"], entry["seed"]) != (settings, config.seed):
        raise UserError(
            f"{folder}: {name} was done with other settings; run `genrec {name} {folder}` again"
        )
    if not manifest.is_current(folder, entry, entry["fingerprint"]):
        raise UserError(
            f"{folder}: the files of {name} have changed since it was done; "
            f"run `genrec {name} {folder}` again"
        )
    return entry["outputs"]


def _config_of(folder: Path) -> Config:
    if not (folder / "config.yaml").exists():
        raise UserError(f"{folder} is not a run: make one with `genrec run CONFIG --out {folder}`")
    return load_config(folder / "config.yaml")


def _with_absolute_paths(config: Config) -> Config:
    """Settings that mean the same from whatever folder a later command is called."""

    def absolute(path: str | None) -> str | None:
        return None if path is None else str(Path(path).expanduser().absolute())

    data, embedding = config.data, config.embedding
    return dataclasses.replace(
        config,
        data=dataclasses.replace(
            data, interactions=absolute(data.interactions), items=absolute(data.items)
        ),
        embedding=dataclasses.replace(embedding, path=absolute(embedding.path)),
    )


def _differences(before: Any, now: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """The settings in which two trees differ: dotted name, old and new value."""
    if not dataclasses.is_dataclass(now):
        return [(name, before, now)] if before != now else []
    return [
        difference
        for field in dataclasses.fields(now)
        for difference in _differences(
            getattr(before, field.name),
            getattr(now, field.name),
            f"{name}.{field.name}" if name else field.name,
        )
    ]


def _named(
    dataset: Dataset, items: np.ndarray, scores: np.ndarray
) -> tuple[list[list[str]], list[list[float]]]:
    """Lists of item ids and scores from padded arrays of indices."""
    item_ids = dataset.item_ids
    present = items >= 0
    return (
        [[item_ids[i] for i in row[:n]] for row, n in zip(items.tolist(), present.sum(1))],
        [row[:n] for row, n in zip(scores.tolist(), present.sum(1))],
    )


STAGES = {
    "prepare": Stage(_prepare, ("data",), (), ("dataset",)),
    "embed": Stage(_embed, ("embedding",), ("prepare",), ("embeddings.npy",)),
    "tokenize": Stage(_tokenize, ("tokenizer",), ("prepare", "embed"), ("tokenizer",)),
    "train": Stage(
        _train, ("model", "training"), ("prepare", "tokenize"), ("checkpoints", "metrics.jsonl")
    ),
    "evaluate": Stage(
        _evaluate,
        ("decoding", "evaluation"),
        ("prepare", "tokenize", "train"),
        ("metrics.json", "recommendations.parquet", "recommendations_filtered.parquet"),
    ),
}
_SHAPES_TRAINING = ("data", "embedding", "tokenizer", "model", "training", "seed")
