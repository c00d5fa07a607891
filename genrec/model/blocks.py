"""The layers of the encoder and of the decoder. Array shapes as in `genrec.model.layers`."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from genrec.config import ModelConfig
from genrec.model.layers import (
    FeedForward,
    Linear,
    Noise,
    attend,
    dropout,
    join_heads,
    split_heads,
    zeros,
)

KeyValue = tuple[Array, Array]


class EncoderLayer(nnx.Module):
    """Self-attention and a feed-forward layer, each behind an RMS norm; `rate` is of dropout."""

    def __init__(self, settings: ModelConfig, rate: float, *, rngs: nnx.Rngs):
        common = {"dtype": settings.dtype, "rngs": rngs}
        d_model, inner = settings.d_model, _inner_width(settings)
        self.heads, self.rate = settings.heads, rate
        self.attention_rate = settings.attention_dropout
        self.attention_norm = nnx.RMSNorm(d_model, **common)
        self.query_key_value = Linear(d_model, 3 * inner, **common)
        self.output = Linear(inner, d_model, kernel_init=zeros, **common)
        self.feed_forward_norm = nnx.RMSNorm(d_model, **common)
        self.feed_forward = FeedForward(d_model, settings.d_ff, rate, **common)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        mask: Bool[Array, "B T T"],
        bias: Float[Array, "1 H T T"],
        noise: Noise | None,
    ) -> Float[Array, "B T D"]:
        query, key, value = (
            split_heads(part, self.heads)
            for part in jnp.split(self.query_key_value(self.attention_norm(x)), 3, axis=-1)
        )
        read = attend(query, key, value, mask[:, None], bias, rate=self.attention_rate, noise=noise)
        x = x + dropout(self.output(join_heads(read)), self.rate, noise)
        return x + dropout(self.feed_forward(self.feed_forward_norm(x), noise), self.rate, noise)


class DecoderLayer(nnx.Module):
    """Attention to the codes so far, attention to the history, and a feed-forward layer, each
    behind an RMS norm; `rate` is of dropout."""

    def __init__(self, settings: ModelConfig, rate: float, *, rngs: nnx.Rngs):
        common = {"dtype": settings.dtype, "rngs": rngs}
        d_model, inner = settings.d_model, _inner_width(settings)
        self.heads, self.rate = settings.heads, rate
        self.attention_rate = settings.attention_dropout
        self.self_norm = nnx.RMSNorm(d_model, **common)
        self.query_key_value = Linear(d_model, 3 * inner, **common)
        self.self_output = Linear(inner, d_model, kernel_init=zeros, **common)
        self.cross_norm = nnx.RMSNorm(d_model, **common)
        self.query = Linear(d_model, inner, **common)
        self.key_value = Linear(d_model, 2 * inner, **common)
        self.cross_output = Linear(inner, d_model, kernel_init=zeros, **common)
        self.feed_forward_norm = nnx.RMSNorm(d_model, **common)
        self.feed_forward = FeedForward(d_model, settings.d_ff, rate, **common)

    def remember(self, states: Float[Array, "B T D"]) -> KeyValue:
        """Keys and values (B, H, T, W) of a history's states, computed once for all queries."""
        key, value = jnp.split(self.key_value(states), 2, axis=-1)
        return split_heads(key, self.heads), split_heads(value, self.heads)

    def __call__(
        self,
        x: Float[Array, "B Q D"],
        past: list[KeyValue],
        bias: Float[Array, "_ H"],
        memory: KeyValue,
        mask: Bool[Array, "B Q T"],
        noise: Noise | None,
    ) -> tuple[Float[Array, "B Q D"], KeyValue]:
        """One level's states from the last layer's, and this level's key and value (B, Q, H W).

        Args:
            x: this level's states.
            past: the key and value of each earlier level.
            bias: of the attention to the levels so far, this one included.
            memory: what `remember` returned.
            mask: which positions of the history each query may look at.
        """
        query, key, value = jnp.split(self.query_key_value(self.self_norm(x)), 3, axis=-1)
        read = self._attend_to_levels(query, [*past, (key, value)], bias, noise)
        x = x + dropout(self.self_output(read), self.rate, noise)

        query = split_heads(self.query(self.cross_norm(x)), self.heads)
        read = attend(query, *memory, mask[:, None], rate=self.attention_rate, noise=noise)
        x = x + dropout(self.cross_output(join_heads(read)), self.rate, noise)

        x = x + dropout(self.feed_forward(self.feed_forward_norm(x), noise), self.rate, noise)
        return x, (key, value)

    def _attend_to_levels(
        self, query: Array, levels: list[KeyValue], bias: Array, noise: Noise | None
    ) -> Array:
        """Attention over at most L keys of a query's own, as sums of products.

        A level of one query serves all queries. Written out because matrix products this small cost
        a CPU more than the arithmetic in them; the sums within heads are one product with ones.
        """
        width = query.shape[2] // self.heads
        of_head = jnp.repeat(jnp.eye(self.heads, dtype=query.dtype), width, axis=0)
        query = query * width**-0.5
        products = jnp.stack([query * key for key, _ in levels])
        scores = jnp.matmul(products, of_head, preferred_element_type=jnp.float32)
        scores = scores + bias[:, None, None]
        weights = dropout(nnx.softmax(scores, axis=0), self.attention_rate, noise)
        weights = weights[..., None].astype(query.dtype)
        read = sum(
            weight * value.reshape(*value.shape[:2], self.heads, width)
            for weight, (_, value) in zip(weights, levels, strict=True)
        )
        return jnp.reshape(read, query.shape)


def _inner_width(settings: ModelConfig) -> int:
    """H W, the width of all heads together."""
    return settings.d_model if settings.head_dim is None else settings.heads * settings.head_dim
