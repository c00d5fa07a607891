import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.errors import UserError
from genrec.evaluation import evaluate, most_popular
from genrec.sequences.histories import Histories

HISTORIES = Histories.of([[0, 1], [2], [3, 4]])
TARGETS = np.array([2, 3, 3], np.int32)
UNFILTERED = [[1, 2, 0], [3, 0, 1], [0, 1, 2]]
FILTERED = [[2, 3, 4], [0, 1, 3], [0, 1, 2]]


def fixed(unfiltered, filtered, scores=None):
    """A recommender that returns the given lists, whatever it is asked."""

    def recommend(histories, k, *, exclude_history):
        items = np.array(filtered if exclude_history else unfiltered)
        falling = np.broadcast_to(np.arange(items.shape[-1], 0, -1.0), items.shape)
        return items, (falling if scores is None else np.array(scores)).astype(np.float32)

    return recommend


def measure(recommend, histories=HISTORIES, targets=TARGETS, k=3, top_k=(1, 3), num_items=6):
    return evaluate(recommend, histories, targets, k=k, top_k=top_k, num_items=num_items)


def test_evaluation_by_hand():
    result = measure(fixed(UNFILTERED, FILTERED))
    assert result.unfiltered.ranks.tolist() == [1, 0, 3]
    assert result.filtered.ranks.tolist() == [0, 2, 3]
    assert result.filtered.items.tolist() == FILTERED
    assert result.filtered.items.dtype == np.int32
    assert result.filtered.scores.dtype == np.float32
    figures = result.to_json()
    assert (figures["users"], figures["repeat_targets"]) == (3, 1)
    expected = {
        "unfiltered": [1 / 3, 1 / 3, 1 / 3, 2 / 3, (1 / np.log2(3) + 1) / 3, (1 / 2 + 1) / 3],
        "filtered": [1 / 3, 1 / 3, 1 / 3, 2 / 3, (1 + 1 / 2) / 3, (1 + 1 / 3) / 3],
    }
    names = [f"{metric}@{k}" for k in (1, 3) for metric in ("recall", "ndcg", "mrr")]
    for protocol, values in expected.items():
        assert [figures[protocol][name] for name in names] == pytest.approx(values)


def test_the_recommender_sees_the_histories_as_they_were_given_and_both_protocols():
    seen = []

    def recommend(histories, k, *, exclude_history):
        seen.append((histories, k, exclude_history))
        return fixed(UNFILTERED, FILTERED)(histories, k, exclude_history=exclude_history)

    measure(recommend)
    assert [(k, exclude) for _, k, exclude in seen] == [(3, False), (3, True)]
    assert all(histories is HISTORIES for histories, _, _ in seen)


def test_histories_may_be_runs_of_an_array_with_more_in_it():
    longer = Histories.of([[3, 4, 2], [0, 1, 2], [5, 5, 5], [2, 1]])
    histories = longer.without_last(1).select(np.array([1, 3, 0]))
    assert [history.tolist() for history in histories] == [[0, 1], [2], [3, 4]]
    assert measure(fixed(UNFILTERED, FILTERED), histories).filtered.ranks.tolist() == [0, 2, 3]
    with pytest.raises(
        ValueError, match="list of user 1 is filtered, but holds an item of their history"
    ):
        measure(fixed(UNFILTERED, [[2, 3, 4], [0, 2, 3], [0, 1, 2]]), histories)


def test_targets_that_were_not_held_out_are_refused():
    sequences = Histories.of([[user, user + 1, user + 2] for user in range(12)])
    targets = np.arange(2, 14, dtype=np.int32)
    popular = most_popular(sequences, 20)
    with pytest.raises(ValueError, match="not held out"):
        measure(popular, sequences, targets, k=3, num_items=20)
    assert measure(popular, sequences.without_last(1), targets, num_items=20).repeat_targets == 0


def test_users_who_only_ever_choose_one_item_again_are_measured():
    """As all do where the catalogue has a single item."""
    sequences = Histories.of([[user % 3] * 4 for user in range(30)])
    targets = np.array([user % 3 for user in range(30)], np.int32)
    popular = most_popular(sequences, 3)
    result = measure(popular, sequences.without_last(1), targets, k=3, top_k=(3,), num_items=3)
    assert result.repeat_targets == 30
    assert result.unfiltered.metrics["recall@3"] == 1.0
    assert result.filtered.metrics["recall@3"] == 0.0


