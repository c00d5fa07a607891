"""The whole of recommending as a portable program: StableHLO, for CPU, CUDA and TPU.

The program takes two trees of arrays, `state` and `request`, see `genrec.bundle`. All that belongs
to the model or the catalogue is in the first, so that neither is a constant of the program. The
number of histories and their length are open; how many items a request may name is not.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import export

from genrec.decoding.filters import Filters
from genrec.decoding.recommender import SearchOptions
from genrec.decoding.search import Fusion, Structure, search
from genrec.model import EncoderDecoder, Trie, nested
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
    unread: Mapping[str, tuple[int, ...]],
    named: int,
    users: bool,
) -> bytes:
    """One program, serialized.

    Args:
        graph: the model's structure.
        options: how lists are made; neither drawn at random nor with a share for new items.
        state: arrays of the shapes and types that the program is for.
        fan_out: see `Spelling`.
        levels: of the semantic IDs; the codes that spell an item may have one more.
        unread: the shapes of the parameters that the weights lack, as they are not read.
        named: how many items each request may name, to exclude them or to allow no others.
        users: whether requests say whose they are.
    """
    structure = Structure(graph)

    def recommend(state: Any, request: Any) -> tuple[jax.Array, jax.Array]:
        fusion = None
        if options.dense_share:
            share = None if options.dense_share == 1 else jnp.float32(options.dense_share)
            fusion = Fusion(share, state["vectors"], state["count"])
        nothing = {name: jnp.zeros(shape) for name, shape in unread.items()}
        found = search(
            structure,
            nested(state["weights"] | nothing),
            Trie(**state["trie"], fan_out=fan_out),
            Catalogue(state["codes"][:, :levels], vectors=state["vectors"]),
            Inputs(request["items"], request["segments"], request["gaps"], request.get("users")),
            Filters(request["named"], request["allow"]),
            fusion=fusion,
            means=state["means"] or None,
            beam=options.beam,
            normalise=options.normalise,
        )
        return found["whole"]

    rows, slots = export.symbolic_shape("rows, slots")
    request = {name: jax.ShapeDtypeStruct((rows, slots), kind) for name, kind in _REQUEST.items()}
    request["named"] = jax.ShapeDtypeStruct((rows, named), np.int32)
    request["allow"] = jax.ShapeDtypeStruct((rows,), np.bool_)
    if users:
        request["users"] = jax.ShapeDtypeStruct((rows,), np.uint32)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), dict(state))
    return exported(recommend, shapes, request)


def exported(function: Callable[..., Any], *shapes: Any) -> bytes:
    """A function of such arguments as a program.

    Without the lines of source that each operation comes from: these would be the caller's too, so
    that who calls from elsewhere would get other bytes, and would tell where the maker's files lie.
    """
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        return bytes(export.export(jax.jit(function), platforms=PLATFORMS)(*shapes).serialize())
    finally:
        jax.config.update(name, before)
