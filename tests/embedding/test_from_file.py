import numpy as np
import pytest

from genrec.embedding import embed_file
from genrec.errors import UserError

ROWS = np.array([4, 0, 2])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_rows_of_the_catalogue_are_picked(tmp_path, dtype):
    source = np.arange(10).reshape(5, 2).astype(dtype)
    np.save(tmp_path / "vectors.npy", source)
    vectors = embed_file(tmp_path / "vectors.npy", ROWS, 5)
    assert vectors.dtype == np.float32 and vectors.tolist() == [[8, 9], [0, 1], [4, 5]]
    assert not isinstance(vectors, np.memmap)


def test_only_the_chosen_rows_must_be_finite(tmp_path):
    source = np.zeros((5, 2), np.float32)
    source[1, 0] = np.nan
    np.save(tmp_path / "vectors.npy", source)
    assert embed_file(tmp_path / "vectors.npy", ROWS, 5).shape == (3, 2)
    source[2, 0] = np.inf
    np.save(tmp_path / "vectors.npy", source)
    with pytest.raises(UserError, match="1 vectors are not finite, the first in row 2"):
        embed_file(tmp_path / "vectors.npy", ROWS, 5)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 2), np.float32), "has 4 rows but the items file has 5"),
        (np.zeros(5, np.float32), r"has shape \(5,\): it must be"),
        (np.zeros((5, 0), np.float32), r"has shape \(5, 0\): it must be"),
        (np.zeros((5, 2), np.int64), "holds int64"),
        (np.full((5, 2), None, dtype=object), r"not a \.npy file of numbers"),
    ],
)
def test_a_wrong_array_is_refused(tmp_path, array, message):
    np.save(tmp_path / "vectors.npy", array, allow_pickle=True)
    with pytest.raises(UserError, match=message):
        embed_file(tmp_path / "vectors.npy", ROWS, 5)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        embed_file(tmp_path / "none.npy", ROWS, 5)
    (tmp_path / "text.npy").write_text("0.1 0.2")
    with pytest.raises(UserError, match=r"not a \.npy file"):
        embed_file(tmp_path / "text.npy", ROWS, 5)
    (tmp_path / "empty.npy").touch()
    with pytest.raises(UserError, match=r"not a \.npy file"):
        embed_file(tmp_path / "empty.npy", ROWS, 5)
    with pytest.raises(UserError, match=r"not a \.npy file"):
        embed_file(tmp_path, ROWS, 5)
    np.savez(tmp_path / "two.npz", a=np.zeros((5, 2)), b=np.zeros((5, 2)))
    with pytest.raises(UserError, match=r"not a \.npy file of numbers, as np.save writes it"):
        embed_file(tmp_path / "two.npz", ROWS, 5)
