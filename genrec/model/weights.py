"""A model's parameters by plain names."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx

OWN = "item.embedding"
"""Name of the items' own vectors, the only parameters that belong to single items."""


def flat(params: Any) -> dict[str, np.ndarray]:
    """A model's parameters by plain names, such as "encoder.0.attention.query.kernel"."""
    named = nnx.traversals.flatten_mapping(params)
    return {".".join(map(str, path)): np.asarray(value) for path, value in named.items()}


def nested(weights: Mapping[str, Any]) -> Any:
    """The tree of parameters that `flat` made names of."""
    paths = {
        tuple(int(part) if part.isdigit() else part for part in name.split(".")): value
        for name, value in weights.items()
    }
    return nnx.traversals.unflatten_mapping(paths)


def like(params: Any, weights: Mapping[str, Any]) -> Any:
    """A tree of the same structure as `params`, with the arrays of these names."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: weights[".".join(str(key.key) for key in path)], params
    )
