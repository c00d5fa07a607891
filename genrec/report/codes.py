"""How the codes are used, level by level, and which items share theirs."""

from typing import Any

import numpy as np

from genrec.report.charts import Series, line_chart

_LARGEST_GROUPS = 5
_TITLES = 6


def codebook_use(health: dict[str, Any], codes: np.ndarray) -> dict[str, Any]:
    """A row for each level of what health.json says, and a chart of how evenly codes are used.

    Args:
        codes: int (N, L or more), the semantic IDs; levels beyond those of the tokenizer, which
            tell items of the same codes apart, are left out.
    """
    levels = health["levels"]
    rows = [
        {
            "level": place + 1,
            "size": f"{level['size']:,}",
            "used": f"{level['used']:.1%}",
            "bar": level["used"],
            "perplexity": f"{level['perplexity']:,.1f}",
            "entropy": f"{level['entropy']:.2f}",
            "prefixes": f"{level['prefixes']:,}",
            "error": _number(level["relative_error"]),
            "within": _number(level["variance_within"]),
            "category": _number(level.get("same_category")),
        }
        for place, level in enumerate(levels)
    ]
    series = []
    for place, level in enumerate(levels):
        counts = np.bincount(codes[:, place], minlength=level["size"])
        counts = np.sort(counts)[::-1].tolist()
        series.append(Series(f"level {place + 1}", list(range(1, len(counts) + 1)), counts))
    chart = line_chart(
        "Items of each code",
        series,
        x="codes, the most used first",
        form=",.0f",
        zero=True,
        note="a line would be flat if all codes of its level were used alike",
    )
    return {"rows": rows, "categories": "same_category" in health, "chart": chart}


def collisions(health: dict[str, Any], codes: np.ndarray, labels: list[str]) -> dict[str, Any]:
    """How many items share their codes, before and after something was done about it.

    Args:
        codes: int (N, L or more), the semantic IDs.

    Returns:
        `items`, `before` and `after` as text; `sizes`: for each size of a group, how many there
        are; `largest`: the largest groups with their codes and some titles. A group has the same
        codes on all levels of the tokenizer.
    """
    count, levels = health["items"], len(health["levels"])
    tuples, group, sizes = np.unique(
        codes[:, :levels], axis=0, return_inverse=True, return_counts=True
    )
    group = group.reshape(-1)
    shared = [(int(size), int(number)) for size, number in enumerate(np.bincount(sizes)) if number]
    order = np.argsort(-sizes, kind="stable")[:_LARGEST_GROUPS]
    largest = [
        {
            "codes": " ".join(map(str, tuples[place].tolist())),
            "items": int(sizes[place]),
            "titles": [labels[item] for item in np.flatnonzero(group == place)[:_TITLES]],
        }
        for place in order.tolist()
        if sizes[place] > 1
    ]
    after = health.get("after")
    return {
        "items": f"{count:,}",
        "tuples": f"{health['distinct_tuples']:,}",
        "share": f"{health['distinct_share']:.1%}",
        "before": f"{health['colliding_items']:,}",
        "before_most": f"{health['largest_group']:,}",
        "after": None if after is None else f"{after['colliding_items']:,}",
        "after_most": None if after is None else f"{after['largest_group']:,}",
        "moved": 0 if after is None else after.get("moved_items", 0),
        "sizes": [
            {
                "size": size,
                "groups": f"{number:,}",
                "items": f"{size * number:,}",
                "bar": size * number / count,
            }
            for size, number in shared
        ],
        "largest": largest,
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
