"""The items of a run: semantic IDs, vectors, and what tokenizer and model read of them."""

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
class RunItems:
    """The N items of a run.

    Attributes:
        dataset: the items and the histories; only the first `trained` items stand in histories.
        content: float32 (N, C), the embeddings of their texts or images.
        trained: how many items tokenizer and model were trained on; the others came later.
    """

    dataset: Dataset
    ids: SemanticIds
    content: np.ndarray
    trained: int


def load_items(folder: Path) -> RunItems:
    """The items of a run as they were when it was trained.

    Raises:
        UserError: a file is missing or cannot be read, or they have different numbers of items.
    """
    dataset = load_dataset(folder / "dataset")
    path = folder / "tokenizer" / "semantic_ids.parquet"
    ids = load_semantic_ids(path)
    if len(ids.codes) != dataset.num_items:
        raise UserError(
            f"{path} has {len(ids.codes):,} items, but the dataset {dataset.num_items:,}: run "
            "genrec tokenize again"
        )
    content = load_vectors(folder / "embeddings.npy", dataset.num_items)
    return RunItems(dataset, ids, content, dataset.num_items)


def catalogue_of(config: Config, items: RunItems) -> Catalogue:
    """What the model reads of every item."""
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
    """What the tokenizer reads: the content vectors, with co-occurrence vectors beside them if the
    settings want these (tokenizer.cooccurrence).

    Args:
        content: float32 (N, C).
        trained: how many of the items the tokenizer was trained on; their vectors do not depend on
            the other items. None: all.

    Returns:
        float32 (N, C), or (N, C + 128) with co-occurrence.
    """
    if config.tokenizer.cooccurrence == 0:
        return content
    trained = len(content) if trained is None else trained
    _, borrowed = cooccurrence_vectors(config, dataset, content, trained)
    return fuse(content, borrowed, config.tokenizer.cooccurrence, fitted=trained)


def cooccurrence_vectors(
    config: Config, dataset: Dataset, content: np.ndarray, trained: int
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of which items stand near each other in the training histories.

    Returns:
        float32 (trained, 128), zero for an item that stands near no other; and float32 (N, 128),
        where such items, and those that came later, have borrowed from the items that their content
        is most like. Both are narrower than 128 where the catalogue is smaller.
    """
    own = embed_cooccurrence(dataset.training(), trained, dim=COOCCURRENCE_DIM, seed=config.seed)
    padded = np.pad(own, [(0, len(content) - trained), (0, 0)])
    return own, lend(padded, content, fitted=trained)
