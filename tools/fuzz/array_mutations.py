"""Hostile arrays and tables: .npy and Parquet files, well formed, that hold something else."""

import io
import pickle
import random
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fuzz.text_mutations import HOSTILE, PAYLOAD, damaged_json

_DTYPES = (
    "<i1",
    "<i2",
    "<i4",
    ">i4",
    "<i8",
    "<u8",
    "<f2",
    "<f4",
    ">f4",
    "<f8",
    "<c16",
    "|b1",
    "<U3",
)
_SHAPES = (
    "(1000000000000,)",
    "(1000000, 1000000, 1000)",
    f"({2**63}, 2)",
    f"({2**64},)",
    "(-1,)",
    "(-5, -5)",
    "(0,)",
    "()",
    "(0, 1000000000000)",
    "(3, 0)",
    "(1.5,)",
    "('a',)",
    "None",
    "(True, 2)",
    "[4]",
)
_HEADERS = (
    "__import__('os').system('touch " + PAYLOAD + "')",
    "{'descr': '<f4'}",
    "{}",
    "[" * 5000,
    "(" * 200 + ")" * 200,
    "{'descr': [('a', '<f4'), ('b', '|O')], 'fortran_order': False, 'shape': (3,)}",
    "{'descr': [('a', '<f4'), ('a', '<f4')], 'fortran_order': False, 'shape': (3,)}",
    "{'descr': ('<f4', (100000, 100000)), 'fortran_order': False, 'shape': (3,)}",
    "{'descr': '<f4', 'fortran_order': 3, 'shape': (3,)}",
    "{'descr': '<V1000000000', 'fortran_order': False, 'shape': (3,)}",
    "{'descr': 'nonsense', 'fortran_order': False, 'shape': (3,)}",
    "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (3,)}",
    "{'descr': 1e999, 'fortran_order': False, 'shape': (3,)}",
    "1" + "+1" * 3000,
    "9" * 6000,
)


