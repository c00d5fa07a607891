"""Item vectors from text alone: TF-IDF, then latent semantic analysis. Needs no download."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion
from sklearn.utils.extmath import randomized_svd

from genrec.errors import UserError


def embed_tfidf(texts: Sequence[str], *, dim: int, seed: int) -> np.ndarray:
    """Embeds texts by TF-IDF weights reduced by a truncated SVD (Deerwester et al. 1990).

    The terms are words, pairs of words, and runs of four characters within a word. The last find
    relatives that no whole word shows: inflections, model numbers, scripts without spaces.

    Args:
        texts: N texts; one without any known term (an empty one) gets the catalogue's mean
            direction, which says nothing about it.
        dim: width wanted; fewer columns come back where texts or terms are fewer.
        seed: of the randomised SVD.

    Returns:
        float32 (N, min(dim, N, number of terms)), rows of unit norm.

    Raises:
        UserError: no text has a term.
    """
    # A term of one text makes no two texts similar; dropping those saves most of the time. In a
    # catalogue small enough to be represented exactly, every term may stay.
    weights = _weights(texts, 2) if len(texts) > dim else None
    weights = _weights(texts, 1) if weights is None else weights
    if weights is None:
        raise UserError(
            f"none of the {len(texts):,} items has any text: name the columns that describe them "
            'in data.text, such as "{title}. {brand}"'
        )
    rank = min(dim, *weights.shape)
    directions = randomized_svd(weights, rank, random_state=seed)[2]
    vectors = weights @ directions.T
    norms = np.linalg.norm(vectors, axis=1)
    known = norms > 1e-6
    vectors[known] /= norms[known, None]
    if not known.all():
        mean = vectors[known].mean(axis=0)
        vectors[~known] = mean / np.linalg.norm(mean)
    return vectors.astype(np.float32)


def _weights(texts: Sequence[str], smallest_count: int) -> Any:
    """Sparse TF-IDF weights (N, V) of terms in at least so many texts; None without such terms."""
    # Both halves have unit rows, so words and characters count alike.
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=smallest_count)
    runs = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(4, 4), sublinear_tf=True, min_df=smallest_count
    )
    try:
        return FeatureUnion([("words", words), ("runs", runs)]).fit_transform(texts)
    except ValueError:  # scikit-learn's only sign of an empty vocabulary
        return None
