"""The item graph: what followed what in training, what was had together, what is alike."""

from genrec.graph.building import build_graph
from genrec.graph.item_graph import KINDS, ItemGraph, health, open_graph, save_graph

__all__ = ["KINDS", "ItemGraph", "build_graph", "health", "open_graph", "save_graph"]
