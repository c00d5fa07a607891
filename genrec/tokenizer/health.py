"""How good a tokenizer is: use of its codes, what they preserve, and collisions."""

from typing import Any

import numpy as np


def health(
    codes: np.ndarray,
    codebook_sizes: tuple[int, ...],
    vectors: np.ndarray,
    reconstructed: np.ndarray,
) -> dict[str, Any]:
    """Measures codes before disambiguation.

    Args:
        codes: integers (N, L), N ≥ 1.
        codebook_sizes: K_l for each of the L levels.
        vectors: float (N, D), what was tokenized.
        reconstructed: float (N, D), what the codes decode to.

    Returns:
        Plain numbers, ready for JSON:
        - `items`: N.
        - `relative_error`: ‖x − x̂‖² / ‖x − mean‖², summed over the items; 0 is perfect, 1 is what
          the mean alone achieves. None if all vectors are equal.
        - `distinct_tuples`, and `distinct_share` of N.
        - `colliding_items`: items that share their tuple with another; `largest_group` of them.
        - `levels`: per level `size`, `used` (share of its codes), `entropy` in bits, `perplexity`
          (2^entropy: so many codes, used evenly, would tell as much), `prefixes` (distinct ones
          up to this level), and `variance_within`: the variance among items that share such a
          prefix, relative to that among all items, both unbiased. It says whether prefixes mean
          something: near 0 they gather like items, near 1 any. None if no two items share one.
    """
    count, levels = codes.shape
    order = np.lexsort(codes.T[::-1])
    ordered = codes[order]
    centred = np.asarray(vectors, np.float32) - vectors.mean(axis=0, dtype=np.float64)
    total = float(np.sum(centred**2))
    error = float(np.sum((np.asarray(vectors, np.float64) - reconstructed) ** 2))
    centred = centred[order]
    first = np.zeros(count, bool)
    first[0] = True
    rows = []
    for level in range(levels):
        # In lexicographic order the items of a prefix stand together, whatever its length.
        first[1:] |= ordered[1:, level] != ordered[:-1, level]
        starts = np.flatnonzero(first)
        sizes = np.diff(np.r_[starts, count])
        sums = np.add.reduceat(centred, starts, axis=0)
        within = max(0.0, total - float(np.sum(sums**2 / sizes[:, None])))
        shared = count - len(starts)
        share = np.bincount(codes[:, level]) / count
        share = share[share > 0]
        entropy = float(-(share * np.log2(share)).sum())
        rows.append(
            {
                "size": int(codebook_sizes[level]),
                "used": len(share) / codebook_sizes[level],
                "entropy": abs(entropy),
                "perplexity": 2**entropy,
                "prefixes": len(starts),
                "variance_within": within / shared / (total / (count - 1))
                if shared and total
                else None,
            }
        )
    return {
        "items": count,
        "relative_error": error / total if total else None,
        "distinct_tuples": len(starts),
        "distinct_share": len(starts) / count,
        "colliding_items": int(sizes[sizes > 1].sum()),
        "largest_group": int(sizes.max()),
        "levels": rows,
    }


def health_table(measured: dict[str, Any]) -> str:
    """What `health` measured, as lines to read."""

    def number(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    lines = [
        f"{measured['items']:,} items, {measured['distinct_tuples']:,} distinct tuples "
        f"({measured['distinct_share']:.1%}); {measured['colliding_items']:,} items share one, "
        f"at most {measured['largest_group']:,} the same",
        f"relative reconstruction error {number(measured['relative_error'], '.3f')}",
        "level  codes    used  perplexity  entropy  prefixes  variance within",
    ]
    lines += [
        f"{level:>5}  {row['size']:>5,}  {row['used']:>6.1%}  {row['perplexity']:>10,.1f}  "
        f"{row['entropy']:>7.2f}  {row['prefixes']:>8,}  "
        f"{number(row['variance_within'], '.3f'):>15}"
        for level, row in enumerate(measured["levels"])
    ]
    return "\n".join(lines)
