"""Every setting of genrec, typed, in one tree. The docstrings are the command line's help."""

from dataclasses import dataclass, field
from typing import Literal

from genrec.errors import UserError


@dataclass(frozen=True)
class Columns:
    """How the columns of your files are called."""

    user: str = "user_id"
    """Interactions: who."""
    item: str = "item_id"
    """Interactions and items: what."""
    timestamp: str = "timestamp"
    """Interactions: when, in seconds since 1970."""
    position: str | None = None
    """Interactions: the order among equal timestamps; without it, the order of the file."""
    title: str = "title"
    """Items: the name to show to people."""


@dataclass(frozen=True)
class DataConfig:
    """What to learn from: a known data set, or your own files (CSV, JSON lines or Parquet)."""

    dataset: Literal["movielens-100k"] | None = None
    """A known data set, fetched into the cache folder; needs no other setting of this section."""
    interactions: str | None = None
    """File of interactions: one row per user, item and time."""
    items: str | None = None
    """File of items: one row per item, with its id, title and whatever describes it."""
    columns: Columns = field(default_factory=Columns)
    text: str | None = None
    """Template of an item's text over the columns of the items file, such as "{title}. {brand}";
    without it, the known data set's own template or the title."""
    k_core: int = 5
    """Keep users and items with at least this many interactions, repeatedly; 1 keeps all."""


@dataclass(frozen=True)
class EmbeddingConfig:
    """How an item's text becomes a vector."""

    kind: Literal["tfidf", "file"] = "tfidf"
    """tfidf: TF-IDF and truncated SVD, needs no download. file: your own vectors, from `path`."""
    dim: int = 256
    """tfidf: width of the vectors."""
    path: str | None = None
    """file: a float array in a .npy file, shape (rows of the items file, width)."""


@dataclass(frozen=True)
class TokenizerConfig:
    """The RQ-VAE that turns an item's vector into its semantic ID."""

    codebook_sizes: tuple[int, ...] = (256, 256, 256)
    """Number of codes at each level."""
    latent_dim: int = 32
    """Width of the latent vector that the codebooks quantize."""
    hidden: tuple[int, ...] = (512, 256)
    """Widths of the encoder's hidden layers; the decoder mirrors them."""
    steps: int = 2000
    """Optimiser steps."""
    batch_size: int = 256
    """Items in a step."""
    learning_rate: float = 3e-3
    """Peak learning rate of AdamW."""
    commitment: float = 0.25
    """Weight of the loss that keeps the encoder near its codes."""
    cooccurrence: float = 0.0
    """Weight of a vector of what an item is consumed with, from the training interactions, beside
    the vector of its content; 0 leaves it out."""


@dataclass(frozen=True)
class ModelConfig:
    """The encoder-decoder that reads a history and writes the next item's codes."""

    d_model: int = 128
    """Width of every state."""
    encoder_layers: int = 2
    decoder_layers: int = 1
    heads: int = 4
    """Attention heads; must divide d_model."""
    d_ff: int = 512
    """Width of the feed-forward layers."""
    dropout: float = 0.2
    """Share of activations dropped in training."""
    max_history: int = 50
    """Most recent items of a history that the model reads."""
    item_embedding: bool = True
    """Give each item a vector of its own beside those of its codes."""


@dataclass(frozen=True)
class TrainingConfig:
    """How the encoder-decoder is trained."""

    epochs: int = 24
    rows: int = 32
    """Rows in a step; several users are packed into each."""
    row_length: int = 64
    """Items in a row; at least model.max_history."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW; warmed up, then decayed by a cosine."""
    warmup: float = 0.05
    """Share of the steps spent warming up."""
    weight_decay: float = 0.01
    clip: float = 1.0
    """Limit of the global gradient norm."""
    validate_every: int = 2
    """Epochs between validations by real decoding; the best by NDCG@10 is kept."""
    validation_users: int = 1000
    """Users in a validation, drawn once by the seed."""
    validation_beam: int = 20
    """Beam width in a validation; at least 10."""


@dataclass(frozen=True)
class DecodingConfig:
    """Beam search over the trie of real items."""

    beam: int = 50
    """Beam width; also the number of items recommended to each user in an evaluation."""
    batch_size: int = 32
    """Users searched at once."""
    index: str = "Flat"
    """Faiss index-factory string of the item vectors, for codes that no item has."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured on the held-out items, over the full catalogue."""

    top_k: tuple[int, ...] = (5, 10)
    """Cut-offs of Recall and NDCG."""
    neighbours: int = 100
    """Most similar items that the item-kNN baseline keeps for each item."""


@dataclass(frozen=True)
class Config:
    """Every setting, by stage."""

    data: DataConfig = field(default_factory=DataConfig)
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    seed: int = 0
    """Seed of everything random: the same seed, config and machine give the same result."""


def check(config: Config) -> None:
    """Refuses settings that are well typed and make no sense.

    Raises:
        UserError: which setting, and what it must be.
    """
    model, training, tokenizer = config.model, config.training, config.tokenizer
    data, embedding = config.data, config.embedding
    rules = {
        "give one of data.dataset and data.interactions": (
            (data.dataset is None) != (data.interactions is None)
        ),
        "embedding.path goes with embedding.kind file, and only with it": (
            (embedding.path is not None) == (embedding.kind == "file")
        ),
        "tokenizer.codebook_sizes must name at least one size, each 2 or more": (
            len(tokenizer.codebook_sizes) > 0 and min(tokenizer.codebook_sizes) >= 2
        ),
        "model.heads must divide model.d_model": model.d_model % max(model.heads, 1) == 0,
        "model.dropout must lie in 0…1, 1 excluded": 0 <= model.dropout < 1,
        "training.row_length must be at least model.max_history": (
            training.row_length >= model.max_history
        ),
        "training.validation_beam must be at least 10": training.validation_beam >= 10,
        "tokenizer.cooccurrence must not be below 0": tokenizer.cooccurrence >= 0,
        "training.warmup must lie in 0…1": 0 <= training.warmup <= 1,
        "evaluation.top_k must name cut-offs from 1 to decoding.beam": (
            len(config.evaluation.top_k) > 0
            and min(config.evaluation.top_k) >= 1
            and max(config.evaluation.top_k) <= config.decoding.beam
        ),
    }
    positive = {
        "data.k_core": data.k_core,
        "embedding.dim": embedding.dim,
        "tokenizer.latent_dim": tokenizer.latent_dim,
        "tokenizer.steps": tokenizer.steps,
        "tokenizer.batch_size": tokenizer.batch_size,
        "model.d_model": model.d_model,
        "model.encoder_layers": model.encoder_layers,
        "model.decoder_layers": model.decoder_layers,
        "model.heads": model.heads,
        "model.d_ff": model.d_ff,
        "model.max_history": model.max_history,
        "training.epochs": training.epochs,
        "training.rows": training.rows,
        "training.learning_rate": training.learning_rate,
        "training.clip": training.clip,
        "training.validate_every": training.validate_every,
        "training.validation_users": training.validation_users,
        "decoding.batch_size": config.decoding.batch_size,
        "evaluation.neighbours": config.evaluation.neighbours,
    }
    rules |= {f"{name} must be above 0": value > 0 for name, value in positive.items()}
    for rule, kept in rules.items():
        if not kept:
            raise UserError(rule)
