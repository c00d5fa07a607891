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
    category: str | None = None
    """Items: what kind of thing it is, a text or a list that is compared as a whole; only to
    measure how well semantic IDs gather like items. Without it, a column called category,
    categories, genre or genres, if there is one."""


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
    """What turns an item's vector into its semantic ID."""

    kind: Literal["rqvae", "rqkmeans", "rvq", "opq"] = "rqvae"
    """rqvae: residual quantization of what an encoder makes of the vector, trained with a decoder.
    rqkmeans: residual k-means. rvq: residual codebooks trained on the vectors, without an encoder.
    opq: optimised product quantization, one part of the rotated vector for each code."""
    codebook_sizes: tuple[int, ...] = (256, 256, 256)
    """Number of codes at each level."""
    latent_dim: int = 48
    """rqvae: width of the latent vector that the codebooks quantize."""
    hidden: tuple[int, ...] = (768, 384)
    """rqvae: widths of the encoder's hidden layers; the decoder mirrors them."""
    steps: int = 2000
    """rqvae, rvq: optimiser steps."""
    batch_size: int = 256
    """rqvae, rvq: items in a step."""
    learning_rate: float = 3e-3
    """rqvae, rvq: peak learning rate of AdamW."""
    noise: float = 0.7
    """rqvae: noise on the encoder's input in training, in units of the vectors' standard deviation;
    lets the codes fit new items too."""
    commitment: float = 0.25
    """rqvae: weight of the loss that keeps the encoder near its codes."""
    gradient: Literal["straight-through", "rotation"] = "straight-through"
    """rqvae: what the encoder learns of the decoder's gradient: all of it unchanged, or turned and
    scaled as the quantizer turns and scales the latent."""
    codebooks: Literal["gradient", "ema"] = "gradient"
    """rqvae, rvq: whether codes follow the gradient or a moving average of what chose them."""
    ema_decay: float = 0.99
    """rqvae, rvq: decay of that moving average, per step."""
    sinkhorn: float = 0.0
    """rqvae, rvq: in training, shares the last level's codes out evenly within a batch, the more
    evenly the larger (LC-Rec: 0.003); 0 gives each item its nearest code."""
    collapse: float = 0.1
    """Share of its codes; a level that uses fewer has collapsed, and tokenizing stops."""
    collisions: Literal["code", "reassign", "none"] = "code"
    """Items of the same codes. code: one more code tells them apart. reassign: all but the nearest
    move to free codes of the last level. none: they share their semantic ID, and those nearest to
    what the codes describe come first."""
    cooccurrence: float = 0.0
    """Weight of a vector of what an item is consumed with, from the training interactions, beside
    the vector of its content; 0 leaves it out."""


@dataclass(frozen=True)
class ModelConfig:
    """The encoder-decoder that reads a history and writes the next item's codes."""

    tokens: Literal["items", "codes"] = "items"
    """What the encoder reads of an item: one vector, or a token for each of its codes (TIGER)."""
    encoder: Literal["causal", "bidirectional"] = "causal"
    """causal: one pass over a history trains the prediction after every item of it. bidirectional:
    every prefix of a history is read on its own (TIGER)."""
    user_tokens: int = 0
    """Tokens that user ids are hashed to, one of them before each history (TIGER: 2000)."""
    d_model: int = 128
    """Width of every state."""
    encoder_layers: int = 2
    decoder_layers: int = 1
    heads: int = 4
    """Attention heads."""
    head_dim: int | None = None
    """Width of a head; without it, d_model / heads."""
    d_ff: int = 512
    """Width of the feed-forward layers."""
    dropout: float = 0.2
    """Share of tokens, hidden activations and layer outputs dropped in training."""
    attention_dropout: float = 0.0
    """Share of attention weights dropped."""
    decoder_dropout: float | None = None
    """The decoder's own `dropout`; without it, the same."""
    max_history: int = 50
    """Most recent items of a history that the model reads."""
    item_embedding: bool = True
    """Give each item a vector of its own beside those of its codes."""
    content: bool = False
    """Add a projection of the item's content embedding to its token."""
    codes: bool = True
    """Read and write semantic IDs. Without them the model is a SASRec: the encoder over vectors of
    the items, and model.item_head."""
    look_ahead: bool = False
    """Score a code also by the items that it leads to: by the mean of their vectors."""
    repeats: bool = False
    """Learn how likely an item of the history is to come again, whatever its vector says."""
    time_gaps: bool = False
    """Add an embedding of the time since the item before."""
    item_head: bool = False
    """Score all items directly too, from the encoder's state: an auxiliary loss in training."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of computations; parameters are float32. bfloat16 pays on accelerators only."""


