"""The experts of a run: what it looks up, and the weights that were fitted."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from genrec.config import Config
from genrec.decoding.candidates import ExpertWeights
from genrec.decoding.experts import Memory
from genrec.graph import open_graph
from genrec.runs.figures import blaming_figures, read_figures
from genrec.runs.items import RunItems
from genrec.semantic_ids.item_features import directions, standard_of

FUSION = "fusion.json"


def memory_of(folder: Path, items: RunItems) -> Memory:
    """What can be looked up of the items of a run; of those that came later, their content.

    Content has the precision of float16, as the graph has, so that a bundle, which keeps it so,
    gives the same lists.

    Raises:
        UserError: the graph is not there, or damaged.
    """
    graph = open_graph(folder / "graph", items.trained)
    graph = dataclasses.replace(graph, weights=np.asarray(graph.weights, np.float32))
    mean, _ = standard_of(items.content[: items.trained])
    counts = items.dataset.training().counts(items.dataset.num_items)
    return Memory(
        graph.with_room(len(items.content)),
        directions(items.content, mean).astype(np.float16).astype(np.float32),
        np.log1p(counts).astype(np.float32),
    )


def asks_experts(config: Config) -> bool:
    """Whether the settings leave it to the experts how items are ranked."""
    decoding = config.decoding
    free = decoding.temperature is None and decoding.normalise == "codes"
    return decoding.dense_share is None and free


def experts_of(
    config: Config, folder: Path, items: RunItems, names: tuple[str, ...], levels: int
) -> tuple[Memory, ExpertWeights] | None:
    """What a run looks up and how much it counts; None if nothing was fitted, or it is not asked.

    Args:
        names: of the experts that its recommender has, see `Recommender.expert_names`.
        levels: of its trie.

    Raises:
        UserError: a file is damaged, or of other experts.
    """
    if not asks_experts(config) or not (folder / FUSION).exists():
        return None
    fitted = read_figures(folder, FUSION)["fitted"]
    if fitted is None:
        return None
    retrieved = [name for name in names if name != "codes"]
    levels = levels if "codes" in names else 0
    with blaming_figures(folder, FUSION):
        if list(fitted["ranking"]) != list(names) or list(fitted["retrieval"]) != retrieved:
            raise ValueError("it is of other experts")
        if [len(x) for x in fitted["guide"].values()] != [levels, levels]:
            raise ValueError("it is of other codes")
    weights = ExpertWeights(*(np.array(values, np.float32) for values in _arrays(fitted)))
    return memory_of(folder, items), weights


def _arrays(fitted: dict[str, Any]) -> list[list[float]]:
    """In the order of `ExpertWeights`."""
    guide = fitted["guide"]
    retrieval, ranking = (list(fitted[name].values()) for name in ("retrieval", "ranking"))
    return [retrieval, guide["logits"], guide["masses"], ranking]
