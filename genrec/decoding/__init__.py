"""From a model's states to real items: filters, beam search, recommender, lists."""

from genrec.decoding.beam import Sampling, beam_search, unconstrained_beam_search
from genrec.decoding.filters import Filters
from genrec.decoding.lists import ListsWriter, read_lists
from genrec.decoding.recommender import Options, Recommender
from genrec.decoding.resolver import Resolver, rank_by_distance

__all__ = [
    "Filters",
    "ListsWriter",
    "Options",
    "Recommender",
    "Resolver",
    "Sampling",
    "beam_search",
    "rank_by_distance",
    "read_lists",
    "unconstrained_beam_search",
]
