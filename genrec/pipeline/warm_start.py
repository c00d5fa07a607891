"""Beginning a training with what another one has learned, from its run or from a bundle of it.

The catalogue may have changed since: an item that was there begins with the vector that it had,
whatever its codes and its content say of it now, and a new one with what these say alone.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from genrec.bundle import load_bundle
from genrec.bundle.storage import read_manifest
from genrec.config.parsing import load_config
from genrec.decoding.search import Structure, item_vectors
from genrec.errors import UserError
from genrec.model import EncoderDecoder
from genrec.model.weights import OWN, flat, like
from genrec.recommend.catalog import indices_of
from genrec.runs.items import load_items
from genrec.runs.manifest import read_manifest as read_run
from genrec.runs.model import load_recommender
from genrec.sequences.inputs import Catalogue
from genrec.storage.files import sha256

logger = logging.getLogger(__name__)


def fingerprint_of(source: Path) -> dict[str, str]:
    """What tells whether the weights of a run or a bundle have changed.

    Raises:
        UserError: it is neither, or the run is not trained.
    """
    if (source / "config.yaml").exists():
        trained = read_run(source).get("train")
        if trained is None:
            raise UserError(f"{source} is not trained: run `genrec train {source}` first")
        return {f"{source}/{name}": digest for name, digest in trained["outputs"].items()}
    read_manifest(source)
    return {f"{source}/manifest.json": sha256(source / "manifest.json")}


def begin_from(
    source: Path,
    build: Callable[[nnx.Rngs], EncoderDecoder],
    catalogue: Catalogue,
    item_ids: list[str],
    *,
    seed: int,
) -> Any:
    """The parameters of a new model, as NumPy arrays, begun with those of another.

    What the other one has not begins at random, and the log says so.

    Args:
        source: folder of a trained run, or of a bundle.
        build: makes the new model from random streams.
        catalogue: what is known of its N items.
        item_ids: their ids.

    Raises:
        UserError: there is no such run or bundle, or its model has other shapes.
    """
    weights, ids, vectors = _trained(source)
    model = build(nnx.Rngs(seed))
    random = nnx.as_pure(nnx.state(model, nnx.Param))
    begun = flat(random)
    fresh = [name for name in begun if name not in weights and name != OWN]
    if fresh:
        logger.warning("%s has no %s; they begin at random", source, ", ".join(fresh))
    for name in begun.keys() & weights.keys() - {OWN}:
        _refuse_other_sizes(source, f"{name} of shape", weights[name].shape, begun[name].shape)
        begun[name] = weights[name].astype(np.float32)
    if OWN in begun and vectors is not None:
        theirs, ours = vectors.shape[1], begun[OWN].shape[1]
        _refuse_other_sizes(source, "item vectors of width", theirs, ours)
        begun[OWN] = np.zeros_like(begun[OWN])
        arrays = jax.tree.map(jnp.asarray, catalogue._replace(seen=None))
        without = item_vectors(Structure(nnx.graphdef(model)), like(random, begun), arrays)
        before = indices_of(item_ids, ids)
        kept = before >= 0
        own = vectors[before[kept]] - np.asarray(without)[kept]
        begun[OWN][kept] = own / own.shape[1] ** 0.5  # see `Embedding`
    return like(random, begun)


def _refuse_other_sizes(source: Path, name: str, theirs: Any, ours: Any) -> None:
    if theirs != ours:
        raise UserError(
            f"{source} has {name} {theirs}, but the settings make it {ours}: begin from a model of "
            "the same size"
        )


def _trained(source: Path) -> tuple[dict[str, np.ndarray], list[str], np.ndarray | None]:
    """The weights of a run or a bundle, the ids of its items, and their vectors if it has any."""
    if (source / "config.yaml").exists():
        config, items = load_config(source / "config.yaml"), load_items(source)
        recommender = load_recommender(config, source, items)
        vectors = None
        if config.model.tokens == "items":
            vectors = np.asarray(
                item_vectors(recommender.structure, recommender.params, recommender.catalogue)
            )
        return flat(recommender.params), items.dataset.item_ids, vectors
    bundle = load_bundle(source)
    weights = {name: np.asarray(value) for name, value in bundle.weights.items()}
    return weights, bundle.item_ids, bundle.vectors
