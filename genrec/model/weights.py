"""A model's parameters by plain names."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx

OWN = "item.embedding"
"""What a model has learned of each item alone."""


def flat(params: Any) -> dict[str, np.ndarray]:
    """A model's parameters by plain names, such as "encoder.0.attention.query.kernel"."""
    named = nnx.traversals.flatten_mapping(params)
    return {".".join(map(str, path)): np.asarray(value) for path, value in named.items()}


def nested(weights: Mapping[str, Any]) -> Any:
    """What `flat` flattened."""
    paths = {
        tuple(int(part) if part.isdigit() else part for part in name.split(".")): value
        for name, value in weights.items()
    }
    return nnx.traversals.unflatten_mapping(paths)


def like(params: Any, weights: Mapping[str, Any]) -> Any:
    """A tree of the same kind as `params`, with the arrays of these names."""

    def named(path: tuple[Any, ...], _: Any) -> Any:
        return weights[".".join(str(key.key) for key in path)]

    return jax.tree_util.tree_map_with_path(named, params)
