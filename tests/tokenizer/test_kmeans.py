import itertools

import numpy as np
import pytest

from genrec.tokenizer import fit_rqkmeans, health, residual_kmeans
from genrec.tokenizer.kmeans import distinct_rows, nearest


def squared_distances(a, b):
    return ((a[:, None, :].astype(np.float64) - b[None, :, :]) ** 2).sum(-1)


def test_nearest_is_brute_force():
    rng = np.random.default_rng(0)
    codebook, vectors = rng.normal(size=(9, 5)), rng.normal(size=(40, 5))
    assert np.array_equal(
        nearest(codebook, vectors), squared_distances(vectors, codebook).argmin(1)
    )


def test_every_level_lowers_the_error():
    vectors = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)
    residuals, errors = vectors.astype(np.float64), [(vectors**2).sum()]
    codebooks = residual_kmeans(vectors, (16, 16, 32), seed=0)
    assert [len(codebook) for codebook in codebooks] == [16, 16, 32]
    for codebook in codebooks:
        assert codebook.dtype == np.float32
        residuals = residuals - codebook[squared_distances(residuals, codebook).argmin(1)]
        errors.append((residuals**2).sum())
    assert all(after < 0.9 * before for before, after in itertools.pairwise(errors))


def test_all_points_are_used_and_nothing_is_printed(capfd):
    rng = np.random.default_rng(0)
    clusters = [rng.normal(size=(3000, 4)) - 50, rng.normal(size=(2000, 4)) + 50]
    found = residual_kmeans(np.concatenate(clusters), (2,), seed=3)[0]
    few = residual_kmeans(rng.normal(size=(20, 4)), (10,), seed=3)
    means = np.stack([cluster.mean(0) for cluster in clusters])
    np.testing.assert_allclose(found[np.argsort(found[:, 0])], means, atol=1e-3)
    assert len(few[0]) == 10
    assert capfd.readouterr() == ("", "")


def test_the_seed_decides():
    vectors = np.random.default_rng(0).normal(size=(300, 6))
    first, again, other = (residual_kmeans(vectors, (16, 16), seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("copies", [1, 40])
def test_fewer_distinct_vectors_than_codes(copies):
    distinct = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    first, second = residual_kmeans(np.repeat(distinct, copies, axis=0), (8, 8), seed=0)
    assert {tuple(row) for row in distinct.tolist()} <= {tuple(row) for row in first.tolist()}
    for codebook in (first, second):
        assert codebook.shape == (8, 3) and np.isfinite(codebook).all()
        assert len(np.unique(codebook, axis=0)) == 8
    assert np.abs(second).max() < 1e-3  # nothing is left over for it


def test_input_is_left_alone():
    vectors = np.ones((4, 2), np.float32)
    residual_kmeans(vectors, (2, 2), seed=0)
    assert (vectors == 1).all()


def test_distinct_rows():
    rows = np.array([[1, 2], [0, 1], [1, 2], [3, 3], [0, 1]], np.float32)
    assert distinct_rows(rows).tolist() == [[1, 2], [0, 1], [3, 3]]


def test_as_a_tokenizer_it_quantizes_the_vectors_themselves():
    vectors = (np.random.default_rng(0).normal(size=(500, 6)) * 3 + 8).astype(np.float32)
    tokenizer = fit_rqkmeans(vectors, codebook_sizes=(16, 4, 9), seed=2)
    codes = tokenizer.encode(vectors)
    # The reference works in the vectors' own scale.
    left = vectors - vectors.mean(axis=0)
    total, errors = (left**2).sum(), []
    for level, book in enumerate(residual_kmeans(left, (16, 4, 9), seed=2)):
        code = squared_distances(left, book).argmin(1)
        assert np.mean(codes[:, level] == code) > 0.99
        left = left - book[code]
        errors.append((left**2).sum() / total)
    measured = health(codes, (16, 4, 9), vectors, tokenizer.decode)
    found = [level["relative_error"] for level in measured["levels"]]
    np.testing.assert_allclose(found, errors, rtol=0.02)


def test_of_many_vectors_a_sample_is_enough(monkeypatch):
    vectors = np.random.default_rng(0).normal(size=(6000, 3)).astype(np.float32)
    sizes = []

    def counted(rows, codebook_sizes, *, seed):
        sizes.append(len(rows))
        return residual_kmeans(rows, codebook_sizes, seed=seed)

    monkeypatch.setattr("genrec.tokenizer.kmeans.residual_kmeans", counted)
    tokenizer = fit_rqkmeans(vectors, codebook_sizes=(4, 4), seed=0)
    assert sizes == [4096]
    assert health(tokenizer.encode(vectors), (4, 4), vectors, tokenizer.decode)["items"] == 6000
