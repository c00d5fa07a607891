import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genrec.checkpoints import Checkpoints
from genrec.errors import UserError
from genrec.tokenizer import Objective, fit_rqvae, health, residual_kmeans, rqvae_training
from genrec.tokenizer.components import centre_and_scale, principal_components

SETTINGS = {
    "codebook_sizes": (16, 16),
    "latent_dim": 6,
    "hidden": (32,),
    "steps": 200,
    "batch_size": 64,
    "learning_rate": 3e-3,
    "objective": Objective(),
    "collapse": 0.1,
    "seed": 0,
}

NEVER_REVIVED = 2.9e-3
"""A rate of its own, so that nothing compiled with the true revival is used, nor the reverse."""


def fitted(vectors, **changes):
    tokenizer, history = fit_rqvae(vectors, **{**SETTINGS, **changes})
    codes = tokenizer.encode(vectors)
    return (
        codes,
        health(codes, tokenizer.codebook_sizes, vectors, tokenizer.decode),
        history,
    )


@pytest.fixture(scope="module")
def vectors():
    """A curved sheet in 12 dimensions, far from the origin."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(500, 5))
    return (np.tanh(hidden @ rng.normal(size=(5, 12))) + 5).astype(np.float32)


def far_away(vectors, codebook_sizes, *, seed):
    """Codebooks in which all items choose the same code."""
    books = residual_kmeans(vectors, codebook_sizes, seed=seed)
    return [np.concatenate([book[:1] * 0, book[1:] + 1e3]) for book in books]


def test_all_codes_are_used_and_training_lowers_the_error(vectors):
    codes, measured, history = fitted(vectors, learning_rate=1e-2)
    assert codes.shape == (500, 2) and codes.dtype == np.int32
    assert all(level["used"] == 1 for level in measured["levels"])
    assert measured["relative_error"] < 0.92 * history[0]["relative_error"]
    assert measured["relative_error"] == pytest.approx(history[-1]["relative_error"], rel=0.1)
    assert [record["step"] for record in history] == [50, 100, 150, 200]
    assert all(len(history[-1][key]) == 2 for key in ("used", "perplexity", "energy"))


def test_training_starts_from_residual_kmeans_of_the_principal_components(vectors):
    tokenizer, _ = fit_rqvae(vectors, **{**SETTINGS, "steps": 1})  # the warm-up's first rate is 0
    mean, scale = centre_and_scale(vectors)
    components = principal_components(vectors, 6)
    left = ((vectors - mean) / scale) @ components
    books = residual_kmeans(left, (16, 16), seed=0)
    codes = []
    for book in books:
        codes.append(((left[:, None] - book[None]) ** 2).sum(-1).argmin(1))
        left = left - book[codes[-1]]
    assert np.mean(tokenizer.encode(vectors) == np.stack(codes, 1)) > 0.999


def test_the_seed_decides(vectors):
    first, again, other = (fitted(vectors, seed=seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_dead_codes_are_revived(vectors, monkeypatch):
    monkeypatch.setattr(rqvae_training, "residual_kmeans", far_away)
    _, measured, history = fitted(vectors)
    assert history[0]["used"] == [1 / 16, 1 / 16]
    assert all(level["used"] > 0.9 for level in measured["levels"])


def test_collapse_stops_the_fit(vectors, monkeypatch):
    monkeypatch.setattr(rqvae_training, "residual_kmeans", far_away)
    monkeypatch.setattr(rqvae_training.rqvae, "revive", lambda codebook, *_: codebook)
    with pytest.raises(UserError, match="collapsed: by step 100 level 0 uses 1 of 16 codes"):
        fitted(vectors, learning_rate=NEVER_REVIVED)


@pytest.mark.parametrize("rate", [1e6, 30.0])
def test_a_rate_that_is_too_high_is_reported(vectors, rate):
    with pytest.raises(UserError, match=r"diverged|learned nothing"):
        fitted(vectors, learning_rate=rate)


@pytest.mark.parametrize(
    "objective",
    [
        Objective(ema_decay=0.95),
        Objective(gradient="rotation"),
        Objective(sinkhorn=0.01),
        Objective(noise=0.2),
    ],
    ids=lambda objective: f"{objective}",
)
def test_every_way_to_learn_improves_on_the_start(vectors, objective):
    _, measured, history = fitted(vectors, objective=objective, learning_rate=1e-2)
    assert all(level["used"] == 1 for level in measured["levels"])
    assert measured["relative_error"] < 0.95 * history[0]["relative_error"]


@pytest.mark.parametrize("objective", [Objective(), Objective(ema_decay=0.95)])
def test_residual_vector_quantization_has_no_encoder(vectors, objective):
    settings = {**SETTINGS, "hidden": None, "objective": objective}
    tokenizer, history = fit_rqvae(vectors, **settings)
    assert tokenizer.hidden is None and set(tokenizer.params) == {"codebooks"}
    assert tokenizer.latent_dim == 12
    codes = tokenizer.encode(vectors)
    error = health(codes, (16, 16), vectors, tokenizer.decode)["relative_error"]
    assert error <= history[0]["relative_error"]
    left = (vectors - vectors.mean(0, dtype=np.float64)) / tokenizer.scale
    for level, book in enumerate(map(np.asarray, jax.tree.leaves(tokenizer.params))):
        code = ((left[:, None] - book[None]) ** 2).sum(-1).argmin(1)
        assert np.mean(codes[:, level] == code) > 0.999
        left = left - book[code]


def test_dead_codes_are_revived_with_moving_averages(vectors, monkeypatch):
    monkeypatch.setattr(rqvae_training, "residual_kmeans", far_away)
    _, measured, history = fitted(vectors, objective=Objective(ema_decay=0.9))
    assert history[0]["used"] == [1 / 16, 1 / 16]
    assert all(level["used"] > 0.9 for level in measured["levels"])


def test_the_threshold_of_collapse_is_a_setting(vectors, monkeypatch):
    monkeypatch.setattr(rqvae_training, "residual_kmeans", far_away)
    monkeypatch.setattr(rqvae_training.rqvae, "revive", lambda codebook, *_: codebook)
    fitted(vectors, learning_rate=NEVER_REVIVED, collapse=0.05)
    with pytest.raises(UserError, match="collapsed"):
        fitted(vectors, learning_rate=NEVER_REVIVED, collapse=0.07)


def test_fewer_items_than_codes(vectors):
    _, measured, _ = fitted(vectors[:10])
    assert measured["distinct_share"] == 1 and measured["relative_error"] < 0.05


def test_many_equal_items(vectors):
    codes, measured, _ = fitted(np.repeat(vectors[:30], 20, axis=0))
    assert measured["distinct_tuples"] <= 30
    assert (codes.reshape(30, 20, 2) == codes.reshape(30, 20, 2)[:, :1]).all()


@pytest.mark.parametrize("count", [1, 70])
def test_nothing_to_tell_apart(vectors, count):
    codes, measured, _ = fitted(np.repeat(vectors[:1], count, axis=0))
    assert len(np.unique(codes, axis=0)) == 1 and measured["relative_error"] is None


def test_latents_wider_than_the_vectors(vectors):
    _, measured, _ = fitted(vectors[:, :4], latent_dim=9, hidden=())
    assert measured["relative_error"] < 0.2


def test_principal_components_are_those_of_the_svd(vectors):
    mean, scale = centre_and_scale(vectors)
    components = principal_components(vectors, 5)
    centred = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    np.testing.assert_allclose(mean, vectors.mean(0), rtol=1e-5)
    assert scale == pytest.approx(np.sqrt((centred**2).mean()), rel=1e-5)
    expected = np.linalg.svd(centred, full_matrices=False)[2][:5]
    np.testing.assert_allclose(np.abs(components.T @ expected.T), np.eye(5), atol=1e-4)
    strongest = np.abs(components).argmax(0)
    assert (components[strongest, np.arange(5)] > 0).all()


def test_noise_lets_codes_fit_items_that_were_not_seen():
    rng = np.random.default_rng(0)
    hidden, turn = rng.normal(size=(400, 3)), rng.normal(size=(3, 24))
    vectors = (np.tanh(hidden @ turn) + 0.5 * rng.normal(size=(400, 24))).astype(np.float32)
    seen, unseen = vectors[:200], vectors[200:]
    error = {}
    for noise in (0.0, 0.5):
        objective = Objective(noise=noise)
        settings = {"hidden": (128, 64), "learning_rate": 1e-2, "steps": 600}
        tokenizer, _ = fit_rqvae(seen, **{**SETTINGS, **settings, "objective": objective})
        rebuilt = tokenizer.decode(tokenizer.encode(unseen))
        error[noise] = np.sum((unseen - rebuilt) ** 2) / np.sum((unseen - seen.mean(0)) ** 2)
    assert error[0.5] < 0.95 * error[0.0]


def test_codes_that_serve_noise_only_are_put_to_use_in_the_end(vectors, monkeypatch):
    changes = {"codebook_sizes": (64, 64), "objective": Objective(noise=1.5)}
    _, measured, _ = fitted(vectors, **changes)
    assert all(level["used"] == 1 for level in measured["levels"])
    monkeypatch.setattr(rqvae_training, "_with_every_code_used", lambda codebooks, _: codebooks)
    _, without, _ = fitted(vectors, **changes)
    assert all(level["used"] < 1 for level in without["levels"])


def test_a_code_that_is_put_to_use_serves_the_worst_served():
    latents = np.array([[0, 0], [1, 0], [10, 0], [10, 4]], np.float32)
    books = {0: jnp.array([[0.5, 0], [10, 1], [99, 99]]), 1: jnp.array([[-0.5, 0], [50, 0.0]])}
    first, second = jax.device_get(rqvae_training._with_every_code_used(books, latents)).values()
    # Left over are 0.5, 0.5, 1 and 3: the last one gets a code of its own, and what is left over
    # then, (±0.5, 0), (0, -1) and (0, 0), has (0, -1) as the worst served.
    assert first.tolist() == [[0.5, 0], [10, 1], [10, 4]]
    assert second.tolist() == [[-0.5, 0], [0, -1]]


@pytest.mark.parametrize("objective", [Objective(noise=0.3), Objective(ema_decay=0.9)])
def test_an_interrupted_fit_ends_with_the_same_tokenizer(vectors, tmp_path, monkeypatch, objective):
    settings = {**SETTINGS, "objective": objective}
    whole, history = fit_rqvae(vectors, **settings)
    monkeypatch.setattr(rqvae_training, "_CHECKPOINT_EVERY", 100)
    check = rqvae_training._stop_if_collapsed

    def interrupt(history, *rest):
        check(history, *rest)
        if history[-1]["step"] == 150:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(rqvae_training, "_stop_if_collapsed", interrupt)
        with Checkpoints(tmp_path, {}) as checkpoints:
            fit_rqvae(vectors, **settings, checkpoints=checkpoints)
    with Checkpoints(tmp_path, {}) as checkpoints:
        assert checkpoints.latest == 100
        resumed, again = fit_rqvae(vectors, **settings, checkpoints=checkpoints)
    assert again == history
    jax.tree.map(np.testing.assert_array_equal, resumed.params, whole.params)
