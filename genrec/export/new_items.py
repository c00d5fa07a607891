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
from genrec.runs.items import cooccurrence_vectors
from genrec.runs.loaded import LoadedRun
from genrec.semantic_ids.item_features import standard_of
from genrec.sequences.inputs import Catalogue
from genrec.storage.safetensors import pack_tensors
from genrec.tokenizer import Tokenizer, load_tokenizer
from genrec.tokenizer.tokenizer import codes_of, distances_of, structure_of


def new_item_files(
    run: LoadedRun, graph: nnx.GraphDef[EncoderDecoder], weights: Mapping[str, np.ndarray]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest's entry for new items, and the contents of the files by name.

    Args:
        graph: the structure of the bundle's model, without vectors of items alone.
        weights: its parameters.
    """
    config, items = run.config, run.items
    tokenizer = load_tokenizer(run.folder / "tokenizer")
    files = _tables(run, tokenizer) | _programs(run, tokenizer, graph, weights)
    entry = {
        "files": sorted(files),
        "width": items.content.shape[1],
        "embedding": dataclasses.asdict(config.embedding),
        "text": config.data.text,
        "cooccurrence": config.tokenizer.cooccurrence,
        "collisions": config.tokenizer.collisions,
        "codebook_sizes": list(items.ids.codebook_sizes),
    }
    return entry, files


def _tables(run: LoadedRun, tokenizer: Tokenizer) -> dict[str, bytes]:
    """The tokenizer's parameters, and the vectors that make its input."""
    config, items = run.config, run.items
    content, trained = np.asarray(items.content), items.trained
    mean, norm = standard_of(content[:trained])
    tensors = {
        "input.mean": tokenizer.mean.astype(np.float32),
        "input.scale": np.array(tokenizer.scale, np.float32),
        "content.mean": mean.astype(np.float32),
        "content.norm": np.array(norm, np.float32),
    }
    files = {"content.safetensors": pack_index(run.content_index)}
    if config.tokenizer.cooccurrence:
        own, borrowed = cooccurrence_vectors(config, items.dataset, content, trained)
        # Where no item is consumed with another, as a single one, the first lends its zeros.
        lenders = np.flatnonzero(own.any(axis=1)) if own.any() else np.zeros(1, np.intp)
        mean, norm = standard_of(borrowed[:trained])
        tensors |= {
            "consumed.mean": mean.astype(np.float32),
            "consumed.norm": np.array(norm, np.float32),
            "lenders": lenders.astype(np.int32),
        }
        files["consumed.safetensors"] = pack_index(build_index(own[lenders]))
    _, parameters = _without_decoder(tokenizer)
    files["tokenizer.safetensors"] = pack_tensors(tensors | parameters)
    return files


def _programs(
    run: LoadedRun,
    tokenizer: Tokenizer,
    graph: nnx.GraphDef[EncoderDecoder],
    weights: Mapping[str, np.ndarray],
) -> dict[str, bytes]:
    """The programs from the tokenizer's input to codes, and from codes to the model's vectors."""
    config, items = run.config, run.items
    structure, parameters = _without_decoder(tokenizer)
    (rows,) = export.symbolic_shape("rows")

    def shape(width: int, dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((rows, width), dtype)

    def encode(parameters: Any, x: Any) -> jax.Array:
        return codes_of(structure, nested(parameters)["tokenizer"], x)

    def distances(parameters: Any, x: Any, codes: Any) -> jax.Array:
        return distances_of(structure, nested(parameters)["tokenizer"], x, codes)

    def describe(weights: Any, codes: Any, content: Any) -> jax.Array:
        if not (config.model.codes or config.model.content):  # nothing is known of new items
            return jnp.zeros((codes.shape[0], config.model.d_model))
        model = nnx.merge(graph, nested(weights))
        catalogue = Catalogue(codes, content if config.model.content else None)
        return model.item_vectors(jnp.arange(codes.shape[0]), catalogue)

    inputs = shape(len(tokenizer.mean), jnp.float32)
    codes = shape(len(tokenizer.codebook_sizes), jnp.int32)
    files = {"programs/encode.bin": exported(encode, parameters, inputs)}
    if config.tokenizer.collisions == "reassign":
        files["programs/distances.bin"] = exported(distances, parameters, inputs, codes)
    if config.model.tokens == "items":
        codes = shape(items.ids.codes.shape[1], jnp.int32)
        content = shape(items.content.shape[1], jnp.float32)
        files["programs/describe.bin"] = exported(describe, dict(weights), codes, content)
    return files


def _without_decoder(tokenizer: Tokenizer) -> tuple[Any, dict[str, np.ndarray]]:
    """The structure of the rest of the tokenizer, and its parameters by their names in a bundle."""
    module = nnx.merge(structure_of(tokenizer), tokenizer.params)
    module.decoder = None
    parameters = flat({"tokenizer": nnx.as_pure(nnx.state(module, nnx.Param))})
    return nnx.graphdef(module), parameters
