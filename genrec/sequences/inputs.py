"""What the encoder reads: histories laid out in rows, as the training and the recommender do it."""

from typing import NamedTuple

import jax
import numpy as np

from genrec.sequences.histories import Histories


class Inputs(NamedTuple):
    """B rows of T slots for items; one history to a row from its first slot on, or several.

    Attributes:
        items: int32 (B, T), the item at each slot.
        segments: int32 (B, T), which history of its row a slot belongs to; -1 where there is none,
            and then the slot's other entries mean nothing.
        gaps: int32 (B, T), how long after the item before it an item came, see `gap_buckets`; None
            where no time is known.
        users: uint32 (B,), the hash of the user's id; None where rows hold several histories or
            nobody knows.
    """

    items: np.ndarray | jax.Array
    segments: np.ndarray | jax.Array
    gaps: np.ndarray | jax.Array | None = None
    users: np.ndarray | jax.Array | None = None


class Catalogue(NamedTuple):
    """What is known of the N items; an argument of compiled functions, never a part of them.

    Attributes:
        codes: int32 (N, L), the semantic IDs.
        content: float32 (N, C), the embeddings of their content, of about unit entries; None where
            the model does not read them.
        seen: bool (N,), whether an item has a training interaction; None where all have one. The
            vectors of their own that items have beside codes and content are read for these alone.
        vectors: (N, D), the model's vector of each item, where it has been computed already; then
            neither content nor seen are read.
    """

    codes: np.ndarray | jax.Array
    content: np.ndarray | jax.Array | None = None
    seen: np.ndarray | jax.Array | None = None
    vectors: np.ndarray | jax.Array | None = None


GAP_BUCKETS = 33
"""Number of values of `gap_buckets`: up to 2^32 seconds, and none."""


def gap_buckets(timestamps: np.ndarray) -> np.ndarray:
    """int32 (T,): 1 + ⌊log2(1 + seconds since the one before)⌋ for int64 (T,) times; 0 first."""
    seconds = np.clip(np.diff(timestamps, prepend=timestamps[:1]), 0, 2**32 - 2)
    buckets = 1 + np.floor(np.log2(1.0 + seconds)).astype(np.int32)
    buckets[:1] = 0
    return buckets


def lay_out(
    histories: Histories,
    starts: np.ndarray,
    stops: np.ndarray,
    rows: np.ndarray,
    offsets: np.ndarray,
    segments: np.ndarray,
    shape: tuple[int, int],
) -> tuple[Inputs, np.ndarray]:
    """Puts pieces of histories into rows, without users.

    Args:
        histories: where the pieces are cut from.
        starts, stops: int64 (P,), each piece is `histories.items[start:stop]`.
        rows, offsets, segments: int64 (P,), where its first item goes, and its number in the row.
        shape: rows and slots, (B, T).

    Returns:
        The rows; and int64 (B, T), for each slot the position of its item in `histories.items`
        (0 where there is none).
    """
    lengths = stops - starts
    ends = np.cumsum(lengths)
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    source = np.repeat(starts, lengths) + within
    slot = np.repeat(rows * shape[1] + offsets, lengths) + within

    def spread(values: np.ndarray, fill: int) -> np.ndarray:
        flat = np.full(shape[0] * shape[1], fill, values.dtype)
        flat[slot] = values
        return flat.reshape(shape)

    gaps = None
    if histories.timestamps is not None:
        buckets = gap_buckets(histories.timestamps[source])
        buckets[within == 0] = 0
        gaps = spread(buckets, 0)
    inputs = Inputs(
        spread(histories.items[source].astype(np.int32), 0),
        spread(np.repeat(segments, lengths).astype(np.int32), -1),
        gaps,
    )
    return inputs, spread(source, 0)
