import contextlib
import csv
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

import genrec
from genrec.config import DecodingConfig
from genrec.errors import UserError
from genrec.evaluation.compare import load_recommenders
from genrec.evaluation.examples import draw_examples
from genrec.pipeline import stages
from genrec.runs.catalog_updates import append_items
from genrec.runs.folder import config_of
from genrec.runs.items import load_items
from genrec.runs.model import load_recommender
from genrec.storage.files import read_json, sha256
from genrec.tokenizer import fit_tokenizer, load_tokenizer, rqvae_training
from small_run import ITEMS, trained, write_log


@pytest.fixture(scope="module")
def sasrec(tiny_run, tmp_path_factory):
    """A run whose model neither reads nor writes codes."""
    return trained(
        tiny_run,
        tmp_path_factory.mktemp("sasrec") / "run",
        "model.codes=false",
        "model.item_head=true",
        "decoding.dense_share=1",
        "training.epochs=6",
    )


@pytest.fixture(scope="module")
def sharing(tiny_run, tmp_path_factory):
    """A run in which items of the same codes share their semantic ID."""
    folder = tmp_path_factory.mktemp("sharing")
    shutil.copytree(tiny_run / "dataset", folder / "run/dataset")
    for name in ("config.yaml", "manifest.json"):
        shutil.copy(tiny_run / name, folder / "run")
    np.save(folder / "vectors.npy", np.random.default_rng(0).normal(size=(ITEMS, 6)))
    config = genrec.load_config(
        folder / "run/config.yaml",
        "embedding.kind=file",
        f"embedding.path={folder / 'vectors.npy'}",
        "tokenizer.collisions=none",
    )
    config = replace(config, tokenizer=replace(config.tokenizer, codebook_sizes=(4, 3)))
    for stage in ("prepare", "embed", "tokenize", "train"):
        assert genrec.run_stage(stage, config, folder / "run").skipped == (stage == "prepare")
    return folder / "run"


def test_without_a_code_that_tells_them_apart_items_keep_the_tokenizers_codes(tiny_run, sharing):
    ids = load_items(sharing).ids
    assert (ids.unique, ids.codebook_sizes) == (False, (4, 3))
    codes = load_tokenizer(sharing / "tokenizer").encode(np.load(sharing / "embeddings.npy"))
    assert np.array_equal(ids.codes, codes)
    usual = load_items(tiny_run).ids
    assert (usual.unique, usual.codes.shape) == (True, (ITEMS, 3))


def test_every_item_of_shared_codes_is_recommended_the_nearest_to_them_first(sharing):
    run = genrec.load_run(sharing, DecodingConfig(beam=ITEMS, batch_size=1))
    (ids,), (scores,) = run.recommend([["i001"]], ITEMS, exclude_history=False)
    assert sorted(ids) == sorted(run.item_ids)
    codes, vectors = load_items(sharing).ids.codes, np.load(sharing / "embeddings.npy")
    rebuilt = load_tokenizer(sharing / "tokenizer").decode(codes)
    distance = np.square(vectors - rebuilt).sum(axis=1)
    items = [run.item_ids.index(item_id) for item_id in ids]
    # One run of places for each tuple, in the order of the distances.
    tuples = [tuple(codes[item]) for item in items]
    starts = [n for n in range(ITEMS) if n == 0 or tuples[n] != tuples[n - 1]]
    assert len(starts) == len(set(tuples))
    for first, last in zip(starts, [*starts[1:], ITEMS], strict=True):
        assert (np.diff(distance[items[first:last]]) > 0).all()
        assert np.allclose(scores[first:last], scores[first])


def test_a_free_search_finds_shared_codes_too(sharing):
    run = genrec.load_run(sharing, DecodingConfig(beam=12))
    known = next(run.everybody(5))
    items, _, invalid = run.recommend_freely(known, 5)
    for row, history in zip(items, known.histories, strict=True):
        found = row[row >= 0]
        assert len(found) and not set(found.tolist()) & set(history.tolist())
    assert invalid == pytest.approx(1 - len(np.unique(run.codes, axis=0)) / 12)


