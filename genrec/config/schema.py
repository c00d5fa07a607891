"""Every setting of genrec, typed, in one tree. The docstrings are the command line's help."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from genrec.config.bounds import Bounds, Count, NotNegative, Positive, Share, ShareBelowOne


@dataclass(frozen=True)
class Columns:
    """How the columns of your files are called."""

    user: str = "user_id"
    """Interactions: who."""
    item: str = "item_id"
    """Interactions and items: what."""
    timestamp: str = "timestamp"
    """Interactions: when: a number of seconds since 1970 (or data.timestamp_unit), or a date."""
    position: str | None = None
    """Interactions: the order among equal timestamps; without it, the order of the file."""
    rating: str | None = None
    """Interactions: how much the user liked it; needed for data.min_rating alone."""
    title: str = "title"
    """Items: the name to show to people."""
    category: str | None = None
    """Items: what kind of thing it is, a text or a list that is compared as a whole; only to
    measure how well semantic IDs gather like items. Without it, a column called category,
    categories, genre or genres, if there is one."""


@dataclass(frozen=True)
class DataConfig:
    """What to learn from: a known data set, or your own files: .csv, .tsv, .jsonl, plain or
    compressed (.gz, .zst), or .parquet."""

    dataset: Annotated[str | None, tyro.conf.arg(aliases=("--dataset",))] = None
    """A known data set, fetched into the cache folder: movielens-100k, movielens-1m,
    amazon-2014/Beauty (or another category), amazon-2018/…, amazon-2023/… or steam. It says itself
    how its files are to be read."""
    raw: Annotated[str | None, tyro.conf.arg(aliases=("--raw",))] = None
    """Folder with the official files of the data set, brought by hand; nothing is fetched."""
    interactions: str | None = None
    """Interactions, one row per user, item and time: a file, a folder, or a pattern such as
    "log/*.csv.gz", also behind s3:// or gs://."""
    items: str | None = None
    """Items, one row per item, with its id, title and whatever describes it: files likewise."""
    delimiter: str | None = None
    """Between the columns of text files; without it, a comma in .csv and a tab in .tsv."""
    columns: Columns = field(default_factory=Columns)
    text: str | None = None
    """Template of an item's text over the columns of the items file, such as "{title}. {brand}";
    without it, the known data set's own template or the title."""
    k_core: Count = 5
    """Keep users and items with at least this many interactions, repeatedly; 1 keeps all."""
    timestamp_unit: Literal["seconds", "milliseconds"] = "seconds"
    """Of times that are numbers."""
    min_rating: float | None = None
    """Drop interactions with a rating below it; goes with data.columns.rating."""
    duplicates: Literal["all", "first", "last"] = "all"
    """Which of several interactions of a user with an item to keep."""
    max_interactions: Count | None = None
    """Keep only so many of each user's interactions, the latest."""
    split: Literal["leave-one-out", "temporal", "cold-start"] = "leave-one-out"
    """leave-one-out: each user's last item is for the test, the one before it for validation.
    temporal: one moment cuts all users; asked for is the first item after it. cold-start: as
    leave-one-out, with some items that nothing but the test knows."""
    held_out: Annotated[float, Bounds(above=0, below=0.5)] = 0.1
    """temporal: share of the interactions that come after the moment of the test, and as many
    between those of validation and test. cold-start: share of the test items that are made new."""
    engine: Annotated[Literal["duckdb", "spark"], tyro.conf.arg(aliases=("--engine",))] = "duckdb"
    """What cleans and orders: DuckDB in this process, or a Spark that is there already."""
    memory_gib: Positive = 2.5
    """duckdb: memory in GiB that it may take; what goes beyond it goes to the disk of the run."""
    spark_master: Annotated[str | None, tyro.conf.arg(aliases=("--spark-master",))] = None
    """spark: where it is, such as "local[*]" or "spark://host:7077"; without it, as it is set."""
    on_bad_rows: Literal["error", "drop"] = "error"
    """What to do about rows without a user, item or time, interactions of items that the items file
    has not, and second rows of an item."""


