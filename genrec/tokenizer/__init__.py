"""Tokenizers: from item vectors to codes, and back.

In all of its modules, `codebook_sizes` has the number of codes K_l of each of the L levels.
"""

from genrec.tokenizer.drift import gain_of_refitting
from genrec.tokenizer.health import after_collisions, health, health_table, refuse_collapse
from genrec.tokenizer.kinds import fit_tokenizer
from genrec.tokenizer.kmeans import fit_rqkmeans, residual_kmeans
from genrec.tokenizer.product import fit_opq
from genrec.tokenizer.rqvae import Objective
from genrec.tokenizer.rqvae_training import fit_rqvae
from genrec.tokenizer.tokenizer import Tokenizer, load_tokenizer, save_tokenizer

__all__ = [
    "Objective",
    "Tokenizer",
    "after_collisions",
    "fit_opq",
    "fit_rqkmeans",
    "fit_rqvae",
    "fit_tokenizer",
    "gain_of_refitting",
    "health",
    "health_table",
    "load_tokenizer",
    "refuse_collapse",
    "residual_kmeans",
    "save_tokenizer",
]
