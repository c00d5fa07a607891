"""From a model's states to real items: trie, filters, beam search, recommender, lists."""

from genrec.decoding.beam import Sampling, beam_search, unconstrained_beam_search
from genrec.decoding.filters import Filters
from genrec.decoding.lists import ListsWriter, named_lists
from genrec.decoding.recommender import Options, Recommender
from genrec.decoding.resolver import Resolver, order_within
from genrec.decoding.trie import Trie, build_trie

__all__ = [
    "Filters",
    "ListsWriter",
    "Options",
    "Recommender",
    "Resolver",
    "Sampling",
    "Trie",
    "beam_search",
    "build_trie",
    "named_lists",
    "order_within",
    "unconstrained_beam_search",
]
