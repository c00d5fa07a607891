"""Training the encoder-decoder: packed batches, objective, loop."""

from genrec.training.loop import train

__all__ = ["train"]
