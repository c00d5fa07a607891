"""Vectors to semantic IDs."""

from genrec.tokenizer.fit import fit_rqvae
from genrec.tokenizer.health import health, health_table
from genrec.tokenizer.kmeans import residual_kmeans
from genrec.tokenizer.semantic_ids import (
    SemanticIds,
    add_items,
    disambiguate,
    load_semantic_ids,
    save_semantic_ids,
)
from genrec.tokenizer.tokenizer import Tokenizer, load_tokenizer, save_tokenizer

__all__ = [
    "SemanticIds",
    "Tokenizer",
    "add_items",
    "disambiguate",
    "fit_rqvae",
    "health",
    "health_table",
    "load_semantic_ids",
    "load_tokenizer",
    "residual_kmeans",
    "save_semantic_ids",
    "save_tokenizer",
]
