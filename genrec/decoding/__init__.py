"""From a model's states to real items: filters, beam search, recommender, lists."""

from genrec.decoding.beam import Sampling, beam_search, unconstrained_beam_search
from genrec.decoding.filters import Filters
from genrec.decoding.lists import read_lists, writing_lists
from genrec.decoding.recommender import Recommender, SearchOptions
from genrec.decoding.resolver import Resolver, rank_by_distance

__all__ = [
    "Filters",
    "Recommender",
    "Resolver",
    "Sampling",
    "SearchOptions",
    "beam_search",
    "rank_by_distance",
    "read_lists",
    "unconstrained_beam_search",
    "writing_lists",
]
