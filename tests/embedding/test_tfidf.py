import numpy as np
import pytest

from genrec.embedding import embed_tfidf
from genrec.errors import UserError

TEXTS = [
    "red lipstick, matte finish",
    "matte lipstick in dark red",
    "shampoo for dry hair",
    "hair conditioner and shampoo, dry hair",
    "nail polish remover",
    "nail polish, glossy",
]


def test_similar_texts_are_closer():
    vectors = embed_tfidf(TEXTS, dim=4, seed=0)[0]
    likeness = vectors @ vectors.T - 2 * np.eye(6)
    assert likeness.argmax(axis=1).tolist() == [1, 0, 3, 2, 5, 4]


def test_words_never_seen_whole_are_related_by_their_parts():
    texts = ["moisturizer", "moisturizing lotion", "toothbrush", "toothpaste"]
    vectors = embed_tfidf(texts, dim=4, seed=0)[0]
    assert vectors[0] @ vectors[1] > 0.1 > abs(vectors[0] @ vectors[2])


def test_the_same_seed_gives_the_same_vectors():
    texts = [f"item {i % 7} of brand {i % 11}" for i in range(60)]
    first = embed_tfidf(texts, dim=8, seed=3)[0]
    assert first.dtype == np.float32 and first.shape == (60, 8)
    assert np.array_equal(first, embed_tfidf(texts, dim=8, seed=3)[0])


@pytest.mark.parametrize("texts", [TEXTS, TEXTS[:2], ["one"], ["same text"] * 5, ["M", "42"]])
@pytest.mark.parametrize("dim", [1, 3, 500])
def test_tiny_catalogues(texts, dim):
    vectors = embed_tfidf(texts, dim=dim, seed=0)[0]
    assert len(vectors) == len(texts) and 1 <= vectors.shape[1] <= min(dim, len(texts))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("dim", [2, 100])
def test_an_empty_text_lies_in_the_middle(dim):
    vectors = embed_tfidf([*TEXTS, "", "  "], dim=dim, seed=0)[0]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    middle = vectors[:6].mean(axis=0)
    np.testing.assert_allclose(vectors[6], middle / np.linalg.norm(middle), atol=1e-5)
    assert np.array_equal(vectors[6], vectors[7])


def test_no_text_at_all():
    with pytest.raises(UserError, match="none of the 3 items has any text"):
        embed_tfidf(["", " ", ""], dim=4, seed=0)


def test_other_scripts():
    texts = ["保湿クリーム敏感肌", "保湿クリーム乾燥肌", "электрическая щётка", "зубная щётка"]
    vectors = embed_tfidf(texts, dim=4, seed=0)[0]
    likeness = vectors @ vectors.T - 2 * np.eye(4)
    assert likeness.argmax(axis=1).tolist() == [1, 0, 3, 2]


def test_texts_that_come_later_get_the_vectors_they_would_have_had():
    texts = [f"item {i % 7} of brand {i % 11}" for i in range(60)]
    vectors, embed = embed_tfidf(texts, dim=8, seed=3)
    np.testing.assert_allclose(embed(texts), vectors, atol=1e-6)
    nothing, unknown = embed([texts[4], "", "quite otherwise"])[1:]
    np.testing.assert_allclose(nothing, unknown)
    middle = vectors.mean(axis=0)
    np.testing.assert_allclose(unknown, middle / np.linalg.norm(middle), atol=1e-5)
