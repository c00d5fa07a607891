"""The encoder-decoder: (history, codes so far) → logits of the next code, and nothing else.

An item enters the encoder as one vector, or as a token for each of its codes. A causal encoder's
state at position t has seen the items up to t only, so one pass over a history serves a prediction
at every position; a bidirectional one serves a single prediction, after the last item. The decoder
writes the L codes of an item, one level at a time, for many queries at once: in training the
queries of a history are its positions, in beam search they are the beams of its last position.

Array shapes: B rows, T positions of the encoder, Q queries, L levels, K codebook size, R candidate
codes, N items, V items scored, D model width, C content width, H heads. There are as many positions
as item slots, or more where an item has several tokens or the user has one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from genrec.config import ModelConfig
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
from genrec.model.look_ahead import CandidateCodes
from genrec.model.repeat_bias import HistoryItems, add_repeat_bias, first_occurrences
from genrec.sequences.inputs import GAP_BUCKETS, Catalogue, Inputs


class Encoded(NamedTuple):
    """What the encoder makes of its rows.

    Attributes:
        states: (B, T, D), one for every position.
        mask: bool (B, Q, T), which positions each query may look at.
        start: (B, Q, D), the state that each query continues from; None with a bidirectional
            encoder, in which no state stands for the end of the history.
        items: int32 (B, T), the items of the rows, see `HistoryItems`; None for a model without
            `repeats`.
    """

    states: Float[Array, "B T D"]
    mask: Bool[Array, "B Q T"]
    start: Float[Array, "B Q D"] | None
    items: Int[Array, "B T"] | None = None

    @property
    def history_items(self) -> HistoryItems | None:
        """The items in each query's history; None for a model without `repeats`."""
        return None if self.items is None else HistoryItems(self.items, self.mask)

    def with_queries(self, count: int) -> "Encoded":
        """Histories with `count` queries each in place of one."""
        start = None if self.start is None else jnp.repeat(self.start, count, axis=1)
        return self._replace(mask=jnp.repeat(self.mask, count, axis=1), start=start)


