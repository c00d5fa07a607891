"""Writing what a bundle needs to take new items, see `genrec.bundle.new_items`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import export

from genrec.bundle.indexes import pack_index
from genrec.export.stablehlo import exported
from genrec.model import EncoderDecoder, nested
from genrec.model.weights import flat
from genrec.recommend.similarity import build_index
from genrec.runs.items import cooccurrence_of
from genrec.runs.loaded import LoadedRun
from genrec.semantic_ids.item_features import standard_of
from genrec.sequences.inputs import Catalogue
from genrec.storage.safetensors import pack_tensors
from genrec.tokenizer import load_tokenizer
from genrec.tokenizer.tokenizer import codes_of, distances_of, structure_of


def newcomers_of(
    run: LoadedRun,
    graph: nnx.GraphDef[EncoderDecoder],
    weights: Mapping[str, np.ndarray],
    unread: Mapping[str, tuple[int, ...]],
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What the manifest says, and the files.

    Args:
        graph: the model's structure.
        weights: the bundle's.
        unread: the shapes of the parameters that these lack.
    """
    config, items = run.config, run.items
    tokenizer = load_tokenizer(run.folder / "tokenizer")
    content, trained = np.asarray(items.content), items.trained
    standard = standard_of(content[:trained])
    tensors = {
        "input.mean": tokenizer.mean.astype(np.float32),
        "input.scale": np.array(tokenizer.scale, np.float32),
        "content.mean": standard.mean.astype(np.float32),
        "content.norm": np.array(standard.norm, np.float32),
    }
    every = {f"tokenizer.{name}": value for name, value in flat(tokenizer.params).items()}
    decoder = {name: value.shape for name, value in every.items() if ".decoder." in name}
    parameters = {name: value for name, value in every.items() if name not in decoder}
    files = {"content.safetensors": pack_index(run.content_index)}
    if config.tokenizer.cooccurrence:
        consumed, all_consumed = cooccurrence_of(config, items.dataset, content, trained)
        # Where no item is consumed with another, as a single one, the first lends its zeros.
        lenders = np.flatnonzero(consumed.any(axis=1)) if consumed.any() else np.zeros(1, np.intp)
        standard = standard_of(all_consumed[:trained])
        tensors |= {
            "consumed.mean": standard.mean.astype(np.float32),
            "consumed.norm": np.array(standard.norm, np.float32),
            "lenders": lenders.astype(np.int32),
        }
        files["consumed.safetensors"] = pack_index(build_index(consumed[lenders]))
    files["tokenizer.safetensors"] = pack_tensors(tensors | parameters)

    structure = structure_of(tokenizer)
    (rows,) = export.symbolic_shape("rows")
    inputs = jax.ShapeDtypeStruct((rows, len(tokenizer.mean)), jnp.float32)
    codes = jax.ShapeDtypeStruct((rows, len(tokenizer.codebook_sizes)), jnp.int32)

    def whole(given: Any) -> Any:
        nothing = {name: jnp.zeros(shape) for name, shape in decoder.items()}
        return nested(
            {name.removeprefix("tokenizer."): value for name, value in (given | nothing).items()}
        )

    def encode(given: Any, x: Any) -> jax.Array:
        return codes_of(structure, whole(given), x)

    def distances(given: Any, x: Any, codes: Any) -> jax.Array:
        return distances_of(structure, whole(given), x, codes)

    def describe(given: Any, codes: Any, content: Any) -> jax.Array:
        nothing = {name: jnp.zeros(shape) for name, shape in unread.items()}
        model = nnx.merge(graph, nested(given | nothing))
        new = jnp.zeros(codes.shape[:1], bool)
        catalogue = Catalogue(codes, content if config.model.content else None, new)
        return model.item_vectors(jnp.arange(codes.shape[0]), catalogue)

    files["programs/encode.bin"] = _exported(encode, parameters, inputs)
    if config.tokenizer.collisions == "reassign":
        files["programs/distances.bin"] = _exported(distances, parameters, inputs, codes)
    if config.model.tokens == "items":
        codes = jax.ShapeDtypeStruct((rows, items.ids.codes.shape[1]), jnp.int32)
        read = jax.ShapeDtypeStruct((rows, content.shape[1]), jnp.float32)
        files["programs/describe.bin"] = _exported(describe, dict(weights), codes, read)
    told = {
        "files": sorted(files),
        "width": content.shape[1],
        "embedding": dataclasses.asdict(config.embedding),
        "text": config.data.text,
        "cooccurrence": config.tokenizer.cooccurrence,
        "collisions": config.tokenizer.collisions,
        "codebook_sizes": list(items.ids.codebook_sizes),
    }
    return told, files


def _exported(function: Any, parameters: Mapping[str, np.ndarray], *shapes: Any) -> bytes:
    given = {
        name: jax.ShapeDtypeStruct(value.shape, value.dtype) for name, value in parameters.items()
    }
    return exported(function, given, *shapes)
