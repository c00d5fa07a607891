"""The encoder-decoder."""

from genrec.model.encoder_decoder import Encoded, EncoderDecoder
from genrec.model.inputs import Catalogue, Inputs, lay_out
from genrec.model.layers import Noise

__all__ = ["Catalogue", "Encoded", "EncoderDecoder", "Inputs", "Noise", "lay_out"]