class EncoderDecoder(nnx.Module):
    """Reads histories and writes semantic IDs.

    `encode` turns rows of items into states; `remember` prepares them for the decoder, once;
    `decode_level` gives the logits of one level's codes for every query; `decode` runs it over all
    levels with the codes given, as training does; `score_vectors` is the dense head.

    Parameters are float32, and so are softmaxes and logits; other computations are of
    `settings.dtype`.

    Args:
        settings: what the model is made of; `max_history` and `content` are not read here.
        num_items: N.
        codebook_sizes: K of each of the L levels; not read where `settings.codes` is false. Such a
            model has the dense head alone, and is a SASRec (Kang and McAuley 2018).
        content_dim: C; 0 if the model does not read the content embeddings.
    """

    def __init__(
        self,
        settings: ModelConfig,
        *,
        num_items: int,
        codebook_sizes: Sequence[int],
        content_dim: int = 0,
        rngs: nnx.Rngs,
    ):
        common = {"dtype": settings.dtype, "rngs": rngs}
        d_model, heads = settings.d_model, settings.heads
        sizes = codebook_sizes if settings.codes else ()

        def embedding(count: int, scale: float = 1.0) -> Embedding:
            return Embedding(count, d_model, scale=scale, **common)

        def linear(inputs: int, outputs: int, **options) -> Linear:
            return Linear(inputs, outputs, **common, **options)

        # In bfloat16, too: rounded to it, many items would be equal, and rank by chance.
        logits = {"preferred_element_type": jnp.float32}
        self.rate = self.decoder_rate = settings.dropout
        if settings.decoder_dropout is not None:
            self.decoder_rate = settings.decoder_dropout
        self.causal = settings.encoder == "causal"
        self.items_are_tokens = settings.tokens == "items"
        self.codes = nnx.List([embedding(size) for size in sizes])
        # What its codes leave unsaid of an item: nothing at first, lest rare items stay noise.
        # Without codes it is all there is, and small, lest the noise outweighs what is learned.
        own = 0.0 if sizes else 0.2
        self.item = embedding(num_items, own) if settings.item_embedding else None
        self.content = linear(content_dim, d_model) if content_dim else None
        self.gap = embedding(GAP_BUCKETS) if settings.time_gaps else None
        self.user = embedding(settings.user_tokens) if settings.user_tokens else None
        self.relative_positions = RelativePositions(heads, bidirectional=not self.causal, rngs=rngs)
        self.encoder = nnx.List(
            [EncoderLayer(settings, self.rate, rngs=rngs) for _ in range(settings.encoder_layers)]
        )
        self.encoder_norm = nnx.RMSNorm(d_model, **common)
        if sizes:
            self.begin = embedding(len(sizes))
            self.level_bias = nnx.Embed(len(sizes), heads, embedding_init=zeros, rngs=rngs)
            layers = range(settings.decoder_layers)
            self.decoder = nnx.List(
                [DecoderLayer(settings, self.decoder_rate, rngs=rngs) for _ in layers]
            )
            self.decoder_norm = nnx.RMSNorm(d_model, **common)
            self.logits = nnx.List([linear(d_model, size, **logits) for size in sizes])
        # From the identity: the dense head begins with items like those that the state is of.
        head = settings.item_head
        self.item_query = linear(d_model, d_model, kernel_init=identity) if head else None
        # One for each level from the second on.
        below = [linear(d_model, d_model, kernel_init=zeros) for _ in sizes[1:]]
        self.queries_ahead = nnx.List(below) if settings.look_ahead else None
        self.repeats = settings.repeats
        logits |= {"kernel_init": zeros}
        self.item_again = linear(d_model, 1, **logits) if self.repeats and head else None
        again = [linear(d_model, 1, **logits) for _ in below]
        self.ahead_again = nnx.List(again) if self.repeats and settings.look_ahead else None

    def encode(
        self,
        inputs: Inputs,
        catalogue: Catalogue,
        *,
        every_position: bool,
        noise: Noise | None = None,
    ) -> Encoded:
        """States of rows of items, and the queries that the decoder is to answer.

        Args:
            every_position: whether there is a query at every slot (Q = T) of a causal encoder, or
                one after the last item of each row (Q = 1), which then holds one history.
        """
        assert self.causal or not every_position, "a bidirectional encoder serves one query a row"
        x, segments = self._tokens(inputs, catalogue)
        items = first_occurrences(jnp.asarray(inputs.items), segments) if self.repeats else None
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
    ) -> tuple[Float[Array, "B T D"], Int[Array, "B T"]]:
        """The encoder's input, and which history each position belongs to."""
        items, segments = jnp.asarray(inputs.items), jnp.asarray(inputs.segments)
        if self.items_are_tokens:
            x = self.item_vectors(items, catalogue)
            if self.gap is not None:
                gaps = jnp.zeros_like(items) if inputs.gaps is None else jnp.asarray(inputs.gaps)
                x = x + self.gap(gaps)
        else:
            codes = jnp.asarray(catalogue.codes)[items]
            x = jnp.stack(
                [table(codes[..., level]) for level, table in enumerate(self.codes)], axis=2
            )
            x = x.reshape(*items.shape[:-1], -1, x.shape[-1])
            segments = jnp.repeat(segments, len(self.codes), axis=1)
        if self.user is not None:
            has_users = inputs.users is not None
            users = inputs.users if has_users else jnp.zeros(items.shape[0], jnp.uint32)
            users = jnp.asarray(users)
            token = self.user((users % self.user.num_embeddings).astype(jnp.int32)[:, None])
            # A segment of its own hides the token of an unknown user from all other positions.
            segment = segments[:, :1] if has_users else jnp.full((items.shape[0], 1), -2)
            x = jnp.concatenate([token, x], axis=1)
            segments = jnp.concatenate([segment, segments], axis=1)
        return x, segments

    def item_vectors(
        self, items: Int[Array, "*shape"], catalogue: Catalogue
    ) -> Float[Array, "*shape D"]:
        """One vector for each item: the sum of its codes' embeddings, its own and its content."""
        if catalogue.vectors is not None:
            return jnp.asarray(catalogue.vectors)[items]
        codes = jnp.asarray(catalogue.codes)[items]
        x = sum(table(codes[..., level]) for level, table in enumerate(self.codes))
        if self.item is not None:
            own = self.item(items)
            if catalogue.seen is not None:
                own = jnp.where(jnp.asarray(catalogue.seen)[items][..., None], own, 0.0)
            x = x + own
        if self.content is not None:
            x = x + self.content(jnp.asarray(catalogue.content)[items])
        return jnp.asarray(x)

    def remember(self, states: Float[Array, "B T D"]) -> list[KeyValue]:
        """Each decoder layer's keys and values of the history."""
        return [layer.remember(states) for layer in self.decoder]

    def decode_level(
        self,
        level: int,
        previous: Int[Array, "B Q"] | None,
        start: Float[Array, "B Q D"] | None,
        past: list[list[KeyValue]],
        memory: list[KeyValue],
        mask: Bool[Array, "B Q T"],
        noise: Noise | None = None,
        candidates: CandidateCodes | None = None,
    ) -> tuple[Float[Array, "B Q V"], list[KeyValue]]:
        """Logits of this level's code for every query, and what later levels will look back at.

        The logits are those of all K codes; with `candidates` those of the R codes in it, -inf for
        entries that are not valid.

        Args:
            previous: the code chosen at the level before; None at level 0.
            start: the state that the query continues from, if the encoder gave one.
            past: for each earlier level, what this function returned for it, in the queries' order.
            memory: what `remember` returned.
            mask: which positions of the history a query may look at.
            candidates: the codes that may come next, with the items below them; a model that looks
                ahead needs them from level 1 on.
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
        assert candidates is not None, "a model that looks ahead needs the candidate codes"
        query = self.queries_ahead[level - 1](x) * x.shape[-1] ** -0.5
        ahead = jnp.einsum(
            "bqd,bqrd->bqr", query, candidates.vectors, preferred_element_type=jnp.float32
        )
        if self.ahead_again is not None:
            assert candidates.repeated_share is not None
            ahead += self.ahead_again[level - 1](x) * candidates.repeated_share
        logits = jnp.take_along_axis(logits, candidates.code, axis=2, mode="clip") + ahead
        return jnp.where(candidates.valid, logits, -jnp.inf), present

    def decode(
        self,
        codes: Int[Array, "B Q L"],
        encoded: Encoded,
        noise: Noise | None = None,
        candidates: Sequence[CandidateCodes | None] | None = None,
    ) -> list[Float[Array, "B Q V"]]:
        """Each level's logits when the codes before it are given (teacher forcing).

        `candidates` has an entry for each level, see `decode_level`.
        """
        memory = self.remember(encoded.states) if self.codes else []
        past, logits = [], []
        for level in range(len(self.codes)):
            previous = codes[..., level - 1] if level else None
            level_logits, present = self.decode_level(
                level,
                previous,
                encoded.start,
                past,
                memory,
                encoded.mask,
                noise,
                None if candidates is None else candidates[level],
            )
            past.append(present)
            logits.append(level_logits)
        return logits

    def score_vectors(
        self, start: Float[Array, "B Q D"], vectors: Float[Array, "V D"]
    ) -> Float[Array, "B Q V"]:
        """The dense head: a logit for each item to come next, from its vector (`item_vectors`)."""
        return jnp.matmul(self._query(start), vectors.T, preferred_element_type=jnp.float32)

    def with_repeat_bias(
        self,
        scores: Float[Array, "B Q V"],
        encoded: Encoded,
        columns: Int[Array, " _"] | None = None,
    ) -> Float[Array, "B Q V"]:
        """The dense head's logits, with the repeat bias on the items of each query's history.

        Args:
            columns: the column of `scores` that is each item's; None if it is the item's index.
        """
        if self.item_again is None:
            return scores
        history_items = encoded.history_items
        assert encoded.start is not None and history_items is not None
        items = history_items.items
        column = items if columns is None else columns[items]
        bias = self.item_again(encoded.start)[..., 0]
        return add_repeat_bias(scores, bias, history_items, column)

    def score_targets(
        self, start: Float[Array, "B Q D"], items: Int[Array, "B Q"], catalogue: Catalogue
    ) -> Float[Array, "B Q"]:
        """As `score_vectors`, for one item of each query."""
        products = self._query(start).astype(jnp.float32) * self.item_vectors(items, catalogue)
        return products.sum(-1)

    def _query(self, start: Array) -> Array:
        """(B, Q, D): the vector that the dense head multiplies with items' vectors."""
        if self.item_query is None:
            raise ValueError("this model has no dense head")
        return self.item_query(start) * start.shape[-1] ** -0.5
