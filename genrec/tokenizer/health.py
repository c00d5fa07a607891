"""Health of a tokenizer: use of its codes, error, collisions, and the meaning of prefixes."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from genrec.tokenizer.collapse import collapse_error, collapsed
from genrec.tokenizer.components import mean_of


def health(
    codes: np.ndarray,
    codebook_sizes: tuple[int, ...],
    vectors: np.ndarray,
    decode: Callable[[np.ndarray], np.ndarray],
    categories: Sequence[str | None] | None = None,
) -> dict[str, Any]:
    """Measures codes before collisions are resolved, in bounded memory.

    Args:
        codes: integers (N, L), N ≥ 1.
        vectors: float (N, D), the vectors that were tokenized; may be memory-mapped.
        decode: codes (B, 1…L) → float (B, D), the vectors that codes of the first levels stand for.
        categories: the category of each item; None or "" for an item where it is unknown.

    Returns:
        Plain numbers, ready for JSON:
        - `items`: N.
        - `relative_error`: ‖x − x̂‖² / ‖x − mean‖², both summed over the items; 0 is perfect, 1 is
          as good as the mean alone. None if all vectors are equal.
        - `distinct_tuples`: number of distinct tuples; `distinct_share`: the same divided by N.
        - `unique_share`: share of the items whose tuple no other item has; `colliding_items`: the
          number of the other items; `largest_group`: the most items that have the same tuple.
        - `same_category`, only with categories: the probability that two items have the same
          category. Prefixes without meaning would have the same figure.
        - `levels`: for each level
          - `size`; `used`: share of its codes in use; `entropy` of its codes in bits; `perplexity`:
            2^entropy, the number of codes that would tell as much if used evenly;
          - `prefixes`: number of distinct prefixes up to this level; `relative_error` of the
            vectors that these stand for;
          - `variance_within`: the variance among items that share such a prefix, relative to that
            among all items, both unbiased. Near 0, prefixes gather similar items; near 1, they have
            no meaning. None if no two items share a prefix;
          - `same_category`, only with categories: the share of the others with an item's prefix
            that have its category, averaged over the items that share their prefix. None if no item
            does.
    """
    count, levels = codes.shape
    order = np.lexsort(codes.T[::-1])
    total, errors, within = _squares(codes, order, vectors, decode)
    numbers = None
    if categories is not None:
        names = sorted({name for name in categories if name})
        number_of = {name: number for number, name in enumerate(names)}
        numbers = np.array([number_of.get(name or "", -1) for name in categories])
    first = np.zeros(count, bool)
    first[0] = True
    rows, ordered = [], codes[order]
    for level in range(levels):
        # In lexicographic order the items of a prefix stand together, whatever its length.
        first[1:] |= ordered[1:, level] != ordered[:-1, level]
        starts = np.flatnonzero(first)
        sizes = np.diff(np.r_[starts, count])
        shared = count - len(starts)
        share = np.bincount(codes[:, level]) / count
        share = share[share > 0]
        entropy = float(-(share * np.log2(share)).sum())
        row = {
            "size": int(codebook_sizes[level]),
            "used": len(share) / codebook_sizes[level],
            "entropy": abs(entropy),
            "perplexity": 2**entropy,
            "prefixes": len(starts),
            "relative_error": errors[level] / total if total else None,
            "variance_within": max(0.0, within[level]) / shared / (total / (count - 1))
            if shared and total
            else None,
        }
        if numbers is not None:
            row["same_category"] = _same_category(np.cumsum(first) - 1, numbers[order])
        rows.append(row)
    measured = {
        "items": count,
        "relative_error": rows[-1]["relative_error"],
        "distinct_tuples": len(starts),
        "distinct_share": len(starts) / count,
        "unique_share": int(np.count_nonzero(sizes == 1)) / count,
        "colliding_items": int(sizes[sizes > 1].sum()),
        "largest_group": int(sizes.max()),
        "levels": rows,
    }
    if numbers is not None:
        measured["same_category"] = _same_category(np.zeros(count, int), numbers)
    return measured


def after_collisions(ids: np.ndarray, codes: np.ndarray) -> dict[str, int]:
    """Counts the collisions that are left in semantic IDs, and the items that were moved.

    Args:
        ids: int (N, L or L + 1), the semantic IDs.
        codes: int (N, L), the tokenizer's codes.

    Returns:
        `colliding_items` and `largest_group` as in `health`, but of the semantic IDs; and
        `moved_items`, the number of items whose codes were changed.
    """
    _, sizes = np.unique(ids, axis=0, return_counts=True)
    return {
        "colliding_items": int(sizes[sizes > 1].sum()),
        "largest_group": int(sizes.max()),
        "moved_items": int((ids[:, : codes.shape[1]] != codes).any(axis=1).sum()),
    }


def refuse_collapse(measured: dict[str, Any], threshold: float) -> None:
    """Raises UserError if a level uses less than this share of the codes that it could use."""
    rows = measured["levels"]
    sizes, used = [row["size"] for row in rows], [row["used"] for row in rows]
    errors = [1.0, *(row["relative_error"] or 0.0 for row in rows)]
    if levels := collapsed(used, sizes, errors, measured["distinct_tuples"], threshold):
        raise collapse_error(levels[0], used[levels[0]], sizes, "in the end")


def health_table(measured: dict[str, Any]) -> str:
    """The figures of `health` as a table of plain text."""

    def number(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    lines = [
        f"{measured['items']:,} items, {measured['distinct_tuples']:,} distinct tuples "
        f"({measured['distinct_share']:.1%})",
        f"{measured['colliding_items']:,} items share one, at most "
        f"{measured['largest_group']:,} the same",
    ]
    if after := measured.get("after"):
        moved = f"; {after['moved_items']:,} items were moved" * bool(after["moved_items"])
        lines.append(
            f"in the end {after['colliding_items']:,} share one, at most "
            f"{after['largest_group']:,} the same{moved}"
        )
    categories = "same_category" in measured
    lines.append(
        "level  codes    used  perplexity  entropy  prefixes  error  within"
        + "  category" * categories
    )
    for level, row in enumerate(measured["levels"]):
        line = (
            f"{level:>5}  {row['size']:>5,}  {row['used']:>6.1%}  {row['perplexity']:>10,.1f}  "
            f"{row['entropy']:>7.2f}  {row['prefixes']:>8,}  "
            f"{number(row['relative_error'], '.3f'):>5}  "
            f"{number(row['variance_within'], '.3f'):>6}"
        )
        lines.append(line + f"  {number(row.get('same_category'), '.3f'):>8}" * categories)
    lines += [
        "error: what the codes so far lose of the vectors' variance",
        "within: variance of items of one prefix, of that of all",
    ]
    if categories:
        lines.append(
            "category: share of the others of a prefix that are of an item's category "
            f"(of all items: {number(measured['same_category'], '.3f')})"
        )
    return "\n".join(lines)


def _squares(
    codes: np.ndarray,
    order: np.ndarray,
    vectors: np.ndarray,
    decode: Callable[[np.ndarray], np.ndarray],
) -> tuple[float, list[float], list[float]]:
    """Sums of squares: about the mean; for each level, of the errors, and about prefixes' means.

    Only the vectors of items with the same first code are in memory at once. `order` has the items
    sorted by their codes.
    """
    levels, mean = codes.shape[1], mean_of(vectors)
    total, errors, within = 0.0, [0.0] * levels, [0.0] * levels
    starts = np.flatnonzero(np.diff(codes[order, 0])) + 1
    for items in np.split(order, starts):
        own = codes[items]
        centred = np.asarray(vectors[items], np.float32) - mean
        squares = float(np.sum(centred**2))
        total += squares
        first = np.zeros(len(items), bool)
        first[0] = True
        for level in range(levels):
            first[1:] |= own[1:, level] != own[:-1, level]
            begins = np.flatnonzero(first)
            sizes = np.diff(np.r_[begins, len(items)])
            sums = np.add.reduceat(centred, begins, axis=0)
            within[level] += squares - float(np.sum(sums**2 / sizes[:, None]))
            rebuilt = decode(own[:, : level + 1]) - mean
            errors[level] += float(np.sum((centred - rebuilt) ** 2))
    return total, errors, within


def _same_category(groups: np.ndarray, numbers: np.ndarray) -> float | None:
    """How often the others in an item's group have its category: the mean over the items.

    Both int (N,); an item whose category has the number -1 does not count. None if no group has
    two items.
    """
    groups, numbers = groups[numbers >= 0], numbers[numbers >= 0]
    others = np.bincount(groups)[groups] - 1
    if not (others > 0).any():
        return None
    pairs = np.stack([groups, numbers])
    _, which, sizes = np.unique(pairs, axis=1, return_inverse=True, return_counts=True)
    alike = sizes[which.reshape(-1)] - 1
    return float((alike[others > 0] / others[others > 0]).mean())