def test_health_knows_collisions_before_and_after_and_the_items_categories(tiny_run, sharing):
    usual, shared = (read_json(run / "tokenizer/health.json") for run in (tiny_run, sharing))
    assert usual["after"] == {"colliding_items": 0, "largest_group": 1, "moved_items": 0}
    assert shared["after"]["colliding_items"] == shared["colliding_items"] > 0
    # Eight items of each of five genres.
    assert usual["same_category"] == pytest.approx(7 / 39)
    assert all("same_category" in level for level in usual["levels"])


def test_a_collapsed_level_stops_the_stage_and_leaves_the_codes_that_were_there(
    tiny_run, tmp_path, monkeypatch
):
    for name in ("dataset", "tokenizer"):
        shutil.copytree(tiny_run / name, tmp_path / name)
    shutil.copy(tiny_run / "embeddings.npy", tmp_path)
    before, config = sha256(tmp_path / "tokenizer"), config_of(tiny_run)
    kmeans = replace(config.tokenizer, kind="rqkmeans", collapse=0.2)
    good, _ = fit_tokenizer(np.load(tmp_path / "embeddings.npy"), kmeans, seed=0)
    books = dict(good.params["codebooks"])
    books[1] = books[1].at[1:].add(1e3)  # but for one, no code is near anything
    bad = replace(good, params={"codebooks": books})
    monkeypatch.setattr(stages, "fit_tokenizer", lambda *_, **__: (bad, []))
    with pytest.raises(UserError, match="collapsed: in the end level 1 uses 1 of 8 codes"):
        stages.make_semantic_ids(replace(config, tokenizer=kmeans), tmp_path, {})
    assert sha256(tmp_path / "tokenizer") == before
    tolerant = replace(config, tokenizer=replace(kmeans, collapse=0.1))
    stages.make_semantic_ids(tolerant, tmp_path, {})
    assert sha256(tmp_path / "tokenizer") != before


def test_an_interrupted_tokenizer_goes_on_unless_the_settings_are_others(
    tiny_run, tmp_path, monkeypatch
):
    for name in ("dataset", "embeddings.npy", "config.yaml", "manifest.json"):
        source = tiny_run / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    config, begun = config_of(tiny_run), []
    monkeypatch.setattr(rqvae_training, "_CHECKPOINT_EVERY", 50)
    train = rqvae_training._train

    def interrupted(graph, optimiser, objective, state, x, key, reviving):
        begun.append(int(state["opt"][0].count))
        if len(begun) in (3, 5):
            raise KeyboardInterrupt
        return train(graph, optimiser, objective, state, x, key, reviving)

    monkeypatch.setattr(rqvae_training, "_train", interrupted)
    for changes in ({}, {"noise": 0.1}, {}):
        changed = replace(config, tokenizer=replace(config.tokenizer, **changes))
        with contextlib.suppress(KeyboardInterrupt):
            genrec.run_stage("tokenize", changed, tmp_path)
    # What other settings had begun was of no use to these, and is gone.
    assert begun == [0, 50, 100, 0, 50, 0, 50, 100]
    assert not (tmp_path / ".tokenizer").exists()
    assert sha256(tmp_path / "tokenizer/health.json") == sha256(tiny_run / "tokenizer/health.json")


