"""Items that come and go after the training."""

import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import genrec
from genrec.config import DecodingConfig
from genrec.errors import UserError
from genrec.runs.catalog_updates import (
    BUILT_ON,
    append_items,
    current_items,
    remove_items,
    show_branches,
)
from genrec.runs.folder import config_of, require
from genrec.runs.items import load_items, tokenized_vectors
from genrec.storage.files import sha256
from genrec.tokenizer import load_tokenizer
from small_run import ITEMS, SETTINGS, write_log

NEW = """item_id,title,genre
n1,New film 1,genre1
n2,New film 2,genre2
i003,Film 3 under another title,genre0
n3,New film 3,genre3
"""


@pytest.fixture
def run(tiny_run, tmp_path):
    """A trained run of its own, and a file of three new items and one that is there already."""
    shutil.copytree(tiny_run, tmp_path / "run")
    (tmp_path / "new.csv").write_text(NEW)
    return tmp_path / "run"


def digests(folder):
    return {name: sha256(folder / name) for name in ("dataset", "embeddings.npy", "tokenizer")}


def current(folder):
    return current_items(folder, require(folder, config_of(folder), *BUILT_ON))


def test_items_that_come_get_codes_and_nothing_else_changes(run):
    before, config = digests(run), config_of(run)
    change = append_items(config, run, run.parent / "new.csv")
    assert (change.items, change.added, change.known, change.removed) == (ITEMS + 3, 3, 1, 0)
    assert "relative error" in (change.drift or "")
    assert digests(run) == before
    old, (now, gone) = load_items(run), current(run)
    assert now.dataset.item_ids == [*old.dataset.item_ids, "n1", "n2", "n3"]
    assert now.dataset.titles[ITEMS:] == ["New film 1", "New film 2", "New film 3"]
    assert np.array_equal(now.dataset.items["item"].to_numpy(), np.arange(ITEMS + 3))
    assert np.array_equal(now.ids.codes[:ITEMS], old.ids.codes) and not len(gone)
    assert np.array_equal(now.content[:ITEMS], old.content)
    codes = load_tokenizer(run / "tokenizer").encode(now.content[ITEMS:])
    assert np.array_equal(now.ids.codes[ITEMS:, :-1], codes)
    assert len(np.unique(now.ids.codes, axis=0)) == ITEMS + 3
    # A second time they are all there already.
    again = append_items(config, run, run.parent / "new.csv")
    assert (again.items, again.added, again.known) == (ITEMS + 3, 0, 4)
    assert np.array_equal(current(run)[0].ids.codes, now.ids.codes)


def test_items_that_came_are_recommended_and_in_histories(run):
    decoding = DecodingConfig(beam=ITEMS, batch_size=1, unseen_share=0.2)
    without = genrec.load_run(run, decoding).recommend([["i001"]], 10)[0][0]
    append_items(config_of(run), run, run.parent / "new.csv")
    loaded = genrec.load_run(run, decoding)
    ids, scores = loaded.recommend([["i001"], ["New film 2", "i001"]], 10)
    for row, points in zip(ids, scores, strict=True):
        assert len(set(row) & {"n1", "n2", "n3"}) == 2 and len(set(row)) == 10
        assert np.isfinite(points).all()
    assert "n2" not in ids[1]
    assert not set(without) & {"n1", "n2", "n3"}
    assert [item for item in ids[0] if item[0] == "i"] == without[:8]
    genrec.run_stage("evaluate", config_of(run), run)  # the figures remain those of the training


def test_items_that_go_are_recommended_no_more_and_keep_their_codes(run):
    config, decoding = config_of(run), DecodingConfig(beam=ITEMS, batch_size=1)
    before = genrec.load_run(run, decoding)
    (ranked,), _ = before.recommend([["i001"]], ITEMS - 1)
    (popular,), _ = before.recommend([[]], 5)
    gone = {*ranked[:3], *popular[:2]}
    change = remove_items(config, run, sorted(gone))
    assert (change.items, change.removed) == (ITEMS - len(gone), len(gone))
    loaded = genrec.load_run(run, decoding)
    assert np.array_equal(loaded.codes, before.codes)
    (left,), _ = loaded.recommend([["i001"]], ITEMS - len(gone) - 1)
    assert left == [item for item in ranked if item not in gone]
    assert not gone & set(loaded.recommend([[]], 5)[0][0])
    known = next(loaded.everybody(20))
    items, _, _ = loaded.recommend_freely(known, 10)
    assert not gone & {loaded.item_ids[item] for item in items[items >= 0].tolist()}
    with pytest.raises(UserError, match="none of the 40 items is left"):
        loaded.restricted(allow=sorted(gone))
    # Removing them again changes nothing; the rest cannot all go.
    assert remove_items(config, run, sorted(gone)).removed == 0
    with pytest.raises(UserError, match="none of the 40 items would be left"):
        remove_items(config, run, loaded.item_ids)
    with pytest.raises(UserError, match="no item has the id or title 'Flim 3'"):
        remove_items(config, run, ["Flim 3"])