@dataclass(frozen=True)
class EmbeddingConfig:
    """How an item's text becomes a vector."""

    kind: Literal["tfidf", "file"] = "tfidf"
    """tfidf: TF-IDF and truncated SVD, needs no download. file: your own vectors, from `path`."""
    dim: Count = 256
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
    codebook_sizes: tuple[Annotated[int, Bounds(least=2)], ...] = (256, 256, 256)
    """Number of codes at each level."""
    latent_dim: Count = 48
    """rqvae: width of the latent vector that the codebooks quantize."""
    hidden: tuple[Count, ...] = (768, 384)
    """rqvae: widths of the encoder's hidden layers; the decoder mirrors them."""
    steps: Count = 2000
    """rqvae, rvq: optimiser steps."""
    batch_size: Count = 256
    """rqvae, rvq: items in a step."""
    learning_rate: Positive = 3e-3
    """rqvae, rvq: peak learning rate of AdamW."""
    noise: NotNegative = 0.7
    """rqvae: noise on the encoder's input in training, in units of the vectors' standard deviation;
    lets the codes fit new items too."""
    commitment: NotNegative = 0.25
    """rqvae: weight of the loss that keeps the encoder near its codes."""
    gradient: Literal["straight-through", "rotation"] = "straight-through"
    """rqvae: what the encoder learns of the decoder's gradient: all of it unchanged, or turned and
    scaled as the quantizer turns and scales the latent."""
    codebooks: Literal["gradient", "ema"] = "gradient"
    """rqvae, rvq: whether codes follow the gradient or a moving average of what chose them."""
    ema_decay: Annotated[float, Bounds(above=0, below=1)] = 0.99
    """rqvae, rvq: decay of that moving average, per step."""
    sinkhorn: NotNegative = 0.0
    """rqvae, rvq: in training, shares the last level's codes out evenly within a batch, the more
    evenly the larger (LC-Rec: 0.003); 0 gives each item its nearest code."""
    collapse: Share = 0.1
    """Share of its codes; a level that uses fewer has collapsed, and tokenizing stops."""
    collisions: Literal["code", "reassign", "none"] = "code"
    """Items of the same codes. code: one more code tells them apart. reassign: all but the nearest
    move to free codes of the last level. none: they share their semantic ID, and those nearest to
    what the codes describe come first."""
    cooccurrence: NotNegative = 0.0
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
    user_tokens: Annotated[int, Bounds(least=0)] = 0
    """Tokens that user ids are hashed to, one of them before each history (TIGER: 2000)."""
    d_model: Count = 128
    """Width of every state."""
    encoder_layers: Count = 2
    """Layers that read the history."""
    decoder_layers: Count = 1
    """Layers that write the codes."""
    heads: Count = 4
    """Attention heads."""
    head_dim: Count | None = None
    """Width of a head; without it, d_model / heads."""
    d_ff: Count = 512
    """Width of the feed-forward layers."""
    dropout: ShareBelowOne = 0.2
    """Share of tokens, hidden activations and layer outputs dropped in training."""
    attention_dropout: ShareBelowOne = 0.0
    """Share of attention weights dropped."""
    decoder_dropout: ShareBelowOne | None = None
    """The decoder's own `dropout`; without it, the same."""
    max_history: Count = 50
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

    init_from: Annotated[str | None, tyro.conf.arg(aliases=("--init-from",))] = None
    """Folder of a trained run, or of a bundle, whose weights to begin with; its items, by id, begin
    with the vectors that they had. Without it, at random."""
    epochs: Count = 24
    """Times that all histories are trained on."""
    rows: Count = 32
    """Rows in a step. causal: several users are packed into each. bidirectional: one prefix."""
    row_length: Count = 64
    """Items in a packed row; at least model.max_history."""
    longer_histories: Literal["windows", "recent"] = "windows"
    """What becomes of histories above model.max_history: they are cut into windows, so that every
    item is a target, or only their most recent items are trained on."""
    accumulate: Count = 1
    """Parts that a step's rows are computed in, one after the other; saves memory."""
    learning_rate: Positive = 1e-3
    """Peak learning rate of AdamW; warmed up, then decayed by a cosine."""
    warmup: Share = 0.05
    """Share of the steps spent warming up."""
    weight_decay: NotNegative = 0.01
    """Decoupled decay of all matrices in a step, times the learning rate; norms are spared."""
    clip: Positive = 1.0
    """Limit of the global gradient norm."""
    label_smoothing: ShareBelowOne = 0.0
    """Share of a code's target that is spread over all codes of its level."""
    item_loss: NotNegative = 1.0
    """Weight of the loss of model.item_head."""
    item_negatives: Count | None = None
    """Items drawn in each step to tell the target from in that loss; without it, all."""
    distillation: NotNegative = 0.0
    """Share of a code's target that is what model.item_head expects to come next."""
    average: ShareBelowOne = 0.0
    """Decay per step of a moving average of the weights, which is what is validated and used; 0
    uses the weights themselves."""
    fsdp: Count = 1
    """Devices that parameters and optimiser state are split over; each such group trains on its own
    share of the rows."""
    checkpoint_every: Count = 1000
    """Steps between checkpoints; one is also written at every validation."""
    validate_every: Count = 2
    """Epochs between validations by real decoding; the best by NDCG@10 is kept."""
    validation_users: Count = 1000
    """Users in a validation, drawn once by the seed."""
    validation_beam: Annotated[int, Bounds(least=10)] = 20
    """Beam width in a validation; at least 10."""
    patience: Count | None = None
    """Validations without a better one after which training stops early; without it, never."""


