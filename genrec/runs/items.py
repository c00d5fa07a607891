"""The items of a run, and what is known of each: semantic IDs, content, co-occurrence."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genrec.config import Config
from genrec.data import Dataset, load_dataset
from genrec.embedding import embed_cooccurrence, fuse, lend, load_vectors
from genrec.errors import UserError
from genrec.semantic_ids.collisions import SemanticIds
from genrec.semantic_ids.parquet import load_semantic_ids
from genrec.sequences.inputs import Catalogue

COOCCURRENCE_DIM = 128
"""Width of the co-occurrence vectors; more of it is noise on histories of ten items."""


@dataclass(frozen=True)
class Items:
    """The items of a run, with all that is known of each.

    Attributes:
        dataset: of N items; its histories know only the first `trained` of them.
        ids: their semantic IDs.
        content: float32 (N, E), the vectors of what they say of themselves.
        trained: how many there were when tokenizer and model were trained; others came later.
    """

    dataset: Dataset
    ids: SemanticIds
    content: np.ndarray
    trained: int


def items_of(folder: Path) -> Items:
    """The items of a run as they were when it was trained."""
    dataset = load_dataset(folder / "dataset")
    path = folder / "tokenizer" / "semantic_ids.parquet"
    ids = load_semantic_ids(path)
    if len(ids.codes) != dataset.num_items:
        raise UserError(
            f"{path} has {len(ids.codes):,} items, but the dataset {dataset.num_items:,}: run "
            "genrec tokenize again"
        )
    content = load_vectors(folder / "embeddings.npy", dataset.num_items)
    return Items(dataset, ids, content, dataset.num_items)


def catalogue_of(config: Config, items: Items) -> Catalogue:
    """What the model knows of every item."""
    content = None
    if config.model.content:
        vectors = items.content - items.content[: items.trained].mean(axis=0)
        norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
        content = (vectors / norms * vectors.shape[1] ** 0.5).astype(np.float32)
    seen = items.dataset.training().counts(items.dataset.num_items) > 0
    return Catalogue(items.ids.codes, content, None if seen.all() else seen)


def tokenized_vectors(
    config: Config, dataset: Dataset, content: np.ndarray, trained: int | None = None
) -> np.ndarray:
    """What is tokenized: the content vectors, with those of co-occurrence beside them if wanted.

    Args:
        content: float32 (N, E).
        trained: how many of the items there were at first; the vectors of these do not depend on
            the others. None: all.
    """
    if config.tokenizer.cooccurrence == 0:
        return content
    trained = len(content) if trained is None else trained
    _, other = cooccurrence_of(config, dataset, content, trained)
    return fuse(content, other, config.tokenizer.cooccurrence, fitted=trained)


def cooccurrence_of(
    config: Config, dataset: Dataset, content: np.ndarray, trained: int
) -> tuple[np.ndarray, np.ndarray]:
    """What the first so many items are consumed with, zero where nobody knows; and of all items,
    borrowed where nobody does."""
    known = embed_cooccurrence(dataset.training(), trained, dim=COOCCURRENCE_DIM, seed=config.seed)
    padded = np.pad(known, [(0, len(content) - trained), (0, 0)])
    return known, lend(padded, content, fitted=trained)