@pytest.mark.parametrize(
    ("split", "settings"),
    [("temporal", ()), ("cold-start", ("model.item_head=true", "decoding.dense_share=0.5"))],
)
def test_other_splits_run_through_all_stages(tiny_run, tmp_path, split, settings):
    folder = tmp_path / "run"
    config = genrec.load_config(
        tiny_run / "config.yaml",
        f"data.split={split}",
        "data.held_out=0.2",
        f"data.interactions={everybody_at_once(tmp_path)}",
        "training.epochs=1",
        *settings,
    )
    genrec.run(config, folder)
    dataset = load_items(folder).dataset
    test, figures = dataset.held_out("test"), read_json(folder / "metrics.json")["test"]
    assert figures["users"] == len(test.users)
    lists = pq.read_table(folder / "recommendations.parquet")
    assert lists["user_id"].to_pylist() == dataset.user_ids[test.users].tolist()
    if split == "temporal":
        assert 10 < len(test.users) < len(dataset.histories)
    else:
        new = dataset.training().counts(dataset.num_items)[test.targets] == 0
        cold = figures["details"]["filtered"]["segments"]["target"]["cold"]
        assert cold["users"] == new.sum() > 0
    assert draw_examples(folder, seed=0)[0].user_id in lists["user_id"].to_pylist()
    (found,) = load_recommenders([folder], "filtered")
    hits = found.per_user["recall@10"]
    assert hits.shape == (1, len(test.users))
    assert hits.mean() == pytest.approx(figures["filtered"]["recall@10"])


def everybody_at_once(folder):
    """The log of the tiny data set, in which users are active at the same time."""
    write_log(folder)
    with (folder / "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    with (folder / "mixed.csv").open("w", newline="") as stream:
        lines = csv.writer(stream)
        lines.writerow(["user_id", "item_id", "timestamp"])
        for row in rows:
            step, user = int(row["timestamp"]) % 1000, int(row["user_id"][1:])
            lines.writerow([row["user_id"], row["item_id"], 1000 * step + user])
    return folder / "mixed.csv"


def test_a_sasrec_runs_in_the_same_harness(sasrec):
    figures = read_json(sasrec / "metrics.json")
    ours = figures["test"]["filtered"]["ndcg@10"]
    assert ours > 2 * figures["baselines"]["most_popular"]["test"]["filtered"]["ndcg@10"]
    run = genrec.load_run(sasrec)
    (ids,), (scores,) = run.recommend([["i001", "i002"]], 5)
    assert len(set(ids)) == 5 and not {"i001", "i002"} & set(ids)
    assert (np.diff(scores) <= 0).all()
    (only,), _ = run.restricted(allow=["i007", "i009"]).recommend([["i001"]], 2)
    assert set(only) == {"i007", "i009"}
    with pytest.raises(UserError, match="writes no codes"):
        run.recommend_freely(next(run.everybody(5)), 5)


def test_a_run_that_looks_ahead(recipe_run, tmp_path):
    run = shutil.copytree(recipe_run("fused"), tmp_path / "run")
    figures = read_json(run / "metrics.json")
    ours = figures["test"]["filtered"]["ndcg@10"]
    assert ours > 2 * figures["baselines"]["most_popular"]["test"]["filtered"]["ndcg@10"]
    held_out = load_items(run).dataset.held_out("test")
    head = load_recommender(config_of(run), run, load_items(run)).ranked_by(1.0)
    lists, _ = head(held_out.histories, 10, exclude_history=True)
    hits = (lists == held_out.targets[:, None]).any(axis=1).mean()
    assert list(figures["alone"]) == ["codes", "dense_head"]
    parts = head.ranked_by(0.0).in_parts(held_out.histories, 10, exclude_history=True)
    assert list(parts) == ["whole", "dense_head"]  # the codes' are the whole
    assert np.array_equal(parts["dense_head"][0], lists)
    assert figures["alone"]["dense_head"]["test"]["filtered"]["recall@10"] == pytest.approx(hits)
    assert read_json(run / "decoding_cost.json")["users_per_second"] > 0
    (tmp_path / "new.csv").write_text("item_id,title,genre\nn1,Film new,genre1\n")
    append_items(config_of(run), run, tmp_path / "new.csv")
    loaded = genrec.load_run(run, DecodingConfig(beam=ITEMS + 1))
    (ids,), _ = loaded.recommend([["i001"]], ITEMS)
    assert len(set(ids)) == ITEMS and "n1" in ids
    with pytest.raises(UserError, match="scores no codes but those of items"):
        loaded.recommend_freely(next(loaded.everybody(5)), 5)