@dataclass(frozen=True)
class TrainingConfig:
    """How the encoder-decoder is trained."""

    epochs: int = 24
    rows: int = 32
    """Rows in a step. causal: several users are packed into each. bidirectional: one prefix."""
    row_length: int = 64
    """Items in a packed row; at least model.max_history."""
    longer_histories: Literal["windows", "recent"] = "windows"
    """What becomes of histories above model.max_history: they are cut into windows, so that every
    item is a target, or only their most recent items are trained on."""
    accumulate: int = 1
    """Parts that a step's rows are computed in, one after the other; saves memory."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW; warmed up, then decayed by a cosine."""
    warmup: float = 0.05
    """Share of the steps spent warming up."""
    weight_decay: float = 0.01
    """Decoupled decay of all matrices; norms are spared."""
    clip: float = 1.0
    """Limit of the global gradient norm."""
    label_smoothing: float = 0.0
    """Share of a code's target that is spread over all codes of its level."""
    item_loss: float = 1.0
    """Weight of the loss of model.item_head."""
    item_negatives: int | None = None
    """Items drawn in each step to tell the target from in that loss; without it, all."""
    distillation: float = 0.0
    """Share of a code's target that is what model.item_head expects to come next."""
    average: float = 0.0
    """Decay per step of a moving average of the weights, which is what is validated and used; 0
    uses the weights themselves."""
    fsdp: int = 1
    """Devices that parameters and optimiser state are split over; each such group trains on its own
    share of the rows."""
    checkpoint_every: int = 1000
    """Steps between checkpoints; one is also written at every validation."""
    validate_every: int = 2
    """Epochs between validations by real decoding; the best by NDCG@10 is kept."""
    validation_users: int = 1000
    """Users in a validation, drawn once by the seed."""
    validation_beam: int = 20
    """Beam width in a validation; at least 10."""
    patience: int | None = None
    """Validations without a better one after which training stops early; without it, never."""


@dataclass(frozen=True)
class DecodingConfig:
    """How items are found: beam search over the trie of real items, and what helps it."""

    beam: int = 50
    """Beam width; also the number of items recommended to each user in an evaluation."""
    batch_size: int = 32
    """Users searched at once."""
    normalise: Literal["codes", "allowed"] = "codes"
    """What a level's probabilities sum to one over: all its codes, or those that may come next."""
    dense_share: float = 0.0
    """Share of model.item_head in the score: 0 ranks by the codes alone, 1 by the head alone."""
    unseen_share: float = 0.0
    """Share of a list that goes to items without a training interaction, found by the codes that
    describe them (TIGER's epsilon); 0: they compete like all others."""
    temperature: tuple[float, ...] | None = None
    """Draw items at random, at this temperature: one for all levels, or one for each; without it,
    the most probable ones."""
    unknown_items: Literal["refuse", "skip"] = "refuse"
    """What to do about items in a history, or in a list to allow or block, that the catalogue has
    not."""
    index: str = "auto"
    """Faiss index-factory string of the item vectors, for codes that no item has. auto: exact
    below 100,000 items, IVF above."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured on the held-out items, over the full catalogue."""

    top_k: tuple[int, ...] = (1, 5, 10, 20, 50)
    """Cut-offs of Recall, NDCG, MRR and hit rate; those above decoding.beam are left out."""
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


HOW = frozenset({"training.fsdp", "training.checkpoint_every"})
"""Settings that change how a stage goes about its work, not what comes of it."""


