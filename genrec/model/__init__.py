"""The encoder-decoder."""

from genrec.model.encoder_decoder import Encoded, EncoderDecoder
from genrec.model.layers import Noise
from genrec.model.look_ahead import Ahead
from genrec.model.weights import flat, like, nested
from genrec.semantic_ids.device_trie import Trie, build_trie

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
