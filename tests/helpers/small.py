"""A model small enough to be compared with brute force."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from genrec.config import ModelConfig
from genrec.model import EncoderDecoder


def small_model(
    codebook_sizes: Sequence[int],
    num_items: int,
    rngs: nnx.Rngs | None = None,
    *,
    layers: int = 1,
    content_dim: int = 0,
    **options: Any,
) -> EncoderDecoder:
    """An encoder-decoder of a few hundred parameters.

    With `rngs` as it is before training; else with every parameter drawn at random, those too that
    start at zero or one. NumPy draws them, for to compile initialisers takes ten seconds.
    `options` are settings of the model.
    """
    small = {"d_model": 8, "heads": 2, "d_ff": 16, "dropout": 0.0}
    small |= {"encoder_layers": layers, "decoder_layers": layers}
    settings = ModelConfig(**(small | options))

    def build(rngs: nnx.Rngs) -> EncoderDecoder:
        return EncoderDecoder(
            settings,
            num_items=num_items,
            codebook_sizes=codebook_sizes,
            content_dim=content_dim,
            rngs=rngs,
        )

    if rngs is not None:
        return build(rngs)
    model = nnx.eval_shape(lambda: build(nnx.Rngs(0)))
    leaves, tree = jax.tree.flatten(nnx.state(model, nnx.Param))
    rng = np.random.default_rng(0)
    leaves = [jnp.asarray(rng.normal(0, 0.5, leaf.shape), jnp.float32) for leaf in leaves]
    nnx.update(model, jax.tree.unflatten(tree, leaves))
    return model