def test_items_come_back_with_the_codes_that_they_had(run):
    config = config_of(run)
    append_items(config, run, run.parent / "new.csv")
    codes = current(run)[0].ids.codes
    remove_items(config, run, ["New film 2", "i003", "i004"])
    items, gone = current(run)
    assert {items.dataset.item_ids[item] for item in gone} == {"n2", "i003", "i004"}
    change = append_items(config, run, run.parent / "new.csv")
    assert (change.added, change.known, change.returned) == (0, 4, 2)
    assert change.items == ITEMS + 2
    items, gone = current(run)
    assert [items.dataset.item_ids[item] for item in gone] == ["i004"]
    assert np.array_equal(items.ids.codes, codes)


def test_branches_know_what_came_and_what_went(run):
    config = config_of(run)
    append_items(config, run, run.parent / "new.csv")
    remove_items(config, run, ["i003"])
    found, titles = show_branches(config, run)
    below = [item for branch in found for item in branch.items]
    ids = current(run)[0].dataset.item_ids
    assert sorted(ids[item] for item in below) == sorted({*ids} - {"i003"})
    assert [titles[item] for item in below if ids[item] == "n1"] == ["New film 1"]


def test_settings_may_say_where_files_are_from_here(tiny_run, run, monkeypatch):
    """As `run` takes them; what a run keeps of its settings has absolute paths."""
    monkeypatch.chdir(tiny_run.parent)
    config = config_of(run)
    data = replace(config.data, interactions="log.csv", items="items.csv")
    found, _ = genrec.show_branches(replace(config, data=data), str(run))
    assert sum(len(branch.items) for branch in found) == ITEMS
    assert genrec.append_items(replace(config, data=data), str(run), str(run.parent / "new.csv"))
    other = replace(config, data=replace(data, interactions="items.csv"))
    with pytest.raises(UserError, match="prepare was done with other settings"):
        genrec.show_branches(other, run)


