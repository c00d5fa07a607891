import numpy as np
import pytest

from genrec.tokenizer.vectors import in_chunks, sample_rows


@pytest.mark.parametrize("count", [0, 1, 4096, 5000])
def test_chunks_are_the_rows_in_one_shape(tmp_path, count):
    rows = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r") if count else rows
    for source in (rows, rows.astype(np.float64), mapped, mapped[:, :2]):
        chunks = list(in_chunks(source))
        assert len({chunk.shape for chunk, _ in chunks}) <= 1
        found = np.concatenate([np.zeros((0, source.shape[1])), *(c[:n] for c, n in chunks)])
        np.testing.assert_allclose(found, source, rtol=1e-6)
    assert np.array_equal(mapped, rows)  # still readable


def test_what_was_written_to_a_private_mapping_stays(tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros((6000, 2), np.float32))
    private = np.load(tmp_path / "rows.npy", mmap_mode="c")
    private[5, 1] = 8
    assert sum(chunk.sum() for chunk, _ in in_chunks(private)) == 8
    assert private[5, 1] == 8


def test_a_sample_is_made_of_different_rows_and_only_of_many():
    rows = np.arange(5000, dtype=np.float32)[:, None]
    sample = sample_rows(rows, (2, 4), seed=1)
    assert len(np.unique(sample)) == 4096 and (np.diff(sample[:, 0]) > 0).all()
    assert np.array_equal(sample, sample_rows(rows, (2, 4), seed=1))
    assert np.array_equal(sample_rows(rows, (5,), seed=1), rows)
