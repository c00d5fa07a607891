"""The encoder-decoder."""

from genrec.model.encoder_decoder import Encoded, EncoderDecoder
from genrec.model.layers import Noise
from genrec.model.weights import flat, like, nested

__all__ = ["Encoded", "EncoderDecoder", "Noise", "flat", "like", "nested"]
