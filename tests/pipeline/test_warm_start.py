"""Beginning a training with another one's weights."""

import shutil

import jax
import numpy as np
import pytest

import genrec
from genrec.bundle import load_bundle
from genrec.bundle.storage import write_bundle
from genrec.config import ModelConfig
from genrec.decoding.search import item_vectors
from genrec.errors import UserError
from genrec.model import EncoderDecoder, flat
from genrec.pipeline.warm_start import begin_from, fingerprint_of
from genrec.runs.catalog_updates import append_items
from genrec.runs.folder import config_of
from genrec.runs.items import catalogue_of
from genrec.runs.loaded import load_run
from genrec.runs.manifest import read_manifest
from genrec.runs.model import model_builder
from genrec.sequences.inputs import Catalogue
from genrec.storage.safetensors import pack_tensors


@pytest.fixture(scope="module", params=["run", "bundle"])
def source(request):
    """The same weights, as a run and as a bundle."""
    return request.getfixturevalue(f"tiny_{request.param}")


def begun(source, folder, **options):
    run = load_run(folder)
    catalogue = catalogue_of(run.config, run.items)
    build = model_builder(run.config.model, catalogue, run.items.ids.codebook_sizes, **options)
    return run, catalogue, begin_from(source, build, catalogue, run.item_ids, seed=5)


def test_a_model_begun_with_another_gives_its_lists(source, tiny_run):
    run, _, params = begun(source, tiny_run)
    histories = [["i001", "i007"], ["i012"], ["i030", "i002", "i039"]]
    expected = run.recommend(histories)
    run.recommender.params = jax.device_put(params)
    run.recommender._prepared = None
    ids, scores = run.recommend(histories)
    assert ids == expected[0]
    np.testing.assert_allclose(scores, expected[1], atol=1e-4)


def test_items_keep_their_vectors_and_new_ones_have_none_of_their_own(source, tiny_run, tmp_path):
    folder = shutil.copytree(tiny_run, tmp_path / "run")
    (tmp_path / "new.csv").write_text("item_id,title,genre\nn1,New film,genre2\n")
    before = load_run(tiny_run).recommender
    append_items(config_of(folder), folder, tmp_path / "new.csv")
    _, catalogue, params = begun(source, folder)
    own = flat(params)["item.embedding"]
    assert own.shape[0] == 41
    assert not own[40].any()
    structure = before.structure
    was = item_vectors(structure, before.params, before.catalogue)
    known = Catalogue(jax.numpy.asarray(catalogue.codes))
    now = item_vectors(structure, params, known)
    np.testing.assert_allclose(now[:40], was, atol=1e-5)


def test_another_size_is_refused(source, tiny_run):
    run = load_run(tiny_run)
    catalogue = catalogue_of(run.config, run.items)

    def build(rngs):
        settings = ModelConfig(d_model=16, encoder_layers=1, heads=2, d_ff=64)
        sizes = run.items.ids.codebook_sizes
        return EncoderDecoder(settings, num_items=40, codebook_sizes=sizes, rngs=rngs)

    with pytest.raises(UserError, match=r"begin from a model of the same size"):
        begin_from(source, build, catalogue, run.item_ids, seed=0)


@pytest.mark.parametrize("source", ["bundle"], indirect=True)
def test_vectors_of_another_width_are_refused(source, tiny_run, tmp_path):
    bundle = load_bundle(source)
    tables = bundle.tables | {"vectors": bundle.tables["vectors"][:, :3]}
    contents = dict(bundle.contents) | {"items.safetensors": pack_tensors(tables)}
    write_bundle(tmp_path / "bundle", bundle.manifest, contents)
    with pytest.raises(UserError, match=r"item vectors of width 3, .* a model of the same size"):
        begun(tmp_path / "bundle", tiny_run)


def test_what_the_other_has_not_begins_at_random_and_is_named(source, tiny_run, caplog):
    run = load_run(tiny_run)
    catalogue = catalogue_of(run.config, run.items)
    model = genrec.load_config(tiny_run / "config.yaml", "model.time_gaps=true").model
    build = model_builder(model, catalogue, run.items.ids.codebook_sizes)
    begin_from(source, build, catalogue, run.item_ids, seed=0)
    assert [each for each in caplog.messages if "has no gap.embedding; they begin" in each]


def test_the_command_begins_there_and_again_when_the_source_has_changed(
    command, source, tiny_run, tmp_path
):
    folder = tmp_path / "next"
    for name in ("dataset", "tokenizer"):
        shutil.copytree(tiny_run / name, folder / name)
    for name in ("embeddings.npy", "config.yaml", "manifest.json"):
        shutil.copy(tiny_run / name, folder / name)
    rate = ("--training.learning-rate", "1e-9", "--training.average", "0")
    command("train", str(folder), "--init-from", str(source), "--training.epochs", "1", *rate)
    after = load_run(folder).recommend([["i001", "i007"]])
    np.testing.assert_allclose(
        after[1], load_run(tiny_run).recommend([["i001", "i007"]])[1], atol=1e-3
    )
    entry = read_manifest(folder)["train"]
    assert fingerprint_of(source).items() <= entry["inputs"].items()
    shown, _ = command("train", str(folder))
    assert "done before" in shown


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("nowhere", "cannot be read as a bundle's manifest"), ("untrained", "is not trained: run")],
)
def test_what_cannot_be_begun_from(tmp_path, tiny_run, name, complaint):
    (tmp_path / "untrained").mkdir()
    shutil.copy(tiny_run / "config.yaml", tmp_path / "untrained")
    with pytest.raises(UserError, match=complaint):
        fingerprint_of(tmp_path / name)
