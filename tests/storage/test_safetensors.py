"""Arrays in the safetensors format, against the library of that name."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from genrec.errors import UserError
from genrec.storage.safetensors import write_tensors
from tensors import read_tensors

TENSORS = {
    "encoder.0.kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "none": np.zeros((0, 4), np.int32),
    "scalar": np.array(7, np.int64),
    "flags": np.array([True, False, True]),
    "codes": np.arange(5, dtype=np.uint8),
    "wide": np.arange(3, dtype=np.uint16),
}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_the_library_reads_what_is_written(tmp_path):
    write_tensors(tmp_path / "x", TENSORS)
    assert_same(load_file(tmp_path / "x"), TENSORS)
    assert_same(read_tensors(tmp_path / "x"), TENSORS)


def test_what_is_said_of_all(tmp_path):
    write_tensors(tmp_path / "x", TENSORS, metadata={"format": "pt"})
    with safe_open(tmp_path / "x", "numpy") as file:
        assert file.metadata() == {"format": "pt"}
    assert_same(load_file(tmp_path / "x"), TENSORS)
    assert_same(read_tensors(tmp_path / "x"), TENSORS)


def test_what_the_library_writes_is_read(tmp_path):
    save_file(TENSORS, tmp_path / "x", metadata={"format": "other"})
    assert_same(read_tensors(tmp_path / "x"), TENSORS)


def test_half_precision_is_kept(tmp_path):
    array = np.asarray(jnp.array([1.5, -2.25, 3e20], jnp.bfloat16))
    write_tensors(tmp_path / "x", {"half": array, "strided": array[::2]})
    assert_same(read_tensors(tmp_path / "x"), {"half": array, "strided": array[::2]})


def made(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def told(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"a": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"short",
        made(b"{}", length=1 << 62),
        made(b"no json"),
        made([1]),
        made({"a": 1}),
        made(told(dtype="PICKLE"), bytes(4)),
        made(told(), bytes(3)),
        made(told(), bytes(5)),
        made(told(shape=(1 << 60,)), bytes(4)),
        made(told(shape=(-1,)), bytes(4)),
        made(told(offsets=(4, 8)), bytes(8)),
        made(told(shape=("x",)), bytes(4)),
        made(b"[" * 100_000),
    ],
)
def test_files_that_are_not_as_they_should_be(tmp_path, contents):
    (tmp_path / "x").write_bytes(contents)
    with pytest.raises(UserError, match="x cannot be read"):
        read_tensors(tmp_path / "x")


@pytest.mark.parametrize(
    ("header", "data"),
    [
        (told(shape=("x", 1 << 30)), bytes(4)),  # a text of a gigabyte
        (told(shape=([0], 1 << 30)), bytes(4)),
        (told(shape=(0, 1 << 70), offsets=(0, 0)), b""),
        (told(shape=(0,) * 65, offsets=(0, 0)), b""),
        (told(shape=(True,)), bytes(4)),
        (told(shape=(-1,), offsets=(0, -4)), b""),
        (told(offsets=(0.0, 4.0)), bytes(4)),
        (told(dtype="BOOL", offsets=(0, 1)), b"\x02"),
        (told(shape=(1,), offsets=(0, 4)) | {"b": told()["a"]}, bytes(4)),  # both in one place
    ],
)
def test_headers_that_ask_for_the_impossible(tmp_path, header, data):
    (tmp_path / "x").write_bytes(made(header, data))
    with pytest.raises(UserError, match="x cannot be read"):
        read_tensors(tmp_path / "x")
