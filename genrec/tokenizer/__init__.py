"""Vectors to semantic IDs."""

from genrec.semantic_ids.branches import Branch, branches
from genrec.semantic_ids.collisions import Collisions, SemanticIds, disambiguate, semantic_ids_of
from genrec.semantic_ids.parquet import load_semantic_ids, save_semantic_ids
from genrec.tokenizer.drift import gain_of_refitting
from genrec.tokenizer.health import after_collisions, health, health_table, refuse_collapse
from genrec.tokenizer.kmeans import fit_rqkmeans, residual_kmeans
from genrec.tokenizer.product import fit_opq
from genrec.tokenizer.rqvae import Objective
from genrec.tokenizer.rqvae_training import fit_rqvae
from genrec.tokenizer.tokenizer import Tokenizer, load_tokenizer, save_tokenizer

__all__ = [
    "Branch",
    "Collisions",
    "Objective",
    "SemanticIds",
    "Tokenizer",
    "after_collisions",
    "branches",
    "disambiguate",
    "fit_opq",
    "fit_rqkmeans",
    "fit_rqvae",
    "gain_of_refitting",
    "health",
    "health_table",
    "load_semantic_ids",
    "load_tokenizer",
    "refuse_collapse",
    "residual_kmeans",
    "save_semantic_ids",
    "save_tokenizer",
    "semantic_ids_of",
]