@dataclass(frozen=True)
class ExpertsConfig:
    """What is looked up beside the model: a graph of the items and their content."""

    neighbours: Count = 128
    """Neighbours that the graph keeps of each item."""
    users: Annotated[int, Bounds(least=0)] = 4000
    """Most validation users that the experts' weights are fitted on; 0 leaves the experts out."""


@dataclass(frozen=True)
class DecodingConfig:
    """How items are found: beam search over the trie of real items, and what helps it."""

    beam: Count = 50
    """Beam width; also the number of items recommended to each user in an evaluation."""
    batch_size: Count = 32
    """Users searched at once."""
    normalise: Literal["codes", "allowed"] = "codes"
    """What a level's probabilities sum to one over: all its codes, or those that may come next."""
    dense_share: Share | None = None
    """Share of model.item_head in the score: 0 ranks by the codes alone, 1 by the head alone.
    Without it, all experts rank with their fitted weights; where none were fitted, the codes do."""
    unseen_share: ShareBelowOne = 0.0
    """Share of a list that goes to items without a training interaction, found by the codes that
    describe them (TIGER's epsilon); 0: they compete like all others."""
    temperature: tuple[Positive, ...] | None = None
    """Draw items at random, at this temperature: one for all levels, or one for each; without it,
    the most probable ones."""
    unknown_items: Literal["refuse", "skip"] = "refuse"
    """What to do about items in a history, or in a list to allow or exclude, that the catalogue has
    not."""
    index: str = "auto"
    """Faiss index-factory string of the item vectors, for codes that no item has. auto: exact
    below 100,000 items, IVF above."""


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured on the held-out items, over the full catalogue."""

    top_k: tuple[Count, ...] = (1, 5, 10, 20, 50)
    """Cut-offs of Recall, NDCG, MRR and hit rate; those above decoding.beam are left out."""
    neighbours: Count = 100
    """Most similar items that the item-kNN baseline keeps for each item."""


@dataclass(frozen=True)
class Config:
    """Every setting, by stage."""

    data: DataConfig = field(default_factory=DataConfig)
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    experts: ExpertsConfig = field(default_factory=ExpertsConfig)
    decoding: DecodingConfig = field(default_factory=DecodingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    seed: Annotated[int, Bounds(least=0, below=2**32)] = 0
    """Seed of everything random: the same seed, config and machine give the same result."""


HOW = frozenset(
    {
        *("data.raw", "data.engine", "data.spark_master", "data.memory_gib"),
        *("training.fsdp", "training.checkpoint_every"),
    }
)
"""Settings that change how a stage goes about its work, not what comes of it."""
