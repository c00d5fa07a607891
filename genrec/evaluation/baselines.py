"""Two recommenders that need no training: the most popular items, and item-kNN.

Their metrics stand beside every result, so both are as strong as their idea allows. Popularity is
the number of distinct users who have an item. Equal scores are ordered by item index, which says
nothing about an item because indices are shuffled.
"""

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from genrec.evaluation.protocol import RankingFunction
from genrec.graph.sparse import rank_in_run
from genrec.sequences.histories import Histories

_SCORES_AT_ONCE = 4_000_000
_ITEMS_AT_ONCE = 1024


def most_popular(training: Histories, num_items: int) -> RankingFunction:
    """Recommends the items that most users of `training` have; the scores are their numbers."""
    users_with = popularity(training, num_items)

    def score(histories: Histories) -> np.ndarray:
        return np.tile(users_with, (len(histories), 1))

    return by_score(score, num_items)


def item_knn(
    training: Histories,
    num_items: int,
    neighbours: int,
    *,
    shrinkage: float = 5.0,
    half_life: float = 1.0,
) -> RankingFunction:
    """Recommends the items that are most similar to those of a history, the last ones above all.

    The item-based top-N recommender of Sarwar et al. (2001) and Deshpande and Karypis (2004): the
    similarity of two items is the cosine of their sets of users, each item keeps its most similar
    `neighbours`, and an item's score is the sum of its similarities to the items of the history.
    Two refinements are worth more than the number of neighbours:

    - similarities are shrunk by n / (n + shrinkage), where n users have both items (Koren 2008):
      two rare items that share one user are not that similar;
    - a history's item counts half as much for each `half_life` items that came after it (Ding and
      Li 2005).

    Validation NDCG@10, filtered, 100 neighbours: plain cosine has .0693 on MovieLens-100K and
    .0393 on Beauty; with the half-life .1143 and .0468; with both .1119 and .0554. Shrinkage
    helps sparse data and costs dense data little; the defaults serve both.

    Items similar to none of the history follow after all others, by popularity; their scores,
    −1 / (1 + popularity), are below those of every similarity.

    Args:
        num_items: N, the size of the catalogue.
        neighbours: most similar items kept for each item.
        shrinkage: number of common users at which a similarity is halved; 0 for none.
        half_life: in items; infinity weighs the whole history alike.
    """
    similarities = _similarities(training, num_items, neighbours, shrinkage)
    by_popularity = -1.0 / (1.0 + popularity(training, num_items))

    def score(histories: Histories) -> np.ndarray:
        indptr, items = histories.csr()
        age = np.repeat(indptr[1:], histories.lengths) - 1 - np.arange(indptr[-1])
        weights = sp.csr_array(
            (0.5 ** (age / half_life), items, indptr), shape=(len(histories), num_items)
        )
        scores = sp.csr_array(weights @ similarities).toarray()
        return np.where(scores > 0, scores, by_popularity)

    return by_score(score, num_items)


def _similarities(
    training: Histories, num_items: int, neighbours: int, shrinkage: float
) -> sp.csr_array:
    """float64 (N, N): row i has the similarities of item i to its neighbours, and else 0."""
    users = _user_sets(training, num_items)
    items = users.T.tocsr()
    norm = np.sqrt(np.maximum(users.sum(axis=0), 1.0))
    blocks = []
    for start in range(0, num_items, _ITEMS_AT_ONCE):
        common = (items[start : start + _ITEMS_AT_ONCE] @ users).tocoo()  # numbers of users
        row, column, n = common.row.astype(np.int64), common.col, common.data
        value = n / (norm[row + start] * norm[column]) * (n / (n + shrinkage))
        value[row + start == column] = 0.0
        order = np.lexsort((column, -value, row))
        row, column, value = row[order], column[order], value[order]
        kept = (rank_in_run(row) < neighbours) & (value > 0)
        blocks.append(sp.csr_array((value[kept], (row[kept], column[kept])), shape=common.shape))
    return sp.csr_array(sp.vstack(blocks))


def by_score(
    score: Callable[[Histories], np.ndarray], num_items: int, most: int | None = None
) -> RankingFunction:
    """A recommender from a function that scores N items for B histories: a new float (B, N).

    `most` is how many histories it scores at a time; None for as many as scores have room for.
    """

    def recommend(
        histories: Histories, k: int, *, exclude_history: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        items = np.full((len(histories), k), -1, dtype=np.int32)
        scores = np.full((len(histories), k), -np.inf, dtype=np.float32)
        width, at_once = min(k, num_items), most or max(1, _SCORES_AT_ONCE // num_items)
        for start in range(0, len(histories), at_once):
            rows = np.arange(start, min(start + at_once, len(histories)))
            chunk = histories.select(rows)
            _, history_items = chunk.csr()
            _check_items(history_items, num_items)
            values = score(chunk)
            if exclude_history:
                values[np.repeat(rows - start, chunk.lengths), history_items] = -np.inf
            best = _best(values, width)
            best_values = np.take_along_axis(values, best, axis=1)
            items[rows, :width] = np.where(best_values > -np.inf, best, -1)
            scores[rows, :width] = best_values
        return items, scores

    return recommend


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """int64 (B, k): the columns of the `k` highest scores in each row, equal ones by column.

    A partition alone picks arbitrarily among the scores that equal the k-th. So all of those are
    candidates too, and a full sort decides.
    """
    width = scores.shape[1]
    kth = np.partition(scores, width - k, axis=1)[:, width - k, None]
    row, column = np.divmod(np.flatnonzero(scores >= kth), width)
    order = np.lexsort((column, -scores[row, column], row))
    return column[order[rank_in_run(row) < k]].reshape(len(scores), k)


def _user_sets(training: Histories, num_items: int) -> sp.csr_array:
    """float64 (users, N): 1 where a user has an item, however often."""
    indptr, items = training.csr()
    _check_items(items, num_items)
    ones = np.ones(len(items))
    sets = sp.csr_array((ones, items, indptr), shape=(len(training), num_items), copy=True)
    sets.sum_duplicates()
    sets.data[:] = 1.0
    return sets


def _check_items(items: np.ndarray, num_items: int) -> None:
    """SciPy reads beyond its arrays, and crashes, when an index does not fit the shape."""
    if len(items) and (items.min() < 0 or items.max() >= num_items):
        raise ValueError(f"a history holds an item outside the catalogue of {num_items} items")


def popularity(training: Histories, num_items: int) -> np.ndarray:
    """float64 (N,): the number of users who have each item."""
    return _user_sets(training, num_items).sum(axis=0)