def test_repeated_targets_are_counted_and_stay_in_the_average():
    histories = Histories.of([[0, 1, 0], [0, 2], [1]])
    targets = np.array([0, 2, 3], np.int32)
    recommend = most_popular(Histories.of([[3]]), 4)
    result = measure(recommend, histories, targets, k=4, top_k=(4,), num_items=4)
    assert result.repeat_targets == 2
    assert result.unfiltered.metrics["recall@4"] == 1.0
    assert result.filtered.metrics["recall@4"] == pytest.approx(1 / 3)


def test_users_whose_target_was_never_seen_in_training_count_as_missed():
    training = Histories.of([[0, 1], [0, 1, 2]])
    targets = np.array([2, 5], np.int32)
    result = measure(most_popular(training, 6), training, targets, top_k=(3,))
    assert result.to_json()["users"] == 2
    assert result.unfiltered.metrics["recall@3"] == 0.5


@given(st.integers(1, 30), st.integers(0, 2**32 - 1), st.data())
@settings(deadline=None)
def test_recall_is_over_the_full_catalogue_and_ties_favour_nobody(num_items, seed, data):
    """With each item the target once, K of N users are hit: sampling or luck would show here."""
    k = data.draw(st.integers(1, num_items))
    targets = np.random.default_rng(seed).permutation(num_items).astype(np.int32)
    everybody_equal = most_popular(Histories.of([range(num_items)]), num_items)
    histories = Histories.of([[]] * num_items)
    result = measure(everybody_equal, histories, targets, k, (k,), num_items)
    assert result.unfiltered.metrics[f"recall@{k}"] == pytest.approx(k / num_items)
    assert result.filtered.metrics == result.unfiltered.metrics


def test_lists_shorter_than_the_cut_off_are_refused():
    with pytest.raises(UserError, match=r"Recall@10.*lists of 3 items.*decoding\.beam"):
        measure(fixed(UNFILTERED, FILTERED), top_k=(1, 10))
    with pytest.raises(ValueError, match=r"\(3, 3\)"):
        measure(fixed(UNFILTERED, FILTERED), k=5, top_k=(5,))


def test_a_recommender_that_does_not_filter_is_found_out():
    with pytest.raises(
        ValueError, match="list of user 0 is filtered, but holds an item of their history"
    ):
        measure(fixed(UNFILTERED, UNFILTERED))


@pytest.mark.parametrize(
    ("lists", "why"),
    [
        ([[0, 1, 1], [0, 1, 2], [0, 1, 2]], "user 0 names an item twice"),
        ([[0, 1, 2], [0, 1, 6], [0, 1, 2]], "user 1 holds an item that does not exist"),
        ([[0, 1, 2], [0, 1, 2], [0, 1, -2]], "user 2 holds an item that does not exist"),
        ([[0, -1, 2], [0, 1, 2], [0, 1, 2]], "user 0 has a gap"),
        ([[0, 1, 2], [0, 1, 2]], "returned items"),
        ([[0.0, 1.0, 2.0]] * 3, "float64"),
    ],
)
def test_broken_lists_are_refused(lists, why):
    with pytest.raises(ValueError, match=why):
        measure(fixed(lists, FILTERED))


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        ([[3, 2, 1], [3, 2, 1], [2, 3, 1]], "user 2 is not ordered by score"),
        ([[3, 2, 1], [3, np.nan, 1], [3, 2, 1]], "user 1 has a score that is not finite"),
        ([[3, 2, -np.inf]] * 3, "user 0 has a score that is not finite"),
        ([[3, 2]] * 3, "returned items"),
    ],
)
def test_broken_scores_are_refused(scores, why):
    with pytest.raises(ValueError, match=why):
        measure(fixed(UNFILTERED, FILTERED, scores))


def test_lists_may_end_early():
    lists = [[1, 2, -1], [3, -1, -1], [-1, -1, -1]]
    scores = [[2, 1, -np.inf], [1, np.nan, 7], [0, 1, 2]]
    result = measure(fixed(lists, lists, scores), Histories.of([[0]] * 3))
    assert result.unfiltered.ranks.tolist() == [1, 0, 3]


@pytest.mark.parametrize(
    ("targets", "why"),
    [([2, 3], "do not fit"), ([2, 3, 6], "outside"), ([-1, 3, 3], "outside")],
)
def test_broken_targets_are_refused(targets, why):
    with pytest.raises(ValueError, match=why):
        measure(fixed(UNFILTERED, FILTERED), targets=np.array(targets, np.int32))


def test_nobody_to_evaluate_is_an_error_for_people():
    with pytest.raises(UserError, match="no user"):
        measure(fixed([], []), Histories.of([]), np.zeros(0, np.int32))
