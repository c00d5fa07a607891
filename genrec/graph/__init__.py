"""The item graph: what followed what in training."""

from genrec.graph.neighbours import Neighbours
from genrec.graph.transitions import transition_graph

__all__ = ["Neighbours", "transition_graph"]
