"""The whole of recommending as a portable program: StableHLO, for CPU, CUDA and TPU.

The program takes two trees of arrays, `state` and `request`, see `genrec.bundle`. All arrays of the
model and of the catalogue are in `state`, so that none is a constant of the program. The number of
histories and their length are open; how many items a request may name is not.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import export

from genrec.decoding.candidates import Experts, ExpertWeights
from genrec.decoding.experts import Memory
from genrec.decoding.filters import Filters
from genrec.decoding.recommender import SearchOptions
from genrec.decoding.search import Fusion, Structure, search
from genrec.graph import ItemGraph
from genrec.model import EncoderDecoder, nested
from genrec.semantic_ids.trie import Trie
from genrec.sequences.inputs import Catalogue, Inputs

PLATFORMS = ("cpu", "cuda", "tpu")
_REQUEST = {"items": np.int32, "segments": np.int32, "gaps": np.int32}


def export_program(
    graph: nnx.GraphDef[EncoderDecoder],
    options: SearchOptions,
    state: Mapping[str, Any],
    fan_out: tuple[int, ...],
    *,
    levels: int,
    named: int,
    users: bool,
    experts: Mapping[str, Any] | None,
) -> bytes:
    """One program, serialized.

    Args:
        graph: the model's structure, of the parameters in `state`.
        options: how lists are made; neither drawn at random nor with a share for new items.
        state: arrays of the shapes and types that the program is for.
        fan_out: see `Trie`.
        levels: L of the semantic IDs; the paths of the trie may be one code longer.
        named: how many items each request may name, to exclude them or to allow no others.
        users: whether requests say whose they are.
        experts: names of those that rank in place of `options.dense_share`, and most, the number of
            neighbours that any item has in the graph; None without any.

    It answers with items and scores; and with what each expert adds to each score, where there are
    experts.
    """
    structure = Structure(graph)

    def recommend(state: Any, request: Any) -> tuple[jax.Array, ...]:
        fusion, looking = None, None
        if experts is not None:
            looking = _experts(state, experts)
        elif options.dense_share:
            share = None if options.dense_share == 1 else jnp.float32(options.dense_share)
            fusion = Fusion(share, state["vectors"], state["count"])
        lists = search(
            structure,
            nested(state["weights"]),
            Trie(**state["trie"], fan_out=fan_out),
            Catalogue(state["codes"][:, :levels], vectors=state["vectors"]),
            Inputs(request["items"], request["segments"], request["gaps"], request.get("users")),
            Filters(request["named"], request["allow"]),
            fusion=fusion,
            means=state["means"] or None,
            experts=looking,
            beam=options.beam,
            normalise=options.normalise,
        )
        return lists["whole"]

    rows, slots = export.symbolic_shape("rows, slots")
    request = {name: jax.ShapeDtypeStruct((rows, slots), kind) for name, kind in _REQUEST.items()}
    request["named"] = jax.ShapeDtypeStruct((rows, named), np.int32)
    request["allow"] = jax.ShapeDtypeStruct((rows,), np.bool_)
    if users:
        request["users"] = jax.ShapeDtypeStruct((rows,), np.uint32)
    return exported(recommend, dict(state), request)


def _experts(state: Any, told: Mapping[str, Any]) -> Experts:
    tables = state["experts"]
    graph = ItemGraph(tables["begins"], tables["items"], tables["weights"], told["most"])
    memory = Memory(graph, tables["content"], tables["popularity"])
    weights = ExpertWeights(*(tables[name] for name in ExpertWeights._fields))
    vectors = state["vectors"] if "dense_head" in told["names"] else None
    return Experts(memory, weights, vectors, state["count"])


def exported(function: Callable[..., Any], *arguments: Any) -> bytes:
    """A function as a program for arguments of these shapes and types: trees of arrays or of
    `jax.ShapeDtypeStruct`.

    The program does not have the lines of source that each operation comes from: they would include
    the caller's, so that other callers would get other bytes, and would tell where the files lie.
    """
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arguments)
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        return bytes(export.export(jax.jit(function), platforms=PLATFORMS)(*shapes).serialize())
    finally:
        jax.config.update(name, before)
