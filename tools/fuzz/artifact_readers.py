"""Readers of checkpoints, bundles, exports and the official files of known data sets.

Checksums catch whatever is changed in a checkpoint or a bundle; so for most inputs they are made to
fit what was changed, as an attacker would do. A bundle's programs are left alone: they are
programs, see docs/reliability.md.
"""

import contextlib
import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from fuzz.artifact_mutations import damaged
from fuzz.workers import Reader
from genrec.bundle import load_bundle
from genrec.bundle.indexes import pack_index
from genrec.bundle.storage import manifest_text, pack_names, write_bundle
from genrec.checkpoints import Checkpoints
from genrec.cli.console import hush
from genrec.data.known import known_source
from genrec.storage.safetensors import pack_tensors, parse_tensors, write_tensors
from genrec.tokenizer import Tokenizer, load_tokenizer, save_tokenizer
from genrec.tokenizer.rqvae import RqVae

hush()  # as commands do
STATE = {"params": {"kernel": np.ones((3, 2), np.float32)}}
ITEMS, LEVELS, WIDTH = 12, 3, 4
_BROKEN = (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError)
"""Raised where a manifest is so damaged that no checksums can be put into it."""


def _apart(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """Makes the files in a process of its own: JAX and Faiss would leave threads behind."""

    def made(folder: Path) -> None:
        pid = os.fork()
        if not pid:
            status = 1
            try:
                make(folder)
                status = 0
            finally:
                os._exit(status)
        if os.waitpid(pid, 0)[1]:
            raise RuntimeError(f"{make.__name__} failed")

    return made


def _alias(folder: Path) -> None:
    """Puts files that Orbax names at random under names that are always the same."""
    blocks = sorted(folder.rglob("d/*"), key=lambda path: (path.parent, path.stat().st_size))
    names = {f"block-{n}": path.relative_to(folder).as_posix() for n, path in enumerate(blocks)}
    for alias, name in names.items():
        shutil.copy(folder / name, folder / alias)
    (folder / "names.json").write_text(json.dumps(names))


def _unalias(folder: Path) -> None:
    for alias, name in json.loads((folder / "names.json").read_text()).items():
        (folder / name).write_bytes((folder / alias).read_bytes())


def make_checkpoint(folder: Path) -> None:
    with Checkpoints(folder, {"seed": 0}) as checkpoints:
        state = jax.tree.map(jnp.asarray, STATE)
        checkpoints.save(1, state, {"epoch": 0}, {"ndcg@10": 0.5})
    _alias(folder)


def read_checkpoint(folder: Path) -> None:
    _unalias(folder)
    with Checkpoints(folder) as checkpoints:
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), STATE)
        checkpoints.restore(checkpoints.best, like)


def reseal_checkpoint(folder: Path) -> None:
    _unalias(folder)
    path = folder / "1" / "about.json"
    with contextlib.suppress(*_BROKEN):
        about = json.loads(path.read_bytes())
        about.pop("sha256", None)
        for name in about["files"]:
            file = folder / "1" / name
            if ".." not in name and file.is_file():
                about["files"][name] = hashlib.sha256(file.read_bytes()).hexdigest()
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
        path.write_text(json.dumps(about | {"sha256": digest}))


def make_tokenizer(folder: Path) -> None:
    params = nnx.as_pure(nnx.state(RqVae(3, 2, (2,), (2, 2), rngs=nnx.Rngs(0)), nnx.Param))
    save_tokenizer(folder, Tokenizer(params, np.zeros(3, np.float32), 1.0, (2,), 2, (2, 2)))
    _alias(folder)


def read_tokenizer(folder: Path) -> None:
    _unalias(folder)
    load_tokenizer(folder)


