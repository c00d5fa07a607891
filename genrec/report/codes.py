"""How the codes are used, level by level, and which items share theirs."""

from typing import Any

import numpy as np

from genrec.report.charts import Chart, Series, line_chart

_LARGEST_GROUPS = 5
_TITLES = 6


def codebook_use(codes: np.ndarray, codebook_sizes: list[int]) -> Chart:
    """A chart of how many items have each code, a line for each level.

    Args:
        codes: int32 (N, L), the semantic IDs, without codes that only tell collisions apart.
    """
    series = []
    for level, size in enumerate(codebook_sizes):
        counts = np.sort(np.bincount(codes[:, level], minlength=size))[::-1].tolist()
        series.append(Series(f"level {level + 1}", list(range(1, len(counts) + 1)), counts))
    return line_chart(
        "Items of each code",
        series,
        x="codes, the most used first",
        form=",.0f",
        zero=True,
        note="a line would be flat if all codes of its level were used alike",
    )


def collisions(codes: np.ndarray, labels: list[str]) -> dict[str, Any]:
    """The groups of items that have the same codes.

    Args:
        codes: int32 (N, L), as above.
        labels: what to show of each item.

    Returns:
        `sizes`: a row for each size of a group, how many there are and what share of the items is
        in them; `largest`: the largest groups of several items, with their codes and some titles.
    """
    tuples, group_of, sizes = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    group_of = group_of.reshape(-1)
    order = np.argsort(-sizes, kind="stable")[:_LARGEST_GROUPS]
    return {
        "sizes": [
            {"size": size, "groups": groups, "bar": size * groups / len(codes)}
            for size, groups in enumerate(np.bincount(sizes).tolist())
            if groups
        ],
        "largest": [
            {
                "codes": " ".join(map(str, tuples[group].tolist())),
                "items": int(sizes[group]),
                "titles": [labels[item] for item in np.flatnonzero(group_of == group)[:_TITLES]],
            }
            for group in order.tolist()
            if sizes[group] > 1
        ],
    }
