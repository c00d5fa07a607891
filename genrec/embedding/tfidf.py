"""Item vectors from text alone: TF-IDF, then latent semantic analysis. Needs no download."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion
from sklearn.utils.extmath import randomized_svd

from genrec.errors import UserError

_ZERO_NORM = 1e-6
"""A text whose vector has a smaller norm counts as a text without any known term."""


@dataclass(frozen=True)
class TextEmbedder:
    """Embeds new texts like those of the catalogue that `embed_tfidf` was fitted to.

    Attributes:
        terms: text → sparse TF-IDF weights of a vocabulary of terms.
        directions: float (terms, C), the right singular vectors of the weights.
        unknown: float (C,), the vector of a text without any known term.
    """

    terms: FeatureUnion
    directions: np.ndarray
    unknown: np.ndarray

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (N, C), rows of unit norm."""
        return _unit(self.terms.transform(texts) @ self.directions, self.unknown)


def embed_tfidf(texts: Sequence[str], *, dim: int, seed: int) -> tuple[np.ndarray, TextEmbedder]:
    """Embeds texts by TF-IDF weights reduced by a truncated SVD (Deerwester et al. 1990).

    The terms are words, pairs of words, and runs of four characters within a word. The last find
    similarities that whole words do not: inflections, model numbers, scripts without spaces.

    Args:
        texts: N texts; one without any known term (such as an empty one) gets the catalogue's mean
            direction, so that it is like no item in particular.
        dim: the width C, if there are as many texts and terms.

    Returns:
        float32 (N, min(dim, N, number of terms)), rows of unit norm; and the embedder of further
        texts.

    Raises:
        UserError: no text has a term.
    """
    # A term of one text makes no two texts similar; dropping those saves most of the time. In a
    # catalogue small enough to be represented exactly, every term may stay.
    fitted = _weights(texts, 2) if len(texts) > dim else None
    fitted = _weights(texts, 1) if fitted is None else fitted
    if fitted is None:
        raise UserError(
            f"none of the {len(texts):,} items has any text: name the columns that describe them "
            'in data.text, such as "{title}. {brand}"'
        )
    terms, weights = fitted
    rank = min(dim, *weights.shape)
    directions = randomized_svd(weights, rank, random_state=seed)[2].T
    vectors = weights @ directions
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    has_terms = norms[:, 0] > _ZERO_NORM
    mean = (vectors[has_terms] / norms[has_terms]).mean(axis=0)
    unknown = mean / np.linalg.norm(mean)
    return _unit(vectors, unknown), TextEmbedder(terms, directions, unknown)


def _unit(vectors: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """`vectors` (N, C) with rows of unit norm, as float32; zero rows become `unknown`."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    has_terms = norms[:, 0] > _ZERO_NORM
    vectors[has_terms] /= norms[has_terms]
    vectors[~has_terms] = unknown
    return vectors.astype(np.float32)


def _weights(texts: Sequence[str], smallest_count: int) -> tuple[FeatureUnion, Any] | None:
    """Sparse TF-IDF weights (N, terms) of terms in at least so many texts; None without any."""
    # Both halves have unit rows, so words and characters count alike.
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=smallest_count)
    runs = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(4, 4), sublinear_tf=True, min_df=smallest_count
    )
    terms = FeatureUnion([("words", words), ("runs", runs)])
    try:
        return terms, terms.fit_transform(texts)
    except ValueError:  # scikit-learn's only sign of an empty vocabulary
        return None
