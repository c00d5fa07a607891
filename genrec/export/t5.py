"""The weights of T5 (Raffel et al. 2020) with which it computes what TIGER's recipe does here.

Of the model that reads codes as tokens through a bidirectional encoder, T5 differs in little, and
all of that is folded into the weights:

- T5 does not scale attention scores: the scale goes into the queries' weights;
- genrec scales embeddings: so are T5's tables;
- genrec has a table for each level, T5 one vocabulary: every level gets tokens of its own;
- genrec's decoder adds a vector for the level to the code before: that goes into the rows of the
  decoder's table, for each code has one place in a tuple. The token that T5 begins with is the
  first level's vector;
- T5's relative positions are genrec's in the encoder, and in the decoder distances between levels.

Names on the left are those of Hugging Face's T5ForConditionalGeneration, names on the right those
of `genrec.model.weights.flat`. Array shapes: V codes of all levels together, D model width.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from genrec.config import ModelConfig
from genrec.model.layers import RelativePositions

MOST_LEVELS = RelativePositions.buckets // 2
"""Distances that T5's decoder tells apart."""

Weights = Mapping[str, np.ndarray]


class Tables(NamedTuple):
    """The rows of T5's vocabulary; those of the codes are in the order of the levels.

    Attributes:
        read: (V, D), of the codes of a history.
        begin: (1, D), what the decoder begins with.
        followed: (V, D), of the codes that the decoder has written.
        heads: (V, D), what the decoder's state is multiplied with, for the logit of each code.
    """

    read: np.ndarray
    begin: np.ndarray
    followed: np.ndarray
    heads: np.ndarray


def t5_sizes(model: ModelConfig) -> dict[str, int]:
    """The settings of T5Config that are sizes of the model."""
    return {
        "d_model": model.d_model,
        "d_kv": model.head_dim or model.d_model // model.heads,
        "num_heads": model.heads,
        "d_ff": model.d_ff,
        "num_layers": model.encoder_layers,
        "num_decoder_layers": model.decoder_layers,
    }


def t5_settings(model: ModelConfig) -> dict[str, Any]:
    """The settings of T5Config that are neither its vocabulary nor what is dropped in training."""
    return t5_sizes(model) | {
        "feed_forward_proj": "relu",
        "layer_norm_epsilon": 1e-6,
        "relative_attention_num_buckets": RelativePositions.buckets,
        "relative_attention_max_distance": RelativePositions.furthest,
        "tie_word_embeddings": False,
        "eos_token_id": None,
    }


def t5_tables(weights: Weights) -> Tables:
    """The rows of the vocabulary, in float32."""
    levels, width = weights["begin.embedding"].shape
    scale = np.float32(width**0.5)
    begin = weights["begin.embedding"] * scale
    codes = [weights[f"codes.{level}.embedding"] * scale for level in range(levels)]
    # The last level's codes are followed by none.
    followed = [codes[level] + begin[level + 1] for level in range(levels - 1)] + codes[-1:]
    heads = [weights[f"logits.{level}.kernel"].T for level in range(levels)]
    return Tables(np.concatenate(codes), begin[:1], np.concatenate(followed), np.concatenate(heads))


def t5_layers(weights: Weights, model: ModelConfig) -> dict[str, np.ndarray]:
    """All of T5's weights but those of its vocabulary."""
    distances = np.zeros((RelativePositions.buckets, model.heads), np.float32)
    distances[: len(weights["level_bias.embedding"])] = weights["level_bias.embedding"]
    positions = "block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    state = {
        f"encoder.{positions}": weights["relative_positions.bias.embedding"],
        f"decoder.{positions}": distances,
        "encoder.final_layer_norm.weight": weights["encoder_norm.scale"],
        "decoder.final_layer_norm.weight": weights["decoder_norm.scale"],
    }
    scale = np.float32(t5_sizes(model)["d_kv"] ** -0.5)

    def attention(name: str, norm: str, query_key_value: list[np.ndarray], output: str) -> None:
        query, key, value = query_key_value
        layer = name.rsplit(".", 1)[0]
        parts = {"q": query * scale, "k": key, "v": value, "o": weights[f"{output}.kernel"]}
        state.update({f"{name}.{part}.weight": x.T for part, x in parts.items()})
        state[f"{layer}.layer_norm.weight"] = weights[f"{norm}.scale"]

    def self_attention(layer: str, mine: str, norm: str, output: str) -> None:
        parts = np.split(weights[f"{mine}.query_key_value.kernel"], 3, axis=1)
        attention(f"{layer}.SelfAttention", f"{mine}.{norm}", parts, f"{mine}.{output}")

    def feed_forward(layer: str, name: str) -> None:
        state[f"{layer}.DenseReluDense.wi.weight"] = weights[f"{name}.up.kernel"].T
        state[f"{layer}.DenseReluDense.wo.weight"] = weights[f"{name}.down.kernel"].T
        state[f"{layer}.layer_norm.weight"] = weights[f"{name}_norm.scale"]

    for i in range(model.encoder_layers):
        mine, theirs = f"encoder.{i}", f"encoder.block.{i}.layer"
        self_attention(f"{theirs}.0", mine, "attention_norm", "output")
        feed_forward(f"{theirs}.1", f"{mine}.feed_forward")
    for i in range(model.decoder_layers):
        mine, theirs = f"decoder.{i}", f"decoder.block.{i}.layer"
        self_attention(f"{theirs}.0", mine, "self_norm", "self_output")
        parts = np.split(weights[f"{mine}.key_value.kernel"], 2, axis=1)
        parts = [weights[f"{mine}.query.kernel"], *parts]
        cross = f"{theirs}.1.EncDecAttention"
        attention(cross, f"{mine}.cross_norm", parts, f"{mine}.cross_output")
        feed_forward(f"{theirs}.2", f"{mine}.feed_forward")
    return state
