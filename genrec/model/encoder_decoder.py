"""The encoder-decoder: (history, codes so far) → logits of the next code, and nothing else.

An item enters the encoder as one vector. The encoder is causal, so the state at position t has seen
the items up to t only, and one pass over a history serves a prediction at every position. The
decoder writes the L codes of an item, one level at a time, for many queries at once: in training
the queries of a history are its positions, in beam search they are the beams of its last position.

Array shapes: B rows, T positions, L levels, K codes of a level, D width, Q queries.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from genrec.model.layers import (
    Embedding,
    FeedForward,
    Noise,
    RelativePositions,
    attend,
    dropout,
    join_heads,
    split_heads,
)

KeyValue = tuple[Array, Array]

# Layers begin as the identity: noise from all of them would drown the tokens in the stream.
zeros = nnx.initializers.zeros_init()


class EncoderLayer(nnx.Module):
    """Causal self-attention and a feed-forward layer, each behind an RMS norm."""

    def __init__(self, d_model: int, heads: int, d_ff: int, rate: float, *, rngs: nnx.Rngs):
        self.heads, self.rate = heads, rate
        self.attention_norm = nnx.RMSNorm(d_model, rngs=rngs)
        self.query_key_value = nnx.Linear(d_model, 3 * d_model, use_bias=False, rngs=rngs)
        self.output = nnx.Linear(d_model, d_model, use_bias=False, kernel_init=zeros, rngs=rngs)
        self.feed_forward_norm = nnx.RMSNorm(d_model, rngs=rngs)
        self.feed_forward = FeedForward(d_model, d_ff, rate, rngs=rngs)

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
        read = join_heads(attend(query, key, value, mask[:, None], bias))
        x = x + dropout(self.output(read), self.rate, noise)
        return x + dropout(self.feed_forward(self.feed_forward_norm(x), noise), self.rate, noise)


class DecoderLayer(nnx.Module):
    """Attention to the codes so far, attention to the history, and a feed-forward layer."""

    def __init__(self, d_model: int, heads: int, d_ff: int, rate: float, *, rngs: nnx.Rngs):
        self.heads, self.rate = heads, rate
        self.self_norm = nnx.RMSNorm(d_model, rngs=rngs)
        self.query_key_value = nnx.Linear(d_model, 3 * d_model, use_bias=False, rngs=rngs)
        self.self_output = nnx.Linear(
            d_model, d_model, use_bias=False, kernel_init=zeros, rngs=rngs
        )
        self.cross_norm = nnx.RMSNorm(d_model, rngs=rngs)
        self.query = nnx.Linear(d_model, d_model, use_bias=False, rngs=rngs)
        self.key_value = nnx.Linear(d_model, 2 * d_model, use_bias=False, rngs=rngs)
        self.cross_output = nnx.Linear(
            d_model, d_model, use_bias=False, kernel_init=zeros, rngs=rngs
        )
        self.feed_forward_norm = nnx.RMSNorm(d_model, rngs=rngs)
        self.feed_forward = FeedForward(d_model, d_ff, rate, rngs=rngs)

    def remember(self, states: Float[Array, "B T D"]) -> KeyValue:
        """Keys and values (B, H, T, C) of a history's states, computed once for all queries."""
        key, value = jnp.split(self.key_value(states), 2, axis=-1)
        return split_heads(key, self.heads), split_heads(value, self.heads)

    def __call__(
        self,
        x: Float[Array, "B Q D"],
        past: list[KeyValue],
        memory: KeyValue,
        mask: Bool[Array, "B Q T"],
        noise: Noise | None,
    ) -> tuple[Float[Array, "B Q D"], KeyValue]:
        """One level's states from the last layer's, and this level's key and value (B, Q, D)."""
        query, key, value = jnp.split(self.query_key_value(self.self_norm(x)), 3, axis=-1)
        read = self._attend_to_levels(query, [*past, (key, value)])
        x = x + dropout(self.self_output(read), self.rate, noise)

        query = split_heads(self.query(self.cross_norm(x)), self.heads)
        read = join_heads(attend(query, *memory, mask[:, None]))
        x = x + dropout(self.cross_output(read), self.rate, noise)

        x = x + dropout(self.feed_forward(self.feed_forward_norm(x), noise), self.rate, noise)
        return x, (key, value)

    def _attend_to_levels(self, query: Array, levels: list[KeyValue]) -> Array:
        """Attention over at most L keys of a query's own, as sums of products.

        Written out because matrix products this small cost a CPU more than the arithmetic in them.
        """
        shape = (*query.shape[:2], self.heads, -1)
        query = query.reshape(shape) * (query.shape[-1] // self.heads) ** -0.5
        scores = jnp.stack([(query * key.reshape(shape)).sum(-1) for key, _ in levels])
        weights = nnx.softmax(scores, axis=0)[..., None]
        read = sum(w * value.reshape(shape) for w, (_, value) in zip(weights, levels, strict=True))
        return jnp.reshape(read, (*query.shape[:2], -1))


class EncoderDecoder(nnx.Module):
    """Reads histories and writes semantic IDs.

    `encode` turns a row of items into states; `remember` prepares them for the decoder, once;
    `decode_level` gives the logits of one level's codes for every query; `decode` runs it over all
    levels with the codes given, as training does.
    """

    def __init__(
        self,
        *,
        num_items: int,
        codebook_sizes: Sequence[int],
        d_model: int,
        encoder_layers: int,
        decoder_layers: int,
        heads: int,
        d_ff: int,
        dropout: float,
        item_embedding: bool,
        rngs: nnx.Rngs,
    ):
        def embedding(count: int) -> nnx.Embed:
            return Embedding(count, d_model, rngs=rngs)

        layer = {"d_model": d_model, "heads": heads, "d_ff": d_ff, "rate": dropout, "rngs": rngs}
        self.width, self.rate = d_model, dropout
        self.codes = nnx.List([embedding(size) for size in codebook_sizes])
        self.item = embedding(num_items) if item_embedding else None
        self.relative_positions = RelativePositions(heads, rngs=rngs)
        self.encoder = nnx.List([EncoderLayer(**layer) for _ in range(encoder_layers)])
        self.encoder_norm = nnx.RMSNorm(d_model, rngs=rngs)
        self.begin = embedding(len(codebook_sizes))
        self.decoder = nnx.List([DecoderLayer(**layer) for _ in range(decoder_layers)])
        self.decoder_norm = nnx.RMSNorm(d_model, rngs=rngs)
        self.logits = nnx.List(
            [nnx.Linear(d_model, size, use_bias=False, rngs=rngs) for size in codebook_sizes]
        )

    def encode(
        self,
        items: Int[Array, "B T"],
        codes: Int[Array, "B T L"],
        mask: Bool[Array, "B T T"],
        noise: Noise | None = None,
    ) -> Float[Array, "B T D"]:
        """The state at every position. `mask[b, q, s]`: position q may look at position s."""
        x = jnp.zeros((*items.shape, self.width))
        for level, table in enumerate(self.codes):
            x = x + table(codes[..., level])
        if self.item is not None:
            x = x + self.item(items)
        x = dropout(x, self.rate, noise)
        bias = self.relative_positions(items.shape[1])
        for layer in self.encoder:
            x = layer(x, mask, bias, noise)
        return self.encoder_norm(x)

    def remember(self, states: Float[Array, "B T D"]) -> list[KeyValue]:
        """Each decoder layer's keys and values of the history."""
        return [layer.remember(states) for layer in self.decoder]

    def decode_level(
        self,
        level: int,
        previous: Int[Array, "B Q"] | None,
        state: Float[Array, "B Q D"],
        past: list[list[KeyValue]],
        memory: list[KeyValue],
        mask: Bool[Array, "B Q T"],
        noise: Noise | None = None,
    ) -> tuple[Float[Array, "B Q K"], list[KeyValue]]:
        """Logits of this level's code for every query, and what later levels will look back at.

        Args:
            previous: the code chosen at the level before; None at level 0.
            state: the encoder state that the query continues from.
            past: for each earlier level, what this function returned for it, in the queries' order.
            memory: what `remember` returned.
            mask: which positions of the history a query may look at.
        """
        x = state + self.begin(jnp.full((1, 1), level))
        if previous is not None:
            x = x + self.codes[level - 1](previous)
        x = dropout(x, self.rate, noise)
        present = []
        for depth, layer in enumerate(self.decoder):
            so_far = [earlier[depth] for earlier in past]
            x, key_value = layer(x, so_far, memory[depth], mask, noise)
            present.append(key_value)
        return self.logits[level](self.decoder_norm(x)), present

    def decode(
        self,
        codes: Int[Array, "B Q L"],
        states: Float[Array, "B Q D"],
        mask: Bool[Array, "B Q Q"],
        noise: Noise | None = None,
    ) -> list[Float[Array, "B Q K"]]:
        """Each level's logits when the codes before it are given (teacher forcing)."""
        memory, past, logits = self.remember(states), [], []
        for level in range(len(self.codes)):
            previous = codes[..., level - 1] if level else None
            here, present = self.decode_level(level, previous, states, past, memory, mask, noise)
            past.append(present)
            logits.append(here)
        return logits


def causal_mask(segments: Int[Array, "B T"]) -> Bool[Array, "B T T"]:
    """Position q may look at position s: not later, and of the same segment of a packed row."""
    length = segments.shape[1]
    same = segments[:, :, None] == segments[:, None, :]
    return same & jnp.tril(jnp.ones((1, length, length), bool))
