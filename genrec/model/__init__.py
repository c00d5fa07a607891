"""The encoder-decoder."""

from genrec.model.encoder_decoder import EncoderDecoder, causal_mask
from genrec.model.layers import Noise

__all__ = ["EncoderDecoder", "Noise", "causal_mask"]
