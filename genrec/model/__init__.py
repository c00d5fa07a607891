"""The encoder-decoder."""

from genrec.model.encoder_decoder import Encoded, EncoderDecoder
from genrec.model.layers import Noise
from genrec.model.look_ahead import Ahead
from genrec.model.trie import Trie, build_trie
from genrec.model.weights import flat, like, nested

__all__ = [
    "Ahead",
    "Encoded",
    "EncoderDecoder",
    "Noise",
    "Trie",
    "build_trie",
    "flat",
    "like",
    "nested",
]
