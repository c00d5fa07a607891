"""From a model's states to real items: trie, constrained beam search, recommender, lists."""

from genrec.decoding.beam import beam_search, unconstrained_beam_search
from genrec.decoding.lists import named_lists, write_lists
from genrec.decoding.recommender import Recommender
from genrec.decoding.resolver import Resolver
from genrec.decoding.trie import Trie, build_trie

__all__ = [
    "Recommender",
    "Resolver",
    "Trie",
    "beam_search",
    "build_trie",
    "named_lists",
    "unconstrained_beam_search",
    "write_lists",
]
