"""A Faiss index kept as plain arrays is the one that Faiss made."""

import faiss
import numpy as np
import pytest

from genrec.bundle.indexes import load_index, pack_index
from genrec.errors import UserError
from genrec.storage.safetensors import pack_tensors

WIDTH, COUNT = 7, 90


def made(kind):
    vectors = np.random.default_rng(0).normal(size=(COUNT, WIDTH)).astype(np.float32)
    index = faiss.index_factory(WIDTH, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    return index


@pytest.mark.parametrize("kind", ["SQ8", "Flat"])
def test_it_is_the_same_to_the_byte_also_with_more_vectors(kind):
    index = made(kind)
    again = load_index({"x": pack_index(index)}, "x", WIDTH, COUNT)
    more = np.random.default_rng(1).normal(size=(20, WIDTH)).astype(np.float32)
    for each in (index, again):
        each.add(more)
    assert faiss.serialize_index(index).tobytes() == faiss.serialize_index(again).tobytes()
    assert again.ntotal == COUNT + 20


CODES, TRAINED = np.zeros((COUNT, WIDTH), np.uint8), np.zeros(2 * WIDTH, np.float32)


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"trained": TRAINED},
        {"codes": CODES},  # neither eight bits nor all
        {"codes": CODES[:-1], "trained": TRAINED},
        {"codes": CODES[:, :-1].copy(), "trained": TRAINED},
        {"codes": CODES.reshape(-1), "trained": TRAINED},
        {"codes": CODES.astype(np.float32), "trained": TRAINED},
        {"codes": CODES, "trained": TRAINED[:-1]},
        {"codes": CODES, "trained": np.full_like(TRAINED, np.nan)},
        {"codes": CODES, "trained": TRAINED.astype(np.int32)},
    ],
)
def test_what_is_no_index_is_refused(tensors):
    with pytest.raises(UserError, match="x does not hold 90 vectors of width 7"):
        load_index({"x": pack_tensors(tensors)}, "x", WIDTH, COUNT)


def test_an_index_that_is_not_there():
    with pytest.raises(UserError, match="the bundle has no x"):
        load_index({}, "x", WIDTH, COUNT)
