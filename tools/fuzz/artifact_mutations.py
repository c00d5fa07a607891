"""Damages what stands inside of files: headers of arrays, compressed data, files of archives."""

import ast
import contextlib
import gzip
import io
import json
import random
import zipfile

from fuzz.mutations import blindly, mutated
from fuzz.text_mutations import damaged_json, damaged_lines


def damaged(rng: random.Random, name: str, contents: bytes) -> bytes:
    """The contents of a damaged file; two of five are damaged blindly."""
    if rng.random() < 0.4:
        return blindly(rng, contents)
    try:
        return _damaged_within(rng, name, contents)
    except (RecursionError, OverflowError, ValueError):  # of what is damaged twice
        return blindly(rng, contents)


def _damaged_within(rng: random.Random, name: str, contents: bytes) -> bytes:
    if name.endswith(".safetensors"):
        length = int.from_bytes(contents[:8], "little")
        header = damaged_json(rng, contents[8 : 8 + length])
        return len(header).to_bytes(8, "little") + header + contents[8 + length :]
    if name.endswith(".gz"):
        inner = damaged(rng, name.removesuffix(".gz"), gzip.decompress(contents))
        return gzip.compress(inner, 1, mtime=0)
    if name.endswith((".zip", ".whl")):
        return _damaged_archive(rng, contents)
    if name == "meta_Beauty.json":
        return _damaged_literals(rng, contents)
    if name == "reviews_Beauty_5.json":
        return damaged_lines(rng, contents)
    return mutated(rng, "x.json" if contents[:1] == b"{" else name, contents)


def _damaged_archive(rng: random.Random, contents: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(contents)) as old, zipfile.ZipFile(buffer, "w") as new:
        names = old.namelist()
        chosen = rng.choice(names)
        for name in names:
            inner = old.read(name)
            how = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
            if name == chosen:
                change = rng.randrange(4)
                if change == 0:
                    name = rng.choice(("../../outside.json", "/etc/passwd", f"{name}/", name[1:]))
                elif change == 1:
                    inner += bytes(200_000_000) if rng.random() < 0.05 else bytes(1_000_000)
                else:
                    inner = blindly(rng, inner)
            new.writestr(name, inner, how)
    return buffer.getvalue()


def _damaged_literals(rng: random.Random, contents: bytes) -> bytes:
    """Lines of Python literals that hold what JSON could, or what Python alone can."""
    rows = [ast.literal_eval(line.decode()) for line in contents.splitlines()]
    lines = damaged_lines(rng, "\n".join(map(json.dumps, rows)).encode()).splitlines()
    changed = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            line = repr(json.loads(line)).encode("utf-8", "surrogatepass")
        if rng.random() < 0.2:
            line = line.replace(b": ", b": " + rng.choice(_LITERALS), 1)
        changed.append(line)
    return b"\n".join(changed)


_LITERALS = (
    b"'+'" * 50_000,
    b"-" * 100_000,
    b"(" * 5000,
    b"1" + b"+1" * 100_000 + b", 'x': ",
    b"__import__('os').system('touch genrec_fuzz_payload_ran') or ",
    b"{[]: 1}, 'x': ",
    b"b'bytes', 'x': ",
    b"1j, 'x': ",
    b"..., 'x': ",
    b"'\\d', 'x': ",
    b"f'{1}', 'x': ",
    b"lambda: ",
    b"not " * 1000,
)