def test_a_tokenizer_made_again_wants_its_items_again(run):
    config = config_of(run)
    append_items(config, run, run.parent / "new.csv")
    shutil.rmtree(run / "checkpoints")
    other = replace(config, tokenizer=replace(config.tokenizer, steps=60))
    genrec.run_stage("tokenize", other, run)
    with pytest.raises(UserError, match=r"catalogue\.parquet belongs to other items or codes"):
        append_items(other, run, run.parent / "new.csv")
    (run / "catalogue.parquet").unlink()
    assert append_items(other, run, run.parent / "new.csv").added == 3


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "cannot be read"),
        (lambda path: path.write_text("no parquet"), "cannot be read"),
        (lambda path: pq.write_table(pq.read_table(path).drop(["codes"]), path), "cannot be read"),
        (lambda path: pq.write_table(pa.table({"item": [1]}), path), "cannot be read"),
    ],
)
def test_a_damaged_file_is_refused(run, damage, message):
    append_items(config_of(run), run, run.parent / "new.csv")
    damage(run / "catalogue.parquet")
    with pytest.raises(UserError, match=f"catalogue.parquet {message}"):
        genrec.load_run(run)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item_id,name\nn1,New", "no column 'title'"),
        ("item_id,title,genre\n", "no items"),
        ("item_id,title,genre\nn1,a,b\nn1,c,d\n", "'n1' has 2 rows"),
        ("item_id,title,genre\n,a,b\n", "is empty, first in row 1"),
        ("item_id,title\nn1,a\n", "names the column 'genre'"),
    ],
)
def test_bad_files_of_new_items(run, text, message):
    (run.parent / "bad.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        append_items(config_of(run), run, run.parent / "bad.csv")
    assert not (run / "catalogue.parquet").exists()


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    write_log(folder)
    (folder / "tiny.yaml").write_text(SETTINGS)
    return folder


def tokenized(log, folder, *settings, sizes=(8, 8)):
    """A run up to its semantic IDs, and its config."""
    paths = f"data.interactions={log / 'log.csv'}", f"data.items={log / 'items.csv'}"
    config = genrec.load_config(log / "tiny.yaml", *paths, *settings)
    config = replace(config, tokenizer=replace(config.tokenizer, codebook_sizes=sizes))
    for stage in ("prepare", "embed", "tokenize"):
        genrec.run_stage(stage, config, folder / "run")
    return config, folder / "run"


MANY = "".join(f"n{n},Film {n} again,genre{n % 5}\n" for n in range(220))


@pytest.mark.parametrize("kind", ["rqvae", "rqkmeans", "rvq", "opq"])
@pytest.mark.parametrize("collisions", ["code", "reassign", "none"])
def test_every_kind_with_every_way_out_of_collisions(log, tmp_path, kind, collisions):
    config, run = tokenized(
        log,
        tmp_path,
        f"tokenizer.kind={kind}",
        f"tokenizer.collisions={collisions}",
        "tokenizer.cooccurrence=1.0",
        sizes=(8, 32),
    )
    (tmp_path / "many.csv").write_text("item_id,title,genre\n" + MANY[: MANY.index("n20,")])
    assert append_items(config, run, tmp_path / "many.csv").added == 20
    old, (now, _) = load_items(run), current(run)
    tokenizer = load_tokenizer(run / "tokenizer")
    assert np.array_equal(now.ids.codes[:ITEMS], old.ids.codes)
    unique = len(np.unique(now.ids.codes, axis=0)) == ITEMS + 20
    assert now.ids.unique == old.ids.unique == (collisions != "none") and (
        unique or collisions == "none"
    )
    vectors = tokenized_vectors(config, now.dataset, now.content, now.trained)
    assert np.array_equal(vectors[:ITEMS], tokenized_vectors(config, old.dataset, old.content))
    assert vectors[ITEMS:, old.content.shape[1] :].any(axis=1).all()  # what their likes are with
    codes = tokenizer.encode(vectors[ITEMS:])
    same = codes.shape[1] - (collisions == "reassign")
    assert np.array_equal(now.ids.codes[ITEMS:, :same], codes[:, :same])


def test_many_new_items_say_whether_to_train_anew(log, tmp_path):
    config, run = tokenized(log, tmp_path)
    (tmp_path / "many.csv").write_text("item_id,title,genre\n" + MANY)
    with pytest.raises(UserError, match="share a tuple such as"):
        append_items(config, run, tmp_path / "many.csv")
    config, run = tokenized(log, tmp_path / "shared", "tokenizer.collisions=none")
    drift = append_items(config, run, tmp_path / "many.csv").drift
    assert drift and "220 items that came later" in drift and "train" in drift.split(": ")[-1]


def test_vectors_of_new_items_come_from_a_file_where_the_others_did(log, tmp_path):
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).normal(size=(ITEMS, 6)))
    np.save(tmp_path / "new.npy", np.random.default_rng(1).normal(size=(4, 6)))
    np.save(tmp_path / "wide.npy", np.ones((4, 7)))
    (tmp_path / "new.csv").write_text(NEW)
    config, run = tokenized(
        log, tmp_path, "embedding.kind=file", f"embedding.path={tmp_path / 'vectors.npy'}"
    )
    with pytest.raises(UserError, match="name one with those of the new items by --vectors"):
        append_items(config, run, tmp_path / "new.csv")
    with pytest.raises(UserError, match=r"wide\.npy has vectors of width 7, those of the run"):
        append_items(config, run, tmp_path / "new.csv", tmp_path / "wide.npy")
    assert append_items(config, run, tmp_path / "new.csv", tmp_path / "new.npy").added == 3
    expected = np.load(tmp_path / "new.npy")[[0, 1, 3]].astype(np.float32)
    assert np.array_equal(current(run)[0].content[ITEMS:], expected)
    text, run = tokenized(log, tmp_path / "text")
    with pytest.raises(UserError, match=r"--vectors goes with embedding\.kind file"):
        append_items(text, run, tmp_path / "new.csv", tmp_path / "new.npy")
