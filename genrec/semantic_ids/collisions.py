"""Semantic IDs, and how items that the tokenizer gives the same codes are told apart.

Each of the three ways also takes items that come later, and never changes an existing semantic ID.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from genrec.errors import UserError

_SMALLEST_LAST_LEVEL = 16

Collisions = Literal["code", "reassign", "none"]


@dataclass(frozen=True)
class SemanticIds:
    """The semantic IDs of a catalogue.

    Attributes:
        codes: int32 (N, L), row i is item i's semantic ID; `codes[:, l]` lies in 0…K_l - 1. Where
            there is one, the last level is the disambiguation code.
        codebook_sizes: K_l for each of the L levels.
        unique: whether no two items have the same one.
    """

    codes: np.ndarray
    codebook_sizes: tuple[int, ...]
    unique: bool = True


def semantic_ids_of(
    codes: np.ndarray,
    codebook_sizes: tuple[int, ...],
    collisions: Collisions,
    distances: Callable[[np.ndarray], np.ndarray],
    existing: SemanticIds | None = None,
) -> SemanticIds:
    """Semantic IDs of items from the codes that the tokenizer gives them.

    Args:
        codes: integers (N, L).
        codebook_sizes: K_l for each of the L levels.
        collisions: "code": `disambiguate`; "reassign": `reassign`; "none": items may share theirs.
        distances: item indices int (n,) → float (n, K_L), how far each item is from every code of
            the last level, see `Tokenizer.distances`.
        existing: the semantic IDs of the first len(existing.codes) items, which stay as they are;
            `codes` begins with theirs.

    Raises:
        UserError: there is no room left to tell some items apart.
    """
    if collisions == "code":
        return disambiguate(codes, codebook_sizes, existing)
    if collisions == "reassign":
        return reassign(codes, codebook_sizes, distances, existing)
    return SemanticIds(codes.astype(np.int32), codebook_sizes, unique=False)


def append_codes(
    before: SemanticIds,
    codes: np.ndarray,
    collisions: Collisions,
    distances: Callable[[np.ndarray], np.ndarray],
) -> SemanticIds:
    """Semantic IDs of N items and of n new ones behind them; those of the N stay as they are.

    Args:
        before: of the N items.
        codes: integers (n, L), what the tokenizer, which stays as it is, gives the new items.
        collisions, distances: see `semantic_ids_of`; the latter by row of `codes`.

    Raises:
        UserError: there is no room left to tell some items apart.
    """
    first, levels = len(before.codes), codes.shape[1]
    return semantic_ids_of(
        np.concatenate([before.codes[:, :levels], codes]),
        before.codebook_sizes[:levels],
        collisions,
        lambda items: distances(items - first),
        before,
    )


def disambiguate(
    codes: np.ndarray, codebook_sizes: tuple[int, ...], existing: SemanticIds | None = None
) -> SemanticIds:
    """Makes semantic IDs unique by one more code (Rajput et al. 2023, section 3.1).

    Items that share a tuple get 0, 1, 2, … as their disambiguation code, in the order of their
    indices. The new level has room for more: its size is the next power of two above the largest
    group, at least 16, so that most new items find a free code and no model needs resizing.

    Returns:
        Semantic IDs with codes int32 (N, L + 1).

    Raises:
        UserError: a tuple has no free disambiguation code left beside the existing ones.
    """
    last = rank_in_group(codes)
    ids = np.column_stack([codes, last]).astype(np.int32)
    if existing is None:
        # bit_length gives a power of two strictly above the largest group: a full one has no room.
        size = max(_SMALLEST_LAST_LEVEL, 1 << (int(last.max(initial=0)) + 1).bit_length())
        return SemanticIds(ids, (*codebook_sizes, size))
    first, size = len(existing.codes), existing.codebook_sizes[-1]
    if (full := last >= size).any():
        example = tuple(codes[full.argmax()].tolist())
        raise UserError(
            f"{int(full.sum()):,} new items share a tuple such as {example} that already has "
            f"{size} items, as many as the last level can tell apart: tokenize the whole "
            "catalogue again"
        )
    return SemanticIds(np.concatenate([existing.codes, ids[first:]]), existing.codebook_sizes)


def reassign(
    codes: np.ndarray,
    codebook_sizes: tuple[int, ...],
    distances: Callable[[np.ndarray], np.ndarray],
    existing: SemanticIds | None = None,
) -> SemanticIds:
    """Makes semantic IDs unique by moving items to other codes of the last level.

    Of the items that share a tuple the one nearest to it keeps it; the others of a prefix get its
    free codes such that the sum of their squared distances is least.

    Raises:
        UserError: a prefix has more items than the last level has codes.
    """
    codes, size = codes.astype(np.int32), codebook_sizes[-1]
    fixed = 0 if existing is None else len(existing.codes)
    _, group, sizes = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    colliding = np.flatnonzero(sizes[group.reshape(-1)] > 1)
    movable = colliding[colliding >= fixed]
    if not len(movable):
        return SemanticIds(codes, codebook_sizes)
    from scipy.optimize import linear_sum_assignment  # slow to import, and rarely needed

    far = distances(movable)
    own = np.zeros(len(codes), np.float32)  # 0 for items that do not move: they are the nearest
    own[movable] = far[np.arange(len(movable)), codes[movable, -1]]
    # By codes, then existing semantic IDs first, then by distance: the first item of a tuple
    # keeps it.
    nearest_first = np.lexsort([own[colliding], colliding >= fixed, *codes[colliding].T[::-1]])
    ranked = colliding[nearest_first]
    moved = np.sort(ranked[rank_in_group(codes[ranked]) > 0])
    prefixes = np.unique(codes[:, :-1], axis=0, return_inverse=True)[1].reshape(-1)
    keeps = np.ones(len(codes), bool)
    keeps[moved] = False
    affected = np.isin(prefixes, prefixes[moved]) & keeps
    taken = _values_by_key(prefixes[affected], codes[affected, -1])
    for prefix, items in _values_by_key(prefixes[moved], moved).items():
        free = np.setdiff1d(np.arange(size), taken[prefix])
        if len(items) > len(free):
            raise UserError(
                f"the prefix {tuple(codes[items[0], :-1].tolist())} has "
                f"{len(items) + size - len(free):,} items, but the last level only {size} codes to "
                "tell them apart: choose tokenizer.collisions code, or a larger last codebook"
            )
        cost = far[np.searchsorted(movable, items)][:, free]
        rows, columns = linear_sum_assignment(cost)
        codes[items[rows], -1] = free[columns]
    return SemanticIds(codes, codebook_sizes)


def _values_by_key(keys: np.ndarray, values: np.ndarray) -> dict[int, np.ndarray]:
    """The values that stand beside each key, in their order."""
    order = np.argsort(keys, kind="stable")
    distinct, starts = np.unique(keys[order], return_index=True)
    parts = np.split(values[order], starts[1:])
    return dict(zip(distinct.tolist(), parts, strict=True))


def rank_in_group(codes: np.ndarray) -> np.ndarray:
    """int64 (N,): how many earlier rows equal each row of `codes` (N, L)."""
    order = np.lexsort(codes.T[::-1])  # stable, so equal rows keep the order of their indices
    ordered = codes[order]
    first = np.ones(len(codes), bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    position = np.arange(len(codes))
    rank = np.empty(len(codes), np.int64)
    rank[order] = position - np.maximum.accumulate(np.where(first, position, 0))
    return rank