class Bomb:
    """Leaves a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {PAYLOAD}",)


def npy(header: str, data: bytes, version: int = 1) -> bytes:
    """A .npy file with any header."""
    text = header.encode("utf-8", "surrogatepass") + b"\n"
    if len(text) > 65_535:
        version = 2
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + data


def pickled_npy() -> bytes:
    """A .npy file of objects, which runs code where pickles are allowed."""
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    return npy(header, pickle.dumps(np.array([Bomb()], object), protocol=2))


def damaged_npy(rng: random.Random, contents: bytes) -> bytes:
    """A .npy file with other values, another type or shape, or another header."""
    try:
        array = np.load(io.BytesIO(contents))
    except (ValueError, OSError, EOFError):
        return pickled_npy()
    data, way = array.tobytes(), rng.random()
    if way < 0.08:
        return pickled_npy()
    if way < 0.12:
        return pickle.dumps(Bomb())
    if way < 0.3:
        return npy(rng.choice(_HEADERS), data, rng.choice((1, 1, 1, 2, 3, 9)))
    if way < 0.5:
        descr = repr(array.dtype.str) if rng.random() < 0.7 else repr(rng.choice(_DTYPES))
        shape = rng.choice(_SHAPES)
        order = rng.random() < 0.2
        return npy(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}", data)
    if way < 0.55:
        stream = io.BytesIO()
        np.savez_compressed(stream, array, np.zeros(1 << 22))
        return stream.getvalue()
    return _saved(_other(rng, array))


def _other(rng: random.Random, array: np.ndarray) -> np.ndarray:
    """An array with other values, or of another type or shape."""
    way = rng.randrange(7)
    if way == 0:
        with np.errstate(all="ignore"):
            return array.astype(rng.choice(_DTYPES))
    if way == 1:
        return array[: rng.choice((0, 1, len(array) - 1))]
    if way == 2:
        return np.concatenate([array, array[: rng.choice((1, len(array)))]])
    if way == 3:
        return np.asfortranarray(array) if array.ndim > 1 else array[::-1]
    if way == 4:
        return array.reshape(-1) if array.ndim > 1 else array[:, None]
    array = array.copy()
    flat = array.reshape(-1)
    if len(flat):
        some = [rng.randrange(len(flat)) for _ in range(rng.choice((1, 1, 3, len(flat))))]
        with np.errstate(all="ignore"):
            if np.issubdtype(array.dtype, np.floating):
                values = (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 0.0)
                flat[some] = np.array(rng.choice(values)).astype(array.dtype)
            else:
                info = np.iinfo(array.dtype)
                flat[some] = rng.choice((info.min, info.max, 0, 1, len(flat), info.max // 2))
    return array


def _saved(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


_KINDS = (
    pa.int8(),
    pa.int32(),
    pa.int64(),
    pa.uint64(),
    pa.float32(),
    pa.float64(),
    pa.string(),
    pa.large_string(),
    pa.binary(),
    pa.bool_(),
    pa.date32(),
    pa.timestamp("us", "UTC"),
    pa.timestamp("ns"),
    pa.decimal128(38, 9),
    pa.list_(pa.int32()),
    pa.list_(pa.string()),
    pa.large_list(pa.int64()),
    pa.list_(pa.list_(pa.int32())),
    pa.struct([("a", pa.int32()), ("b", pa.string())]),
    pa.map_(pa.string(), pa.int32()),
    pa.dictionary(pa.int32(), pa.string()),
    pa.null(),
)


def damaged_parquet(rng: random.Random, contents: bytes) -> bytes:
    """A Parquet file with other columns, types, values, rows or metadata."""
    try:
        table = pq.read_table(io.BytesIO(contents))
    except (OSError, pa.ArrowException):
        return b"PAR1" + rng.randbytes(100) + b"PAR1"
    for _ in range(rng.choice((1, 1, 1, 2))):
        try:
            table = rng.choice(_TABLES)(rng, table)
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            continue
    stream = io.BytesIO()
    options: dict[str, Any] = {"compression": rng.choice(("none", "zstd", "gzip", "snappy"))}
    try:
        pq.write_table(table, stream, **options)
    except (pa.ArrowException, ValueError):
        return contents
    return stream.getvalue()


def _without(rng: random.Random, table: pa.Table) -> pa.Table:
    return table.remove_column(rng.randrange(table.num_columns))


def _twice(rng: random.Random, table: pa.Table) -> pa.Table:
    index = rng.randrange(table.num_columns)
    name = rng.choice((table.column_names[index], "", "\x00", "a" * 5000, "../x", "Item"))
    return table.append_column(name, table.column(index))


def _renamed(rng: random.Random, table: pa.Table) -> pa.Table:
    names = list(table.column_names)
    names[rng.randrange(len(names))] = rng.choice(names)
    return table.rename_columns(names)


def _of_kind(rng: random.Random, table: pa.Table) -> pa.Table:
    """A column of another type: its own values where these can be turned, else none or others."""
    index, kind = rng.randrange(table.num_columns), rng.choice(_KINDS)
    column = table.column(index)
    try:
        changed = column.cast(kind)
    except pa.ArrowException:
        changed = pa.nulls(table.num_rows, kind)
    return table.set_column(index, table.column_names[index], changed)


def _nulls(rng: random.Random, table: pa.Table) -> pa.Table:
    index = rng.randrange(table.num_columns)
    column = table.column(index)
    values = column.to_pylist()
    for _ in range(rng.choice((1, 3, len(values)))):
        if values:
            values[rng.randrange(len(values))] = None
    return table.set_column(index, table.column_names[index], pa.array(values, column.type))


def _values(rng: random.Random, table: pa.Table) -> pa.Table:
    """Some cells, or elements of lists, are hostile, as far as the type holds them."""
    index = rng.randrange(table.num_columns)
    column = table.column(index)
    values, kind = column.to_pylist(), column.type
    inner = kind.value_type if pa.types.is_list(kind) else kind
    fitting = [value for value in (*HOSTILE, 2**31 - 1, -(2**31), 127) if _fits(value, inner)]
    for _ in range(rng.choice((1, 1, 3))):
        if not values or not fitting:
            break
        row = rng.randrange(len(values))
        if pa.types.is_list(kind):
            some = list(values[row] or [])
            way = rng.randrange(4)
            if way == 0 or not some:
                some = [*some, rng.choice(fitting)]
            elif way == 1:
                some[rng.randrange(len(some))] = rng.choice(fitting)
            elif way == 2:
                some = rng.choice(([], some[:-1], some * 50))
            else:
                some[rng.randrange(len(some))] = None
            values[row] = some
        else:
            values[row] = rng.choice(fitting)
    return table.set_column(index, table.column_names[index], pa.array(values, kind))


def _fits(value: Any, kind: pa.DataType) -> bool:
    if pa.types.is_map(kind):  # Arrow aborts where a key is missing
        return False
    try:
        pa.array([value], kind)
        return not isinstance(value, str) or value.encode() is not None
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return False


def _rows(rng: random.Random, table: pa.Table) -> pa.Table:
    count = table.num_rows
    way = rng.randrange(5)
    if way == 0:
        return table.slice(0, rng.choice((0, 1, max(count - 1, 0))))
    if way == 1:
        return pa.concat_tables([table, table.slice(0, rng.choice((1, count)))])
    if way == 2:
        return table.take(list(reversed(range(count))))
    if way == 3:
        return table.select([])
    return table.take([rng.randrange(count)] * rng.choice((count, 100_000)))


def _metadata(rng: random.Random, table: pa.Table) -> pa.Table:
    metadata = dict(table.schema.metadata or {b"x": b"{}"})
    key = rng.choice(list(metadata))
    way = rng.randrange(6)
    if way == 0:
        del metadata[key]
    elif way == 1:
        return table.replace_schema_metadata(None)
    elif way == 2:
        metadata[key] = rng.randbytes(20)
    else:
        metadata[key] = damaged_json(rng, metadata[key])
    return table.replace_schema_metadata(metadata)


_TABLES: tuple[Callable[[random.Random, pa.Table], pa.Table], ...] = (
    _without,
    _twice,
    _renamed,
    _of_kind,
    _of_kind,
    _nulls,
    _values,
    _values,
    _values,
    _rows,
    _metadata,
    _metadata,
)
