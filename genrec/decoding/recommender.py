"""From histories to ranked items: batches of few shapes around the compiled search."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from genrec.data.histories import Histories
from genrec.decoding.beam import beam_search
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
        if len(histories) and histories.lengths.min() == 0:
            raise ValueError("a history without items has nothing to go on")
        items = np.full((len(histories), k), -1, np.int32)
        scores = np.full((len(histories), k), -np.inf, np.float32)
        widest = int(histories.lengths.max(initial=1)) if exclude_history else 1
        # Histories of like lengths share a batch, so that short ones do not pay for long ones.
        for rows in self._tracked(self._batches(histories), len(histories)):
            read = _right_aligned(histories, rows, self._bucket(histories, rows), self.max_history)
            seen = _right_aligned(histories, rows, _round_up(widest), widest)
            found = search(
                self.graph,
                self.params,
                self.trie,
                self.codes,
                _fill(read, self.batch_size),
                _fill(seen if exclude_history else np.full_like(seen, -1), self.batch_size),
                beam=self.beam,
            )
            width = min(k, found[0].shape[1])
            items[rows, :width] = np.asarray(found[0])[: len(rows), :width]
            scores[rows, :width] = np.asarray(found[1])[: len(rows), :width]
        return items, scores

    def _batches(self, histories: Histories) -> list[np.ndarray]:
        by_length = np.argsort(np.minimum(histories.lengths, self.max_history), kind="stable")
        return [
            by_length[first : first + self.batch_size]
            for first in range(0, len(by_length), self.batch_size)
        ]

    def _tracked(self, batches: list[np.ndarray], users: int) -> Iterator[np.ndarray]:
        if self.progress_name is None:
            yield from batches
            return
        with progress(self.progress_name, users, "user") as bar:
            for rows in batches:
                yield rows
                bar.advance(len(rows))

    def _bucket(self, histories: Histories, rows: np.ndarray) -> int:
        return min(_round_up(int(histories.lengths[rows].max())), _round_up(self.max_history))


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
    """Encodes histories and searches; right-aligned item indices, below 0 where there is none."""
    model = nnx.merge(graph, params)
    readable = histories >= 0
    items = jnp.maximum(histories, 0)
    states = model.encode(items, codes[items], causal_mask(readable.astype(jnp.int32)))
    return beam_search(model, trie, states, readable, excluded, beam=beam)


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
