"""A tiny data set with a structure that a model can learn, and the settings of a run on it."""

import csv
import shutil
from pathlib import Path

import numpy as np

USERS, ITEMS = 150, 40
SETTINGS = """
data: {interactions: log.csv, items: items.csv, text: "{title}, {genre}", k_core: 2}
embedding: {dim: 16}
tokenizer: {codebook_sizes: [8, 8], latent_dim: 8, hidden: [16], steps: 150, batch_size: 64}
model: {d_model: 32, heads: 2, d_ff: 64, encoder_layers: 1, dropout: 0.1, max_history: 12}
training: {epochs: 12, rows: 8, row_length: 24, learning_rate: 5e-3, validate_every: 4}
experts: {users: 0}
decoding: {beam: 20, batch_size: 256}
"""
RECIPES = {
    "codes": [],
    "tiger": [
        *("model.tokens=codes", "model.encoder=bidirectional", "model.user_tokens=7"),
        *("model.item_embedding=false", "model.head_dim=8", "model.attention_dropout=0.1"),
        *("training.epochs=12", "training.rows=64", "training.row_length=64"),
        *("training.learning_rate=1e-2", "training.label_smoothing=0.1"),
    ],
    "fused": [
        *("model.item_head=true", "model.content=true", "model.look_ahead=true"),
        *("model.repeats=true", "model.time_gaps=true", "training.distillation=0.5"),
        *("training.epochs=12", "decoding.dense_share=0.5"),
        "tokenizer.collisions=none",  # so that leaves are below the last code
    ],
    "everything": [
        *("tokenizer.collisions=reassign", "tokenizer.codebook_sizes=[8, 32]"),
        *("tokenizer.cooccurrence=1.0", "model.item_head=true", "model.content=true"),
        *("model.look_ahead=true", "model.time_gaps=true", "model.decoder_dropout=0.2"),
        *("model.max_history=8", "training.longer_histories=recent", "training.epochs=14"),
        *("training.average=0.95", "training.item_negatives=20", "training.validate_every=2"),
        *("training.patience=3", "training.accumulate=2", "decoding.dense_share=0.5"),
    ],
    "experts": [
        *("model.item_head=true", "model.content=true", "model.look_ahead=true"),
        *("training.epochs=12", "experts.users=150", "experts.neighbours=8"),
    ],
}
"""Settings that differ from those of the tiny run."""


def write_log(folder: Path) -> None:
    """Users go round the items in a fixed order; now and then they jump."""
    rng = np.random.default_rng(0)
    after = rng.permutation(ITEMS)
    with (folder / "items.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["item_id", "title", "genre"])
        rows.writerows([f"i{n:03}", f"Film {n}", f"genre{n % 5}"] for n in range(ITEMS))
    with (folder / "log.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["user_id", "item_id", "timestamp"])
        for user in range(USERS):
            item = int(rng.integers(ITEMS))
            for step in range(int(rng.integers(6, 14))):
                rows.writerow([f"u{user}", f"i{item:03}", 1000 * user + step])
                item = int(after[item]) if rng.random() < 0.9 else int(rng.integers(ITEMS))


def trained(source: Path, folder: Path, *settings: str) -> Path:
    """A run of the vectors of another one, with other settings: what precedes them is copied."""
    import genrec

    folder.mkdir()
    for name in ("dataset", "tokenizer", "embeddings.npy", "config.yaml", "manifest.json"):
        copy = shutil.copytree if (source / name).is_dir() else shutil.copy
        copy(source / name, folder / name)
    config = genrec.load_config(folder / "config.yaml", *settings)
    for stage in ("tokenize", "train", "graph", "fuse", "evaluate"):
        genrec.run_stage(stage, config, folder)
    return folder
