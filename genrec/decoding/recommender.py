"""From histories to ranked items: batches of few shapes around the compiled search."""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from genrec.data.histories import Histories
from genrec.decoding.beam import beam_search, unconstrained_beam_search
from genrec.decoding.trie import Trie, build_trie
from genrec.model import Catalogue, EncoderDecoder, Inputs, lay_out
from genrec.progress import progress


class Recommender:
    """A trained model and a catalogue, ready to answer.

    Args:
        graph: the model's structure, `nnx.graphdef(model)`.
        params: the model's parameters, a pytree.
        catalogue: what the model knows of every item.
        max_history: the most recent items of a history that are read.
        beam: beam width, and so the largest k.
        batch_size: histories searched at once.
        progress_name: shows progress under this name; None shows none.
    """

    def __init__(
        self,
        graph: nnx.GraphDef[EncoderDecoder],
        params,
        catalogue: Catalogue,
        *,
        max_history: int,
        beam: int,
        batch_size: int,
        progress_name: str | None = None,
    ):
        self.graph, self.params = graph, params
        self.catalogue = jax.tree.map(jnp.asarray, catalogue)
        self.trie = build_trie(np.asarray(catalogue.codes))
        self.max_history, self.beam, self.batch_size = max_history, beam, batch_size
        self.progress_name = progress_name

    def __call__(
        self, histories: Histories, k: int, *, exclude_history: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k items most probable to come next after each history.

        Returns:
            int32 (B, k) item indices, best first, -1 where no item is left; float32 (B, k) scores,
            log-probabilities, -inf there.

        Raises:
            ValueError: k is larger than the beam, or a history is empty.
        """
        find = functools.partial(search, self.graph, self.params, self.trie, beam=self.beam)
        return self._lists(find, histories, k, exclude_history)

    def rank(
        self, histories: Histories, k: int, *, exclude_history: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same by the model's dense head, which scores every item and searches nothing.

        Scores are log-probabilities over all items. Raises ValueError as above, and where the model
        has no dense head.
        """
        find = functools.partial(rank_items, self.graph, self.params, count=self.beam)
        return self._lists(find, histories, k, exclude_history)

    def _lists(
        self, find: Callable, histories: Histories, k: int, exclude_history: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        if not 1 <= k <= self.beam:
            raise ValueError(f"k must lie between 1 and the beam width {self.beam}, got {k}")
        items = np.full((len(histories), k), -1, np.int32)
        scores = np.full((len(histories), k), -np.inf, np.float32)
        widest = int(histories.lengths.max(initial=1)) if exclude_history else 1
        for rows, read in self._batches(histories):
            excluded = np.full((self.batch_size, _round_up(widest)), -1, np.int32)
            if exclude_history:
                seen = self._read(histories, rows, excluded.shape[1], widest)
                excluded[:] = np.where(seen.segments >= 0, seen.items, -1)
            best, score = find(self.catalogue, read, excluded)
            width = min(k, best.shape[1])
            items[rows, :width] = np.asarray(best)[: len(rows), :width]
            scores[rows, :width] = np.asarray(score)[: len(rows), :width]
        return items, scores

    def write(
        self, histories: Histories, codebook_sizes: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The codes most probable to come next after each history, whether an item has them or not.

        Args:
            codebook_sizes: K_l for each of the L levels.

        Returns:
            int32 (B, M, L) codes, best first, M being the beam width or the number of all tuples;
            float32 (B, M) scores, log-probabilities.

        Raises:
            ValueError: a history is empty.
        """
        width = min(self.beam, math.prod(codebook_sizes))
        codes = np.zeros((len(histories), width, len(codebook_sizes)), np.int32)
        scores = np.zeros((len(histories), width), np.float32)
        for rows, read in self._batches(histories):
            written, score = search_freely(
                self.graph, self.params, self.catalogue, read, sizes=codebook_sizes, beam=self.beam
            )
            codes[rows] = np.asarray(written)[: len(rows)]
            scores[rows] = np.asarray(score)[: len(rows)]
        return codes, scores

    def _batches(self, histories: Histories) -> Iterator[tuple[np.ndarray, Inputs]]:
        """Which histories are searched together, and what is read of them.

        Histories of like lengths share a batch, so that short ones do not pay for long ones.
        """
        if len(histories) and histories.lengths.min() == 0:
            raise ValueError("a history without items has nothing to go on")
        lengths = np.minimum(histories.lengths, self.max_history)
        order = np.argsort(lengths, kind="stable")
        shown = self.progress_name is not None and len(order) > 0
        name = self.progress_name or ""
        with progress(name, len(order), "user") if shown else contextlib.nullcontext() as bar:
            for first in range(0, len(order), self.batch_size):
                rows = order[first : first + self.batch_size]
                width = _round_up(int(lengths[rows].max()))
                yield rows, self._read(histories, rows, width, self.max_history)
                if bar is not None:
                    bar.advance(len(rows))

    def _read(self, histories: Histories, rows: np.ndarray, width: int, longest: int) -> Inputs:
        """The last `longest` items of some histories, a row each, and empty rows behind them."""
        stops = histories.stops[rows]
        starts = np.maximum(histories.starts[rows], stops - longest)
        row, nought = np.arange(len(rows)), np.zeros(len(rows), np.int64)
        shape = (self.batch_size, width)
        inputs, _ = lay_out(histories, starts, stops, row, nought, nought, shape)
        users = None
        if histories.users is not None:
            users = np.zeros(self.batch_size, np.uint32)
            users[: len(rows)] = histories.users[rows]
        return inputs._replace(users=users)


@functools.partial(jax.jit, static_argnames=("graph", "beam"))
def search(
    graph: nnx.GraphDef[EncoderDecoder],
    params,
    trie: Trie,
    catalogue: Catalogue,
    histories: Inputs,
    excluded: Int[Array, "B X"],
    *,
    beam: int,
) -> tuple[Int[Array, "B M"], Float[Array, "B M"]]:
    """Encodes histories and searches the trie; one history to a row."""
    model = nnx.merge(graph, params)
    encoded = model.encode(histories, catalogue, every_position=False)
    return beam_search(model, trie, encoded, excluded, beam=beam)


@functools.partial(jax.jit, static_argnames=("graph", "count"))
def rank_items(
    graph: nnx.GraphDef[EncoderDecoder],
    params,
    catalogue: Catalogue,
    histories: Inputs,
    excluded: Int[Array, "B X"],
    *,
    count: int,
) -> tuple[Int[Array, "B M"], Float[Array, "B M"]]:
    """Encodes histories and ranks all items by the dense head."""
    model = nnx.merge(graph, params)
    encoded = model.encode(histories, catalogue, every_position=False)
    if encoded.start is None:
        raise ValueError("a model with a bidirectional encoder has no dense head")
    items = catalogue.codes.shape[0]
    scores = model.score_items(encoded.start, jnp.arange(items), catalogue)[:, 0]
    scores = jax.nn.log_softmax(scores)
    row = jnp.arange(len(excluded))[:, None]
    # Below 0 nothing is excluded; JAX would count that from the end.
    out = jnp.where(excluded >= 0, excluded, items)
    scores, best = jax.lax.top_k(scores.at[row, out].set(-jnp.inf, mode="drop"), min(count, items))
    return jnp.where(jnp.isneginf(scores), -1, best), scores


@functools.partial(jax.jit, static_argnames=("graph", "sizes", "beam"))
def search_freely(
    graph: nnx.GraphDef[EncoderDecoder],
    params,
    catalogue: Catalogue,
    histories: Inputs,
    *,
    sizes: tuple[int, ...],
    beam: int,
) -> tuple[Int[Array, "B M L"], Float[Array, "B M"]]:
    """Encodes histories and searches all tuples of codes."""
    model = nnx.merge(graph, params)
    encoded = model.encode(histories, catalogue, every_position=False)
    return unconstrained_beam_search(model, sizes, encoded, beam=beam)


def _round_up(length: int, smallest: int = 8) -> int:
    """The next power of two: few shapes, so few compilations."""
    return max(smallest, 1 << (length - 1).bit_length())
