import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx

from genrec.errors import UserError
from genrec.tokenizer import Tokenizer, load_tokenizer, save_tokenizer
from genrec.tokenizer.rqvae import RqVae


@pytest.fixture(scope="module")
def tokenizer():
    """Random parameters: what is tested here needs no fitted ones."""
    params = nnx.as_pure(nnx.state(RqVae(7, 4, (5,), (6, 8), rngs=nnx.Rngs(0)), nnx.Param))
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda leaf: jax.numpy.asarray(rng.normal(size=leaf.shape), leaf.dtype), params
    )
    return Tokenizer(params, np.arange(7, dtype=np.float32), 2.0, (5,), 4, (6, 8))


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(0).normal(scale=3, size=(2500, 7)).astype(np.float32)


def perceptron(part, x):
    y = x @ part["linear"]["kernel"]
    for layer in part["hidden"].values():
        x = np.maximum(x @ layer["kernel"] + layer["bias"], 0)
    return y + x @ part["out"]["kernel"] + part["out"]["bias"]


def test_encode_and_decode_are_what_the_parameters_say(tokenizer, vectors):
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tokenizer.params)
    left = perceptron(params["encoder"], (vectors - np.arange(7)) / 2.0)
    total, codes = np.zeros((2500, 4)), []
    for codebook in params["codebooks"].values():
        codes.append(((left[:, None] - codebook[None]) ** 2).sum(-1).argmin(1))
        left, total = left - codebook[codes[-1]], total + codebook[codes[-1]]
    found = tokenizer.encode(vectors)
    assert found.dtype == np.int32
    assert np.mean(found == np.stack(codes, 1)) > 0.999  # float32 may break a near tie otherwise
    decoded = tokenizer.decode(np.stack(codes, 1))
    expected = perceptron(params["decoder"], total) * 2.0 + np.arange(7)
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, expected, rtol=1e-4, atol=1e-4)


def test_the_codes_of_the_first_levels_decode_alone(tokenizer, vectors):
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tokenizer.params)
    codes = tokenizer.encode(vectors[:50])
    expected = perceptron(params["decoder"], params["codebooks"][0][codes[:, 0]]) * 2 + np.arange(7)
    np.testing.assert_allclose(tokenizer.decode(codes[:, :1]), expected, rtol=1e-4, atol=1e-4)


def test_distances_to_every_code_of_the_last_level(tokenizer, vectors):
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tokenizer.params)
    first, last = params["codebooks"].values()
    codes = tokenizer.encode(vectors[:50])
    codes[:10, 0] = 3  # given, not the nearest
    left = perceptron(params["encoder"], (vectors[:50] - np.arange(7)) / 2.0) - first[codes[:, 0]]
    expected = ((left[:, None] - last[None]) ** 2).sum(-1)
    found = tokenizer.distances(vectors[:50], codes)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert (found[10:].argmin(1) == codes[10:, 1]).all()
    assert tokenizer.distances(vectors[:0], codes[:0]).shape == (0, 8)


def test_codes_do_not_depend_on_the_company(tokenizer, vectors):
    together = tokenizer.encode(vectors)
    assert np.array_equal(tokenizer.encode(vectors[2000:2003]), together[2000:2003])
    assert np.array_equal(tokenizer.encode(vectors.astype(np.float64)), together)


def test_no_items(tokenizer, vectors):
    codes = tokenizer.encode(vectors[:0])
    assert codes.shape == (0, 2) and codes.dtype == np.int32
    assert tokenizer.decode(codes).shape == (0, 7)


def test_vectors_of_another_width_are_refused(tokenizer):
    with pytest.raises(UserError, match=r"width 7; these have shape \(3, 8\)"):
        tokenizer.encode(np.zeros((3, 8), np.float32))


def test_saved_and_loaded_again(tmp_path, tokenizer, vectors):
    for _ in range(2):  # a second save replaces the first
        save_tokenizer(tmp_path / "tokenizer", tokenizer)
    loaded = load_tokenizer(tmp_path / "tokenizer")
    assert (loaded.scale, loaded.hidden, loaded.latent_dim) == (2.0, (5,), 4)
    assert loaded.codebook_sizes == (6, 8)
    assert np.array_equal(loaded.mean, tokenizer.mean)
    assert jax.tree.structure(loaded.params) == jax.tree.structure(tokenizer.params)
    codes = tokenizer.encode(vectors)
    assert np.array_equal(loaded.encode(vectors), codes)
    assert np.array_equal(loaded.decode(codes), tokenizer.decode(codes))


@pytest.mark.parametrize("hidden", [None, ()])
def test_without_hidden_layers_it_is_kept_too(tmp_path, vectors, hidden):
    width = 7 if hidden is None else 3
    params = nnx.to_pure_dict(nnx.state(RqVae(7, width, hidden, (6, 8), rngs=nnx.Rngs(0))))
    params["codebooks"] = {
        level: jax.random.normal(jax.random.key(level), (size, width))
        for level, size in enumerate((6, 8))
    }
    tokenizer = Tokenizer(params, np.zeros(7, np.float32), 1.0, hidden, width, (6, 8))
    save_tokenizer(tmp_path / "tokenizer", tokenizer)
    loaded = load_tokenizer(tmp_path / "tokenizer")
    assert loaded.hidden == hidden
    codes = tokenizer.encode(vectors)
    assert len(np.unique(codes)) > 4 and np.array_equal(loaded.encode(vectors), codes)
    assert np.array_equal(loaded.decode(codes), tokenizer.decode(codes))


def edit(folder, **changes):
    shapes = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**shapes, **changes}))


def truncate(folder):
    files = [path for path in (folder / "parameters").rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:100])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "holds no tokenizer"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "holds no tokenizer"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "cannot be read"),
        (lambda folder: (folder / "tokenizer.json").write_text("[]"), "cannot be read"),
        (lambda folder: shutil.rmtree(folder / "parameters"), "cannot be read"),
        (lambda folder: edit(folder, latent_dim=5), "do not have the shapes"),
        (lambda folder: edit(folder, codebook_sizes=[6, 8, 8]), "do not have the shapes"),
        (lambda folder: truncate(folder), "cannot be read"),
        (lambda folder: edit(folder, codebook_sizes="many"), "cannot be read"),
        (lambda folder: edit(folder, codebook_sizes=[]), "cannot be read"),
        (lambda folder: edit(folder, codebook_sizes=[6, -8]), "an impossible width"),
        (lambda folder: edit(folder, codebook_sizes=[1 << 62]), "an impossible width"),
        (lambda folder: edit(folder, hidden=[1] * 100_000), "does not list widths"),
        (lambda folder: edit(folder, dim=7.0), "an impossible width"),
        (lambda folder: edit(folder, scale=0), "a scale that is not above 0"),
        (lambda folder: edit(folder, scale=float("nan")), "NaN is no number"),
        (lambda folder: edit(folder, scale=None), "cannot be read"),
        (lambda folder: (folder / "tokenizer.json").write_text("[" * 100_000), "cannot be read"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path, tokenizer, damage, message):
    save_tokenizer(tmp_path / "tokenizer", tokenizer)
    damage(tmp_path / "tokenizer")
    with pytest.raises(UserError, match=message):
        load_tokenizer(tmp_path / "tokenizer")


def test_importing_touches_no_device():
    code = (
        "import genrec.tokenizer, genrec.embedding; from jax._src import xla_bridge; "
        "assert not xla_bridge._backends"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
