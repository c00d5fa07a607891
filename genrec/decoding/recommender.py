"""From histories to ranked items: batches of few shapes around the compiled search."""

import contextlib
import functools
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from genrec.data.histories import Histories
from genrec.decoding.beam import beam_search, unconstrained_beam_search
from genrec.decoding.trie import Trie, build_trie
from genrec.model import EncoderDecoder, causal_mask
from genrec.progress import progress


class Recommender:
    """A trained model and a catalogue, ready to answer.

    Args:
        graph: the model's structure, `nnx.graphdef(model)`.
        params: the model's parameters, a pytree.
        codes: int (N, L), the semantic ID of every item.
        max_history: the most recent items of a history that are read.
        beam: beam width, and so the largest k.
        batch_size: histories searched at once.
        progress_name: shows progress under this name; None shows none.
    """

    def __init__(
        self,
        graph: nnx.GraphDef[EncoderDecoder],
        params,
        codes: np.ndarray,
        *,
        max_history: int,
        beam: int,
        batch_size: int,
        progress_name: str | None = None,
    ):
        self.graph, self.params = graph, params
        self.codes = jnp.asarray(codes, jnp.int32)
        self.trie = build_trie(codes)
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
        if not 1 <= k <= self.beam:
            raise ValueError(f"k must lie between 1 and the beam width {self.beam}, got {k}")
        items = np.full((len(histories), k), -1, np.int32)
        scores = np.full((len(histories), k), -np.inf, np.float32)
        widest = int(histories.lengths.max(initial=1)) if exclude_history else 1
        for rows, read in self._batches(histories):
            seen = _right_aligned(histories, rows, _round_up(widest), widest)
            excluded = _fill(seen if exclude_history else np.full_like(seen, -1), self.batch_size)
            best, score = search(
                self.graph, self.params, self.trie, self.codes, read, excluded, beam=self.beam
            )
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
                self.graph, self.params, self.codes, read, sizes=codebook_sizes, beam=self.beam
            )
            codes[rows] = np.asarray(written)[: len(rows)]
            scores[rows] = np.asarray(score)[: len(rows)]
        return codes, scores

    def _batches(self, histories: Histories) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Which histories are searched together, and int32 (batch_size, T) what is read of them.

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
                read = _right_aligned(histories, rows, width, self.max_history)
                yield rows, _fill(read, self.batch_size)
                if bar is not None:
                    bar.advance(len(rows))


@functools.partial(jax.jit, static_argnames=("graph", "beam"))
def search(
    graph: nnx.GraphDef[EncoderDecoder],
    params,
    trie: Trie,
    codes: Int[Array, "N L"],
    histories: Int[Array, "B T"],
    excluded: Int[Array, "B X"],
    *,
    beam: int,
) -> tuple[Int[Array, "B M"], Float[Array, "B M"]]:
    """Encodes histories and searches the trie; histories are as `_right_aligned` makes them."""
    model = nnx.merge(graph, params)
    return beam_search(model, trie, *_encode(model, codes, histories), excluded, beam=beam)


@functools.partial(jax.jit, static_argnames=("graph", "sizes", "beam"))
def search_freely(
    graph: nnx.GraphDef[EncoderDecoder],
    params,
    codes: Int[Array, "N L"],
    histories: Int[Array, "B T"],
    *,
    sizes: tuple[int, ...],
    beam: int,
) -> tuple[Int[Array, "B M L"], Float[Array, "B M"]]:
    """Encodes histories and searches all tuples of codes."""
    model = nnx.merge(graph, params)
    return unconstrained_beam_search(model, sizes, *_encode(model, codes, histories), beam=beam)


def _encode(
    model: EncoderDecoder, codes: Int[Array, "N L"], histories: Int[Array, "B T"]
) -> tuple[Float[Array, "B T D"], Bool[Array, "B T"]]:
    """The states of right-aligned histories, and which positions hold an item."""
    readable = histories >= 0
    items = jnp.maximum(histories, 0)
    return model.encode(items, codes[items], causal_mask(readable.astype(jnp.int32))), readable


def _right_aligned(histories: Histories, rows: np.ndarray, width: int, longest: int) -> np.ndarray:
    """int32 (len(rows), width): each history's last `longest` items at the right, -1 before."""
    end = histories.indptr[rows + 1][:, None]
    at = end - width + np.arange(width)
    begin = np.maximum(histories.indptr[rows][:, None], end - longest)
    return np.where(at >= begin, histories.items[np.maximum(at, 0)], -1).astype(np.int32)


def _fill(rows: np.ndarray, count: int) -> np.ndarray:
    """Repeats the last row until there are `count`, so that every batch has one shape."""
    return np.pad(rows, ((0, count - len(rows)), (0, 0)), mode="edge")


def _round_up(length: int, smallest: int = 8) -> int:
    """The next power of two: few shapes, so few compilations."""
    return max(smallest, 1 << (length - 1).bit_length())
