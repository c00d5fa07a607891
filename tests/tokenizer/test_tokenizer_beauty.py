"""A short fit on Amazon Beauty's sentence vectors: codes in use, few collisions, sound prefixes."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from genrec.tokenizer import Objective, fit_rqvae, health

BEAUTY = Path(__file__).parents[3] / "shared" / "data" / "beauty"


def pairs(groups):
    """How many pairs of items have equal entries in `groups`."""
    return sum(n * (n - 1) for n in Counter(groups).values())


@pytest.mark.soak
def test_beauty():
    if not BEAUTY.is_dir():
        pytest.skip(f"no Amazon Beauty at {BEAUTY}")
    vectors = np.load(BEAUTY / "embeddings_all-MiniLM-L6-v2.npy")
    tokenizer, _ = fit_rqvae(
        vectors,
        codebook_sizes=(256, 256, 256),
        latent_dim=32,
        hidden=(256,),
        steps=200,
        batch_size=256,
        learning_rate=3e-3,
        objective=Objective(),
        collapse=0.1,
        seed=0,
    )
    codes = tokenizer.encode(vectors)
    measured = health(codes, tokenizer.codebook_sizes, vectors, tokenizer.decode)
    assert all(level["used"] >= 0.98 for level in measured["levels"])
    assert measured["distinct_share"] > 0.92
    assert measured["relative_error"] < 0.62

    categories = pq.read_table(BEAUTY / "items.parquet")["categories"].to_pylist()
    leaf = [paths[0] if paths else "" for paths in categories]
    first = codes[:, 0].tolist()
    alike = pairs(zip(first, leaf, strict=True)) / pairs(first)
    assert alike > 10 * pairs(leaf) / (len(leaf) * (len(leaf) - 1))