def make_bundle(folder: Path) -> None:
    """One that holds all that a bundle may, but for its programs, which are none."""
    rng = np.random.default_rng(0)

    def numbers(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    def index(vectors: np.ndarray) -> bytes:
        made = faiss.index_factory(vectors.shape[1], "SQ8", faiss.METRIC_INNER_PRODUCT)
        made.train(vectors)  # pyright: ignore[reportCallIssue]
        made.add(vectors)  # pyright: ignore[reportCallIssue]
        return pack_index(made)

    codes = np.stack([np.arange(ITEMS) // 4, np.arange(ITEMS) % 4, np.zeros(ITEMS)], 1)
    tables = {
        "codes": codes.astype(np.int32),
        "counts": np.arange(ITEMS),
        "seen": np.arange(ITEMS) > 0,
        "open": np.arange(ITEMS - 1, dtype=np.int32),
        "vectors": numbers(ITEMS, WIDTH),
    }
    tensors = {
        "input.mean": numbers(2 * WIDTH),
        "input.scale": np.array(1, np.float32),
        "content.mean": numbers(WIDTH),
        "content.norm": np.array(1, np.float32),
        "consumed.mean": numbers(WIDTH),
        "consumed.norm": np.array(1, np.float32),
        "lenders": np.arange(3, dtype=np.int32),
    }
    names = [f"i{n}" for n in range(ITEMS)]
    contents = {
        "weights.safetensors": pack_tensors({"codes.0.embedding": numbers(4, WIDTH)}),
        "items.safetensors": pack_tensors(tables),
        "items.json.gz": pack_names(names, [f"Film {n}" for n in range(ITEMS)]),
        "tokenizer.safetensors": pack_tensors(tensors),
        "content.safetensors": index(numbers(ITEMS, WIDTH)),
        "consumed.safetensors": index(numbers(3, WIDTH)),
        "programs/recommend-8.bin": b"none",
    }
    shapes = {"codes": [[64, "|u1"]] * LEVELS, "items": 64, "fan_out": [4] * LEVELS}
    answers = {
        "beam": 5,
        "batch_size": 4,
        "max_history": 8,
        "unknown_items": "refuse",
        "users": False,
        "look_ahead": True,
        "named": [8],
        "shapes": shapes,
    }
    content_part = {
        "files": ["consumed.safetensors"],
        "width": WIDTH,
        "cooccurrence": 1.0,
        "collisions": "code",
        "codebook_sizes": [4, 4],
    }
    manifest = {"items": ITEMS, "added": 0, "answers": answers, "newcomers": content_part}
    write_bundle(folder, manifest, contents)


def read_bundle(folder: Path) -> None:
    bundle = load_bundle(folder)
    _ = bundle.state, bundle.titles, bundle.by_popularity
    some = bundle.item_ids[: 1 + (len(bundle.item_ids) > 1)]
    bundle.restricted(allow=bundle.item_ids)
    bundle.names.find([*some, bundle.titles[some[0]]])
    if bundle.manifest["newcomers"] is not None:
        bundle.similar(some, k=3)
        bundle.newcomers.towards(np.zeros((1, bundle.newcomers.width), np.float32))


def reseal_bundle(folder: Path) -> None:
    path = folder / "manifest.json"
    with contextlib.suppress(*_BROKEN):
        manifest: Any = json.loads(path.read_bytes())
        for name, entry in manifest["files"].items():
            file = folder / name
            if ".." not in name and file.is_file():
                contents = file.read_bytes()
                entry["sha256"], entry["bytes"] = (
                    hashlib.sha256(contents).hexdigest(),
                    len(contents),
                )
        path.write_bytes(manifest_text(manifest).encode())


def make_parameters(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_tensors(folder / "model.safetensors", {"a.kernel": kernel, "b": kernel[0]})
    codes = np.zeros((4, 2), np.int32)
    write_tensors(folder / "items.safetensors", {"codes": codes, "seen": codes[:, 0] > 0})


def read_parameters(folder: Path) -> None:
    for name in ("model.safetensors", "items.safetensors"):
        parse_tensors((folder / name).read_bytes(), folder / name)


REVIEWS, META = "reviews_Beauty_5.json", "meta_Beauty.json"


def make_amazon(folder: Path) -> None:
    """The files unpacked, which are read as they are."""
    folder.mkdir(exist_ok=True)
    reviews = [
        {"reviewerID": f"A{n}", "asin": f"B{n % 3}", "overall": 5.0, "unixReviewTime": 1390000000}
        for n in range(6)
    ]
    items = [
        {"asin": f"B{n}", "title": "Été &amp; Co", "price": 4.5, "categories": [["a", "b"], ["c"]]}
        for n in range(3)
    ]
    (folder / REVIEWS).write_text("".join(f"{json.dumps(row)}\n" for row in reviews))
    (folder / META).write_text("".join(f"{row!r}\n" for row in items), encoding="utf-8")


def make_packed_amazon(folder: Path) -> None:
    make_amazon(folder)
    for name in (REVIEWS, META):
        path = folder / name
        (folder / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()


def read_amazon(folder: Path) -> None:
    try:
        known_source("amazon-2014/Beauty", raw=folder, cache=folder / "cache")
    finally:
        shutil.rmtree(folder / "cache", ignore_errors=True)


_PARTS = ("_METADATA", "_sharding", "array_metadatas/process_0", "manifest.ocdbt")
_TABLES = ("items", "weights", "tokenizer", "content", "consumed")
READERS = [
    Reader(
        "checkpoint",
        _apart(make_checkpoint),
        read_checkpoint,
        (
            *("1/about.json", "1/_CHECKPOINT_METADATA", "1/orbax.checkpoint"),
            *(f"1/params/{part}" for part in _PARTS),
            *("1/params/ocdbt.process_0/manifest.ocdbt", "block-0", "block-1"),
        ),
        reseal_checkpoint,
        damaged,
    ),
    Reader(
        "tokenizer",
        _apart(make_tokenizer),
        read_tokenizer,
        (
            *("tokenizer.json", "parameters/_CHECKPOINT_METADATA"),
            *(f"parameters/state/{part}" for part in _PARTS),
            *("parameters/state/ocdbt.process_0/manifest.ocdbt", "block-0", "block-1"),
        ),
        mutate=damaged,
    ),
    Reader(
        "bundle",
        _apart(make_bundle),
        read_bundle,
        ("manifest.json", "items.json.gz", *(f"{name}.safetensors" for name in _TABLES)),
        reseal_bundle,
        damaged,
    ),
    Reader(
        "exported parameters",
        make_parameters,
        read_parameters,
        ("model.safetensors", "items.safetensors"),
        mutate=damaged,
    ),
    Reader("amazon", make_amazon, read_amazon, (REVIEWS, META), mutate=damaged),
    Reader(
        "amazon.gz",
        make_packed_amazon,
        read_amazon,
        (f"{REVIEWS}.gz", f"{META}.gz"),
        mutate=damaged,
    ),
]
