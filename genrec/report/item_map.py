"""A map of the items: their content vectors in two dimensions, coloured by the first code."""

from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

MOST_POINTS = 1000
"""Of larger catalogues a sample is drawn: more points take longer and are no easier to read."""
OF_EACH_COLOUR = 60
"""Items added of each coloured first code, as far as there are so many: a sample of all items holds
too few of one code to see whether they gather."""
COLOURS = 8
"""First codes with a colour of their own: people can hardly tell more colours apart."""
SIZE = 600
"""Width and height of the map, in its own units."""
_FEWEST_POINTS = 8
_PRINCIPAL = 50
_LONGEST_TITLE = 90


def item_map(
    vectors: np.ndarray, first: np.ndarray | None, labels: list[str], *, seed: int
) -> dict[str, Any] | None:
    """Points of a map in which like items are near each other.

    t-SNE (van der Maaten and Hinton 2008) of the first 50 principal components, as it is usually
    done: two principal components alone keep a tenth of the variance of sentence vectors. It starts
    from these two components and runs on one thread, so that the map is the same every time. Only
    nearness means something; axes, and distances between far groups, do not.

    Args:
        vectors: float32 (N, C), the content of the items.
        first: int32 (N,), the first code of each; None where items have no codes.

    Returns:
        `items`: N; `drawn`: how many of all items were drawn; `more`: how many of the coloured
        first codes were added; `points`: [x, y, first code or -1, title] for each; `groups`: the
        commonest first codes with colour, code, number of items and the middle of their points;
        `paths`: the points as SVG paths by colour, 0 for those without. None for fewer than 8
        items, or vectors that hardly differ.
    """
    count, generator = len(vectors), np.random.default_rng(seed)
    if count < _FEWEST_POINTS:
        return None
    drawn = chosen = generator.choice(count, min(count, MOST_POINTS), replace=False)
    sizes = np.zeros(0, np.int64) if first is None else np.bincount(first)
    common = [code for code in np.argsort(-sizes, kind="stable")[:COLOURS].tolist() if sizes[code]]
    for code in common:
        same = generator.permutation(np.flatnonzero(first == code))
        chosen = np.union1d(chosen, same[:OF_EACH_COLOUR])
    chosen = np.sort(chosen)
    positions = _project(np.asarray(vectors[chosen], np.float64))
    if positions is None:
        return None
    codes = np.full(len(chosen), -1) if first is None else first[chosen]
    groups = [
        {
            "colour": colour,
            "code": code,
            "items": int(sizes[code]),
            "middle": np.median(positions[codes == code], axis=0).astype(int).tolist(),
        }
        for colour, code in enumerate(common, 1)
    ]
    colours = {group["code"]: group["colour"] for group in groups}
    paths: dict[int, list[str]] = {}
    points = []
    for item, (x, y), code in zip(chosen.tolist(), positions.tolist(), codes.tolist(), strict=True):
        paths.setdefault(colours.get(code, 0), []).append(f"M{x} {y}h0")
        title = " ".join(labels[item].split())
        points.append([x, y, code, title[:_LONGEST_TITLE]])
    return {
        "items": count,
        "drawn": len(drawn),
        "more": len(chosen) - len(drawn),
        "points": points,
        "groups": groups,
        "paths": {number: "".join(parts) for number, parts in sorted(paths.items())},
    }


def _project(vectors: np.ndarray) -> np.ndarray | None:
    """Positions on the map, int64 (n, 2), of vectors (n, C); None where these do not differ."""
    count, width = vectors.shape
    centred = vectors - vectors.mean(axis=0)
    if np.linalg.matrix_rank(centred) < 2:
        return None
    with threadpool_limits(1):
        kept = min(_PRINCIPAL, count - 1, width)
        principal = PCA(kept, svd_solver="full").fit_transform(centred)
        layout = TSNE(
            2,
            perplexity=min(30.0, (count - 1) / 3),
            init=principal[:, :2] / np.std(principal[:, 0]) * 1e-4,
            max_iter=500,
            random_state=0,
        ).fit_transform(principal)
    low, high = layout.min(axis=0), layout.max(axis=0)
    return np.rint(12 + (layout - low) / (high - low) * (SIZE - 24)).astype(int)
