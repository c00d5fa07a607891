"""Training the encoder-decoder: packed batches, objective, loop, checkpoints."""

from genrec.training.checkpoints import Checkpoints
from genrec.training.loop import train

__all__ = ["Checkpoints", "train"]
