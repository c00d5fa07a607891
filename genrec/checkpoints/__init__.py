"""Checkpoints of a training, of the tokenizer's as of the encoder-decoder's."""

from genrec.checkpoints.store import Checkpoints

__all__ = ["Checkpoints"]