def check(config: Config) -> None:
    """Refuses settings that are well typed and make no sense.

    Raises:
        UserError: which setting, and what it must be.
    """
    model, training, tokenizer = config.model, config.training, config.tokenizer
    data, embedding, decoding = config.data, config.embedding, config.decoding
    levels = len(tokenizer.codebook_sizes) + (tokenizer.collisions == "code")
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
        "model.heads must divide model.d_model, or give model.head_dim": (
            model.head_dim is not None or model.d_model % max(model.heads, 1) == 0
        ),
        "model.user_tokens must not be below 0": model.user_tokens >= 0,
        "model.user_tokens goes with model.encoder bidirectional, where a row is one user's": (
            model.user_tokens == 0 or model.encoder == "bidirectional"
        ),
        "model.item_embedding, content and time_gaps go with model.tokens items": (
            model.tokens == "items"
            or not (model.item_embedding or model.content or model.time_gaps)
        ),
        "model.item_head goes with model.encoder causal": (
            not model.item_head or model.encoder == "causal"
        ),
        "model.codes false goes with model.item_head, item_embedding and tokens items, and with "
        "decoding.dense_share 1": (
            model.codes
            or (
                (model.item_head and model.item_embedding and model.tokens == "items")
                and decoding.dense_share == 1
            )
        ),
        "model.repeats goes with model.encoder causal, tokens items, and item_head or look_ahead": (
            not model.repeats
            or (
                (model.encoder == "causal" and model.tokens == "items")
                and (model.item_head or model.look_ahead)
            )
        ),
        "model.repeats goes without training.item_negatives": (
            not model.repeats or training.item_negatives is None
        ),
        "model.look_ahead goes with model.codes": model.codes or not model.look_ahead,
        "training.distillation goes with model.codes": training.distillation == 0 or model.codes,
        "training.accumulate must divide training.rows": (
            training.rows % max(training.accumulate, 1) == 0
        ),
        "training.row_length must be at least model.max_history": (
            training.row_length >= model.max_history
        ),
        "training.validation_beam must be at least 10": training.validation_beam >= 10,
        "tokenizer.cooccurrence must not be below 0": tokenizer.cooccurrence >= 0,
        "tokenizer.sinkhorn must not be below 0": tokenizer.sinkhorn >= 0,
        "tokenizer.commitment must not be below 0": tokenizer.commitment >= 0,
        "tokenizer.noise must not be below 0": tokenizer.noise >= 0,
        "tokenizer.ema_decay must lie between 0 and 1": 0 < tokenizer.ema_decay < 1,
        "tokenizer.collapse must lie in 0…1": 0 <= tokenizer.collapse <= 1,
        "tokenizer.gradient rotation goes with tokenizer.kind rqvae": (
            tokenizer.gradient == "straight-through" or tokenizer.kind == "rqvae"
        ),
        "tokenizer.codebooks ema and tokenizer.sinkhorn go with tokenizer.kind rqvae or rvq": (
            (tokenizer.codebooks == "gradient" and tokenizer.sinkhorn == 0)
            or tokenizer.kind in ("rqvae", "rvq")
        ),
        "decoding.dense_share must lie in 0…1": 0 <= decoding.dense_share <= 1,
        "decoding.dense_share goes with model.item_head": (
            decoding.dense_share == 0 or model.item_head
        ),
        "decoding.dense_share goes with decoding.normalise codes": (
            decoding.normalise == "codes" or decoding.dense_share == 0
        ),
        "decoding.temperature must name one temperature, or one for each level, all above 0": (
            decoding.temperature is None
            or (len(decoding.temperature) in (1, levels) and min(decoding.temperature) > 0)
        ),
        "decoding.unseen_share goes with model.codes": decoding.unseen_share == 0 or model.codes,
        "decoding.temperature goes without decoding.dense_share": (
            decoding.temperature is None or decoding.dense_share == 0
        ),
        "training.warmup must lie in 0…1": 0 <= training.warmup <= 1,
        "training.weight_decay must not be below 0": training.weight_decay >= 0,
        "training.item_loss must not be below 0": training.item_loss >= 0,
        "evaluation.top_k must name cut-offs from 1 on, one of them at most decoding.beam": (
            len(config.evaluation.top_k) > 0 and 1 <= min(config.evaluation.top_k) <= decoding.beam
        ),
    }
    shares = {
        "model.dropout": model.dropout,
        "model.attention_dropout": model.attention_dropout,
        "model.decoder_dropout": model.decoder_dropout or 0.0,
        "training.label_smoothing": training.label_smoothing,
        "training.average": training.average,
        "decoding.unseen_share": decoding.unseen_share,
    }
    distilled = training.distillation + training.label_smoothing
    rules |= {
        "training.distillation goes with model.item_head, without training.item_negatives": (
            training.distillation == 0
            or (model.item_head and training.item_loss > 0 and training.item_negatives is None)
        ),
        "training.distillation and training.label_smoothing must lie in 0…1 together": (
            training.distillation >= 0 and distilled <= 1
        ),
    }
    rules |= {
        f"{name} must lie in 0…1, 1 excluded": 0 <= value < 1 for name, value in shares.items()
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
        "training.accumulate": training.accumulate,
        "training.fsdp": training.fsdp,
        "training.checkpoint_every": training.checkpoint_every,
        "training.patience": 1 if training.patience is None else training.patience,
        "training.item_negatives": (
            1 if training.item_negatives is None else training.item_negatives
        ),
        "model.head_dim": 1 if model.head_dim is None else model.head_dim,
        "training.learning_rate": training.learning_rate,
        "training.clip": training.clip,
        "training.validate_every": training.validate_every,
        "training.validation_users": training.validation_users,
        "decoding.beam": decoding.beam,
        "decoding.batch_size": decoding.batch_size,
        "evaluation.neighbours": config.evaluation.neighbours,
    }
    rules |= {f"{name} must be above 0": value > 0 for name, value in positive.items()}
    for rule, kept in rules.items():
        if not kept:
            raise UserError(rule)
