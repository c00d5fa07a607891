"""The encoder-decoder: (history, codes so far) → logits of the next code, and nothing else.

An item enters the encoder as one vector, or as a token for each of its codes. A causal encoder's
state at position t has seen the items up to t only, so one pass over a history serves a prediction
at every position; a bidirectional one serves a single prediction, after the last item. The decoder
writes the L codes of an item, one level at a time, for many queries at once: in training the
queries of a history are its positions, in beam search they are the beams of its last position.

Array shapes: B rows, T item slots, S encoder positions, L levels, K codes of a level, D width,
Q queries, N items, E width of the content embeddings.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from genrec.model.blocks import DecoderLayer, EncoderLayer, KeyValue
from genrec.model.layers import (
    Embedding,
    Linear,
    Noise,
    RelativePositions,
    dropout,
    identity,
    zeros,
)
from genrec.model.look_ahead import Ahead
from genrec.model.repeat_bias import Had, first_visits, with_repeats
from genrec.sequences.inputs import GAP_BUCKETS, Catalogue, Inputs


class Encoded(NamedTuple):
    """What the encoder says of its rows.

    Attributes:
        states: (B, S, D), one for every position.
        mask: bool (B, Q, S), which positions each query may look at.
        start: (B, Q, D), the state that each query continues from; None with a bidirectional
            encoder, in which no state stands for the end of the history.
        items: (B, S), the items that the rows had, see `Had`; None where the model does not ask.
    """

    states: Float[Array, "B S D"]
    mask: Bool[Array, "B Q S"]
    start: Float[Array, "B Q D"] | None
    items: Int[Array, "B S"] | None = None

    @property
    def had(self) -> Had | None:
        """What each query had, for a model that learns of repeats."""
        return None if self.items is None else Had(self.items, self.mask)


class EncoderDecoder(nnx.Module):
    """Reads histories and writes semantic IDs.

    `encode` turns rows of items into states; `remember` prepares them for the decoder, once;
    `decode_level` gives the logits of one level's codes for every query; `decode` runs it over all
    levels with the codes given, as training does; `score_items` is the dense head.

    Args:
        num_items: N.
        codebook_sizes: K of each of the L levels. Without any, the model neither reads nor writes
            codes: it has the dense head alone, and is a SASRec (Kang and McAuley 2018).
        content_dim: E; 0 if the model does not read the content embeddings.
        tokens: whether the encoder reads an item as one vector (the sum of the embeddings of its
            codes and of all else that is known) or as L tokens, one for each code (TIGER).
        encoder: whether a position sees those after it.
        user_tokens: number of tokens that users are hashed to; 0 for none (Rajput et al. 2023).
        head_dim: C; None for d_model / heads.
        dropout: rate of tokens, hidden activations and outputs of layers.
        attention_dropout: rate of attention weights.
        decoder_dropout: rate of the decoder's tokens, activations and outputs; None: as `dropout`.
        item_embedding: gives each item a vector beside those of its codes.
        time_gaps: adds an embedding of how long an item came after the one before it.
        item_head: gives the model the dense head.
        look_ahead: lets the decoder see the items that a code leads to, see `model.look_ahead`.
        repeats: lets the dense head, and the decoder where it looks ahead, know the items of the
            history, see `model.repeats`.
        dtype: of computations; parameters are float32, and so are softmaxes and logits.
    """

    def __init__(
        self,
        *,
        num_items: int,
        codebook_sizes: Sequence[int],
        content_dim: int = 0,
        tokens: Literal["items", "codes"] = "items",
        encoder: Literal["causal", "bidirectional"] = "causal",
        user_tokens: int = 0,
        d_model: int,
        encoder_layers: int,
        decoder_layers: int,
        heads: int,
        head_dim: int | None = None,
        d_ff: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        decoder_dropout: float | None = None,
        item_embedding: bool = False,
        time_gaps: bool = False,
        item_head: bool = False,
        look_ahead: bool = False,
        repeats: bool = False,
        dtype: DTypeLike = "float32",
        rngs: nnx.Rngs,
    ):
        def embedding(count: int, scale: float = 1.0) -> Embedding:
            return Embedding(count, d_model, scale=scale, dtype=dtype, rngs=rngs)

        def linear(inputs: int, outputs: int, **how) -> Linear:
            return Linear(inputs, outputs, dtype=dtype, rngs=rngs, **how)

        # In bfloat16, too: rounded to it, many items would be equal, and rank by chance.
        logits = {"preferred_element_type": jnp.float32}
        layer = {
            "d_model": d_model,
            "heads": heads,
            "head_dim": d_model // heads if head_dim is None else head_dim,
            "d_ff": d_ff,
            "attention_rate": attention_dropout,
            "dtype": dtype,
            "rngs": rngs,
        }
        decoder_rate = dropout if decoder_dropout is None else decoder_dropout
        self.causal, self.items_are_tokens = encoder == "causal", tokens == "items"
        self.rate, self.decoder_rate = dropout, decoder_rate
        self.codes = nnx.List([embedding(size) for size in codebook_sizes])
        # What its codes leave unsaid of an item: nothing at first, lest rare items stay noise.
        # Without codes it is all there is, and small, lest the noise outweighs what is learned.
        own = 0.0 if codebook_sizes else 0.2
        self.item = embedding(num_items, own) if item_embedding else None
        self.content = linear(content_dim, d_model) if content_dim else None
        self.gap = embedding(GAP_BUCKETS) if time_gaps else None
        self.user = embedding(user_tokens) if user_tokens else None
        self.relative_positions = RelativePositions(heads, bidirectional=not self.causal, rngs=rngs)
        self.encoder = nnx.List(
            [EncoderLayer(**layer, rate=dropout) for _ in range(encoder_layers)]
        )
        self.encoder_norm = nnx.RMSNorm(d_model, dtype=dtype, rngs=rngs)
        if codebook_sizes:
            self.begin = embedding(len(codebook_sizes))
            self.level_bias = nnx.Embed(len(codebook_sizes), heads, embedding_init=zeros, rngs=rngs)
            self.decoder = nnx.List(
                [DecoderLayer(**layer, rate=decoder_rate) for _ in range(decoder_layers)]
            )
            self.decoder_norm = nnx.RMSNorm(d_model, dtype=dtype, rngs=rngs)
            self.logits = nnx.List([linear(d_model, size, **logits) for size in codebook_sizes])
        # From the identity: the dense head begins with items like those that the state is of.
        self.item_query = linear(d_model, d_model, kernel_init=identity) if item_head else None
        below = [linear(d_model, d_model, kernel_init=zeros) for _ in codebook_sizes[1:]]
        self.queries_ahead = nnx.List(below) if look_ahead else None
        self.repeats = repeats
        logits |= {"kernel_init": zeros}
        self.item_again = linear(d_model, 1, **logits) if repeats and item_head else None
        again = [linear(d_model, 1, **logits) for _ in below]
        self.ahead_again = nnx.List(again) if repeats and look_ahead else None

    def encode(
        self,
        inputs: Inputs,
        catalogue: Catalogue,
        *,
        every_position: bool,
        noise: Noise | None = None,
    ) -> Encoded:
        """Reads rows of items.

        Args:
            every_position: whether there is a query at every slot (Q = T) of a causal encoder, or
                one after the last item of each row (Q = 1), which then holds one history.
        """
        if every_position and not self.causal:
            raise ValueError("a bidirectional encoder serves one query a row, after its last item")
        x, segments = self._tokens(inputs, catalogue)
        items = first_visits(jnp.asarray(inputs.items), segments) if self.repeats else None
        x = dropout(x, self.rate, noise)
        same = segments[:, :, None] == segments[:, None, :]
        if self.causal:
            same = same & jnp.tril(jnp.ones((1, x.shape[1], x.shape[1]), bool))
        bias = self.relative_positions(x.shape[1])
        for layer in self.encoder:
            x = layer(x, same, bias, noise)
        states = self.encoder_norm(x)
        width = 1 if self.items_are_tokens else len(self.codes)
        first = 0 if self.user is None else 1
        if every_position:
            last = slice(first + width - 1, None, width)
            return Encoded(states, same[:, last], states[:, last], items)
        count = jnp.maximum((jnp.asarray(inputs.segments) >= 0).sum(axis=1), 1)
        last = (first + count * width - 1)[:, None, None]
        start = jnp.take_along_axis(states, last, axis=1) if self.causal else None
        return Encoded(states, jnp.take_along_axis(same, last, axis=1), start, items)

    def _tokens(
        self, inputs: Inputs, catalogue: Catalogue
    ) -> tuple[Float[Array, "B S D"], Int[Array, "B S"]]:
        """The encoder's input, and which history each position belongs to."""
        items, segments = jnp.asarray(inputs.items), jnp.asarray(inputs.segments)
        if self.items_are_tokens:
            x = self.item_vectors(items, catalogue)
            if self.gap is not None:
                known = jnp.zeros_like(items) if inputs.gaps is None else jnp.asarray(inputs.gaps)
                x = x + self.gap(known)
        else:
            codes = jnp.asarray(catalogue.codes)[items]
            x = jnp.stack(
                [table(codes[..., level]) for level, table in enumerate(self.codes)], axis=2
            )
            x = x.reshape(*items.shape[:-1], -1, x.shape[-1])
            segments = jnp.repeat(segments, len(self.codes), axis=1)
        if self.user is not None:
            known = inputs.users is not None
            users = jnp.asarray(inputs.users if known else jnp.zeros(items.shape[0], jnp.uint32))
            token = self.user((users % self.user.num_embeddings).astype(jnp.int32)[:, None])
            # Of no segment, a token is seen by nobody: an unknown user goes without.
            segment = segments[:, :1] if known else jnp.full((items.shape[0], 1), -2)
            x = jnp.concatenate([token, x], axis=1)
            segments = jnp.concatenate([segment, segments], axis=1)
        return x, segments

    def item_vectors(
        self, items: Int[Array, "*shape"], catalogue: Catalogue
    ) -> Float[Array, "*shape D"]:
        """One vector for each item: the sum over its codes and what else the model knows of it."""
        if catalogue.vectors is not None:
            return jnp.asarray(catalogue.vectors)[items]
        codes = jnp.asarray(catalogue.codes)[items]
        x = sum(table(codes[..., level]) for level, table in enumerate(self.codes))
        if self.item is not None:
            alone = self.item(items)
            if catalogue.seen is not None:
                alone = jnp.where(jnp.asarray(catalogue.seen)[items][..., None], alone, 0.0)
            x = x + alone
        if self.content is not None:
            x = x + self.content(jnp.asarray(catalogue.content)[items])
        return jnp.asarray(x)

    def remember(self, states: Float[Array, "B S D"]) -> list[KeyValue]:
        """Each decoder layer's keys and values of the history."""
        return [layer.remember(states) for layer in self.decoder]

    def decode_level(
        self,
        level: int,
        previous: Int[Array, "B Q"] | None,
        start: Float[Array, "B Q D"] | None,
        past: list[list[KeyValue]],
        memory: list[KeyValue],
        mask: Bool[Array, "B Q S"],
        noise: Noise | None = None,
        ahead: Ahead | None = None,
    ) -> tuple[Float[Array, "B Q K"], list[KeyValue]]:
        """Logits of this level's code for every query, and what later levels will look back at.

        With `ahead` they are those of the R codes in it, -inf where there is none.

        Args:
            previous: the code chosen at the level before; None at level 0.
            start: the state that the query continues from, if the encoder gave one.
            past: for each earlier level, what this function returned for it, in the queries' order.
            memory: what `remember` returned.
            mask: which positions of the history a query may look at.
            ahead: what the next codes lead to; a model that looks ahead needs it from level 1 on.
        """
        x = self.begin(jnp.full(mask.shape[:2], level))
        if start is not None:
            x = x + start
        if previous is not None:
            x = x + self.codes[level - 1](previous)
        x = dropout(x, self.decoder_rate, noise)
        bias = self.level_bias(jnp.arange(level, -1, -1))
        present = []
        for depth, layer in enumerate(self.decoder):
            so_far = [earlier[depth] for earlier in past]
            x, key_value = layer(x, so_far, bias, memory[depth], mask, noise)
            present.append(key_value)
        x = self.decoder_norm(x)
        logits = self.logits[level](x)
        if self.queries_ahead is None or level == 0:
            return logits, present
        if ahead is None:
            raise ValueError("a model that looks ahead must be told what lies there")
        query = self.queries_ahead[level - 1](x) * x.shape[-1] ** -0.5
        seen = jnp.einsum("bqd,bqrd->bqr", query, ahead.vectors, preferred_element_type=jnp.float32)
        if self.ahead_again is not None:
            assert ahead.repeated is not None
            seen += self.ahead_again[level - 1](x) * ahead.repeated
        logits = jnp.take_along_axis(logits, ahead.code, axis=2, mode="clip") + seen
        return jnp.where(ahead.there, logits, -jnp.inf), present

    def decode(
        self,
        codes: Int[Array, "B Q L"],
        encoded: Encoded,
        noise: Noise | None = None,
        ahead: Sequence[Ahead | None] | None = None,
    ) -> list[Float[Array, "B Q K"]]:
        """Each level's logits when the codes before it are given (teacher forcing).

        `ahead` has an entry for each level; with one, the logits are those of the R codes in it.
        """
        memory = self.remember(encoded.states) if self.codes else []
        past, logits = [], []
        for level in range(len(self.codes)):
            previous = codes[..., level - 1] if level else None
            here, present = self.decode_level(
                level,
                previous,
                encoded.start,
                past,
                memory,
                encoded.mask,
                noise,
                None if ahead is None else ahead[level],
            )
            past.append(present)
            logits.append(here)
        return logits

    def score_items(
        self, start: Float[Array, "B Q D"], items: Int[Array, " M"], catalogue: Catalogue
    ) -> Float[Array, "B Q M"]:
        """The dense head: a logit for each of the given items to come next, for every query."""
        return self.score_vectors(start, self.item_vectors(items, catalogue))

    def score_vectors(
        self, start: Float[Array, "B Q D"], vectors: Float[Array, "M D"]
    ) -> Float[Array, "B Q M"]:
        """The same for items whose vectors, `item_vectors`, are at hand."""
        return jnp.matmul(self._query(start), vectors.T, preferred_element_type=jnp.float32)

    def with_repeats(
        self,
        scores: Float[Array, "B Q E"],
        encoded: Encoded,
        places: Int[Array, " N"] | None = None,
    ) -> Float[Array, "B Q E"]:
        """The dense head's logits of all items, with what it makes of those of the history.

        Args:
            places: where the logit of each item stands; None: at its number.
        """
        if self.item_again is None:
            return scores
        assert encoded.start is not None and encoded.had is not None
        column = encoded.had.items if places is None else places[encoded.had.items]
        weight = self.item_again(encoded.start)[..., 0]
        return with_repeats(scores, weight, encoded.had, column)

    def score_targets(
        self, start: Float[Array, "B Q D"], items: Int[Array, "B Q"], catalogue: Catalogue
    ) -> Float[Array, "B Q"]:
        """The same for one item of its own for every query."""
        products = self._query(start).astype(jnp.float32) * self.item_vectors(items, catalogue)
        return products.sum(-1)

    def _query(self, start: Array) -> Array:
        """What the dense head compares with items' vectors."""
        if self.item_query is None:
            raise ValueError("this model has no dense head")
        return self.item_query(start) * start.shape[-1] ** -0.5
