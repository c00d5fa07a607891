"""What each stage does: reads the files of those before it from the run folder, writes its own.

Every stage is given the settings, the run's folder, and its identity: what its files are made from,
the settings and the sha256 of every input, by name.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from genrec.checkpoints import Checkpoints
from genrec.config import Config, DecodingConfig
from genrec.data import load_dataset, prepare
from genrec.data.known import data_source
from genrec.decoding import writing_lists
from genrec.embedding import embed_file, embed_tfidf, load_vectors
from genrec.evaluation import (
    decoding_cost,
    evaluate,
    evaluate_parts,
    gains_over,
    graph_and_content,
    item_knn,
    most_popular,
    ranking_details,
)
from genrec.graph import build_graph, save_graph
from genrec.graph import health as health_of
from genrec.pipeline.fuse import fit_and_measure
from genrec.pipeline.validation import validation
from genrec.pipeline.warm_start import begin_from
from genrec.report import write_report
from genrec.runs.experts import FUSION, memory_of
from genrec.runs.figures import read_figures
from genrec.runs.items import catalogue_of, load_items, tokenized_vectors
from genrec.runs.manifest import fingerprint
from genrec.runs.model import collision_ranks, load_recommender, model_builder
from genrec.semantic_ids.collisions import semantic_ids_of
from genrec.semantic_ids.item_features import directions, standard_of
from genrec.semantic_ids.parquet import save_semantic_ids
from genrec.storage.files import discard, replacing, write_json
from genrec.storage.npy import save_array
from genrec.tokenizer import (
    after_collisions,
    fit_tokenizer,
    health,
    refuse_collapse,
    save_tokenizer,
)
from genrec.training import train

Identity = dict[str, Any]


def make_dataset(config: Config, folder: Path, identity: Identity) -> str:
    """Writes dataset/. Like every stage, returns the line that sums up what came of it."""
    data = config.data
    counts = prepare(
        data_source(data),
        folder / "dataset",
        k_core=data.k_core,
        seed=config.seed,
        min_rating=data.min_rating,
        duplicates=data.duplicates,
        max_interactions=data.max_interactions,
        split=data.split,
        held_out=data.held_out,
        on_bad_rows=data.on_bad_rows,
        engine=data.engine,
        spark_master=data.spark_master,
        memory_gib=data.memory_gib,
    )
    return "{users:,} users, {items:,} items, {interactions:,} interactions".format(**counts)


def make_embeddings(config: Config, folder: Path, identity: Identity) -> str:
    """Writes embeddings.npy."""
    dataset, settings = load_dataset(folder / "dataset"), config.embedding
    if settings.path is not None:
        counts = read_figures(folder, "dataset/counts.json")
        rows = dataset.items["row"].to_numpy()
        vectors = embed_file(Path(settings.path), rows, counts["item_rows_read"])
    else:
        vectors, _ = embed_tfidf(dataset.texts, dim=settings.dim, seed=config.seed)
    with replacing(folder / "embeddings.npy") as temporary:
        save_array(temporary, vectors)
    return f"{len(vectors):,} vectors of width {vectors.shape[1]} ({settings.kind})"


def make_semantic_ids(config: Config, folder: Path, identity: Identity) -> str:
    """Writes tokenizer/."""
    dataset, settings = load_dataset(folder / "dataset"), config.tokenizer
    content = load_vectors(folder / "embeddings.npy", dataset.num_items)
    vectors = tokenized_vectors(config, dataset, content)
    unfinished = folder / ".tokenizer"
    place = unfinished / fingerprint(identity)[:16]
    for other in unfinished.glob("*"):
        if other != place:  # of other settings or data
            discard(other)
    with Checkpoints(place, identity) as kept:
        tokenizer, history = fit_tokenizer(vectors, settings, seed=config.seed, checkpoints=kept)
    discard(unfinished)
    codes, sizes = tokenizer.encode(vectors), tokenizer.codebook_sizes
    categories = dataset.categories(config.data.columns.category)
    report = health(codes, sizes, vectors, tokenizer.decode, categories)
    refuse_collapse(report, settings.collapse)

    def distances(items: np.ndarray) -> np.ndarray:
        return tokenizer.distances(vectors[items], codes[items])

    ids = semantic_ids_of(codes, sizes, settings.collisions, distances)
    report["after"] = after_collisions(ids.codes, codes)
    with replacing(folder / "tokenizer") as temporary:
        save_tokenizer(temporary, tokenizer)
        save_semantic_ids(temporary / "semantic_ids.parquet", ids)
        write_json(temporary / "health.json", {**report, "training": history})
    sizes = "x".join(map(str, ids.codebook_sizes))
    last = " without the last" * (settings.collisions == "code")
    return f"{settings.kind}, {sizes} codes; {report['distinct_share']:.1%} distinct{last}"


def make_checkpoints(config: Config, folder: Path, identity: Identity) -> str:
    """Writes checkpoints/ and metrics.jsonl."""
    items = load_items(folder)
    dataset, catalogue = items.dataset, catalogue_of(config, items)
    build = model_builder(config.model, catalogue, items.ids.codebook_sizes)
    histories, ranks = dataset.training(), collision_ranks(config, folder, items)
    begin = None
    if config.training.init_from is not None:
        source = Path(config.training.init_from)
        begin = begin_from(source, build, catalogue, dataset.item_ids, seed=config.seed)
    steps = train(
        build,
        catalogue,
        histories,
        config.training,
        max_history=config.model.max_history,
        seed=config.seed,
        folder=folder,
        identity=identity,
        validate=validation(config, dataset, catalogue, build, ranks=ranks),
        begin=begin,
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


def make_graph(config: Config, folder: Path, identity: Identity) -> str:
    """Writes graph/."""
    items = load_items(folder)
    mean, _ = standard_of(items.content)
    content = directions(items.content, mean)
    graph = build_graph(items.dataset.training(), content, most=config.experts.neighbours)
    with replacing(folder / "graph") as temporary:
        temporary.mkdir()
        save_graph(temporary, graph)
        write_json(temporary / "health.json", health_of(graph))
    reached = float((np.diff(graph.begins) > 0).mean())
    return f"{len(graph.items):,} edges, from {reached:.1%} of the items"


def make_fusion(config: Config, folder: Path, identity: Identity) -> str:
    """Writes fusion.json."""
    items, users = load_items(folder), config.experts.users
    validation = items.dataset.held_out("validation")
    figures: dict[str, Any] = {"fitted": None}
    if users and len(validation.targets):
        plain = dataclasses.replace(config, decoding=DecodingConfig(dense_share=0.0))
        if not config.model.codes:
            plain = dataclasses.replace(config, decoding=DecodingConfig(dense_share=1.0))
        model = load_recommender(plain, folder, items)
        memory = memory_of(folder, items)
        figures = fit_and_measure(model, memory, validation, users=users, seed=config.seed)
    write_json(folder / FUSION, figures)
    if figures["fitted"] is None:
        return "no experts: there is nobody to fit their weights on" if users else "no experts"
    ndcg = figures["measured"]["all"].get("ndcg@10")
    return f"{len(figures['fitted']['ranking'])} experts" + (
        "" if ndcg is None else f", NDCG@10 {ndcg:.4f} of validation users"
    )


def make_metrics(config: Config, folder: Path, identity: Identity) -> str:
    """Writes metrics.json, decoding_cost.json and the lists of all test users."""
    items = load_items(folder)
    dataset = items.dataset
    test, training = dataset.held_out("test"), dataset.training()
    top_k = [k for k in config.evaluation.top_k if k <= config.decoding.beam]

    how = {"k": config.decoding.beam, "top_k": top_k, "num_items": dataset.num_items}
    model = load_recommender(config, folder, items, progress_name="evaluate")
    measured = evaluate_parts(model.in_parts, test.histories, test.targets, **how)
    ours = measured.pop("whole")
    cost = decoding_cost(model, test.histories, config.decoding.beam)
    baselines = {
        "most_popular": most_popular(training, dataset.num_items),
        "item_knn": item_knn(training, dataset.num_items, config.evaluation.neighbours),
    }
    validated, weights = dataset.held_out("validation"), None
    if len(validated.users):
        known = memory_of(folder, items)
        rival, weights = graph_and_content(known, validated, seed=config.seed)
        baselines["graph_and_content"] = rival
    rivals = {
        name: evaluate(each, test.histories, test.targets, **how)
        for name, each in baselines.items()
    }
    alone, theirs = (
        {
            name: {"test": other.to_json(), "gain": gains_over(ours, other)}
            for name, other in others.items()
        }
        for others in (measured, rivals)
    )
    if weights is not None:
        theirs["graph_and_content"]["weights"] = weights
    both = {"unfiltered": ours.unfiltered, "filtered": ours.filtered}
    categories = dataset.categories(config.data.columns.category)
    context = {"top_k": top_k, "vectors": items.content, "categories": categories}
    details = {
        protocol: ranking_details(
            ranking, test.histories, test.targets, training, **context, seed=config.seed
        )
        for protocol, ranking in both.items()
    }
    for suffix, ranking in (("", ours.unfiltered), ("_filtered", ours.filtered)):
        with writing_lists(folder / f"recommendations{suffix}.parquet", dataset.item_ids) as write:
            write(dataset.user_ids[test.users], ranking.items, ranking.scores)
    entry = {"test": {**ours.to_json(), "details": details}, "alone": alone, "baselines": theirs}
    write_json(folder / "metrics.json", entry)
    write_json(folder / "decoding_cost.json", cost)
    speed, memory = cost["users_per_second"], cost["peak_memory_gib"]
    return f"{len(test.targets):,} test users, {speed:,.0f} users/s, {memory:.1f} GiB at most"


def make_report(config: Config, folder: Path, identity: Identity) -> str:
    """Writes report.html."""
    size = write_report(folder, config, folder / "report.html")
    return f"report.html, {size / 2**20:.1f} MiB"
