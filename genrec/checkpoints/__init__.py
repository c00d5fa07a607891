"""Checkpoints of a training, be it the tokenizer's or the encoder-decoder's."""

from genrec.checkpoints.store import Checkpoints

__all__ = ["Checkpoints"]
