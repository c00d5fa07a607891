"""What a bundle looks up beside its model, and how much every expert counts.

experts.safetensors holds, of N items with E edges between them,
    begins int32 (N + 1,), items int32 (E,), weights float16 (E, K): the item graph, see
        `genrec.graph.item_graph`;
    content float16 (N, C): the directions of the items' content, see `semantic_ids.item_features`;
    popularity float32 (N,): log(1 + training interactions);
    retrieval, own, other, ranking, float32: the weights, see `genrec.decoding.candidates`.
"""

from collections.abc import Mapping

import numpy as np

ITEM_TABLES = ("content", "popularity")
"""Those with a row for every item."""
SAME_MODEL = ("items", "weights", "retrieval", "own", "other", "ranking")
"""Those that stay what they are when items come."""
Tables = Mapping[str, np.ndarray]


def experts_state(tables: Tables, room: int) -> dict[str, np.ndarray]:
    """The entry "experts" of the programs' first argument, of `room` items.

    What is behind the items has no edges, no content and no popularity. Half precision, which
    saves room on disk, is slow to compute with on a CPU.
    """
    state = {
        name: values.astype(np.float32) if values.dtype == np.float16 else values
        for name, values in tables.items()
    }
    more = room - len(tables["popularity"])
    for name in ITEM_TABLES:
        state[name] = np.pad(state[name], [(0, more)] + [(0, 0)] * (state[name].ndim - 1))
    return state | {"begins": np.pad(tables["begins"], (0, more), mode="edge")}


def with_new_items(tables: Tables, content: np.ndarray) -> dict[str, np.ndarray]:
    """The tables with n items more, of content directions (n, C), which nobody has had yet."""
    count = len(content)
    return dict(tables) | {
        "begins": np.pad(tables["begins"], (0, count), mode="edge"),
        "content": np.concatenate([tables["content"], content.astype(np.float16)]),
        "popularity": np.pad(tables["popularity"], (0, count)),
    }
