import faiss
import jax
import numpy as np
import pytest

from genrec.errors import UserError
from genrec.tokenizer import fit_opq, health, load_tokenizer, save_tokenizer


@pytest.fixture(scope="module")
def vectors():
    """Three clusters of four, in three planes of a space that is turned and off the origin."""
    rng = np.random.default_rng(0)
    which = rng.integers(0, 4, (800, 3))
    corners = np.array([[4, 4], [4, -4], [-4, 4], [-4, -4]])
    scales = np.array([3.0, 2.0, 1.0])
    planes = (corners[which] * scales[None, :, None]).reshape(800, 6)
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    noise = 0.05 * rng.normal(size=(800, 6))
    return which, ((planes + noise) @ turn + 7).astype(np.float32)


def test_it_is_a_product_of_codebooks_after_a_rotation(vectors):
    _, x = vectors
    tokenizer = fit_opq(x, codebook_sizes=(4, 4, 4), seed=0)
    params = jax.tree.map(np.asarray, tokenizer.params)
    turn = params["encoder"]["linear"]["kernel"]
    np.testing.assert_allclose(turn.T @ turn, np.eye(6), atol=1e-4)
    np.testing.assert_array_equal(params["decoder"]["linear"]["kernel"], turn.T)
    z = ((x - tokenizer.mean) / tokenizer.scale) @ turn
    parts = z.reshape(800, 3, 2)
    variance = parts.var(axis=0).sum(axis=1)
    assert (np.diff(variance) <= 0).all()
    codes = tokenizer.encode(x)
    for level, book in params["codebooks"].items():
        own = book.reshape(4, 3, 2)
        assert not np.delete(own, level, axis=1).any()
        distances = ((parts[:, level, None] - own[None, :, level]) ** 2).sum(-1)
        assert np.mean(codes[:, level] == distances.argmin(1)) > 0.999


def test_the_rotation_is_worth_it(vectors):
    _, x = vectors
    tokenizer = fit_opq(x, codebook_sizes=(4, 4, 4), seed=0)
    error = health(tokenizer.encode(x), (4, 4, 4), x, tokenizer.decode)["relative_error"]
    plain = faiss.ProductQuantizer(6, 3, 2)
    plain.train(x)  # pyright: ignore[reportCallIssue]
    rebuilt = plain.decode(plain.compute_codes(x))  # pyright: ignore[reportCallIssue]
    spread = np.sum((x - x.mean(axis=0)) ** 2)
    assert error < 0.6 * np.sum((x - rebuilt) ** 2) / spread


@pytest.mark.parametrize("sizes", [(4,), (3, 5), (2, 16, 7, 3)])
def test_sizes_that_differ_and_do_not_divide_the_width(tmp_path, vectors, sizes):
    x = vectors[1][:, :5]
    tokenizer = fit_opq(x, codebook_sizes=sizes, seed=0)
    codes = tokenizer.encode(x)
    assert (codes.max(axis=0) < sizes).all() and codes.shape == (800, len(sizes))
    assert health(codes, sizes, x, tokenizer.decode)["relative_error"] < 0.75
    save_tokenizer(tmp_path / "tokenizer", tokenizer)
    assert np.array_equal(load_tokenizer(tmp_path / "tokenizer").encode(x), codes)


def test_the_seed_decides(vectors):
    first, again = (fit_opq(vectors[1], codebook_sizes=(8, 8), seed=3) for _ in range(2))
    assert all(
        np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(first.params), jax.tree.leaves(again.params), strict=True)
    )


@pytest.mark.parametrize("count", [1, 3, 60])
def test_few_items_and_equal_ones(vectors, count):
    few = fit_opq(vectors[1][:count], codebook_sizes=(16, 16), seed=0)
    assert np.isfinite(few.decode(few.encode(vectors[1][:count]))).all()
    same = fit_opq(np.ones((count, 4), np.float32), codebook_sizes=(4, 4), seed=0)
    assert len(np.unique(same.encode(np.ones((count, 4), np.float32)), axis=0)) == 1


def test_more_levels_than_columns(vectors):
    with pytest.raises(UserError, match="width 6 cannot be cut into 7 parts"):
        fit_opq(vectors[1], codebook_sizes=(2,) * 7, seed=0)
