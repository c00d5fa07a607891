"""Why an item is recommended, worked by hand."""

import numpy as np
import pytest

from genrec.decoding import experts
from genrec.graph import KINDS
from genrec.recommend import explanation
from genrec.recommend.explanation import EDGES, OTHERS, LookedUp, explain_list

TITLES = ["A", "B {}", "C", "D"]
NAMES = ("codes", *EDGES, "recent_content", "whole_content", "popularity", "had", "other")
RANKING = [0.5, 2, 1, 1, 1, 2, 1, 0.1, -4, 1]


def known(**change) -> LookedUp:
    """Four items: from A to C a strong edge, from B to C half of it; C is like A and like B."""
    settings = {
        "names": NAMES,
        "ranking": np.array(RANKING, np.float32),
        "begins": np.array([0, 2, 3, 3, 3], np.int32),
        "items": np.array([1, 2, 2], np.int32),
        "weights": np.array([[0.5, 0, 0, 0], [0.9, 0, 0.4, 0], [0.5, 0, 0, 0]], np.float16),
        "content": np.array([[1, 0], [0, 1], [0.8, 0.6], [0, 0]], np.float16),
        "popularity": np.log1p([9, 9, 9, 0]).astype(np.float32),
        "max_history": 3,
    }
    return LookedUp(**settings | change)


def why(item, history=(0, 1), score=-1.0, of=None, **added):
    row = np.array([added.get(name, 0.0) for name in NAMES], np.float32)
    (found,) = explain_list(
        of or known(),
        TITLES,
        np.array(history, np.int32),
        np.array([item]),
        np.array([score]),
        row[None],
    )
    return found


def test_the_largest_speak_for_it_and_all_add_up():
    found = why(
        *(2, (0, 1), -3.25),
        codes=0.5 * np.log(0.3),
        transitions=2 * (0.9 / 2 + 0.5),
        together=0.2,
        recent_content=1.9,
        whole_content=0.9,
        popularity=0.1 * np.log(10),
    )
    # The edge from B counts more than half of the one from A, which is older.
    assert found.words.split("; ") == [
        "came after B {} in training (.50)",
        "like A in content (.80)",
        "was often had together with A (.40)",
    ]
    names = ["transitions", "recent_content", "whole_content", "codes", "popularity", "together"]
    assert list(found.contributions)[:6] == names and list(found.contributions)[-1] == OTHERS
    assert sum(found.contributions.values()) == pytest.approx(-3.25, abs=1e-12)


@pytest.mark.parametrize(
    ("added", "words"),
    [
        ({"codes": 0.5 * np.log(0.3)}, "the codes give it 30 %"),
        ({"codes": 0.5 * np.log(0.2)}, "nothing speaks for it in particular"),  # less than a fourth
        ({"codes": 0.0}, "nothing speaks for it in particular"),  # they were not asked
        ({"codes": -9, "popularity": 0.1 * np.log(10)}, "popular (9 in training)"),
        ({"codes": -9, "other": 1.25}, "other speaks for it (+1.2)"),
        ({"codes": -9, "had": -4.0}, "nothing speaks for it in particular"),
        ({"codes": -9, "two_hops": 1.0}, "nothing speaks for it in particular"),  # no such edge
    ],
)
def test_what_is_said(added, words):
    assert why(2, **added).words == words


def test_what_was_had_may_speak_for_it():
    ranking = np.array([*RANKING[:8], 2.0, 1.0], np.float32)
    assert why(1, of=known(ranking=ranking), codes=-9, had=2.0).words == "had before"


def test_an_expert_that_counts_the_other_way_round_is_not_quoted():
    """B is unlike A, but D is not recommended for being like it."""
    ranking = np.array([*RANKING[:5], -2.0, 1, -0.1, -4.0, 1.0], np.float32)
    found = why(3, of=known(ranking=ranking), codes=-9, recent_content=0.4, popularity=0.0)
    assert found.words == "nothing speaks for it in particular"


def test_items_before_those_that_are_read_do_not_count():
    assert why(2, (0, 3, 3, 3), codes=-9, transitions=0.2).words.startswith("nothing")
    assert why(2, (0, 3, 3), codes=-9, transitions=0.2).words == "came after A in training (.90)"
    older = known(max_history=9)
    assert why(2, (0, *[3] * 5), of=older, codes=-9, recent_content=1.0).words.startswith("nothing")
    assert why(2, (0, *[3] * 5), of=older, codes=-9, whole_content=1.0).words == (
        "like A in content (.80)"
    )


def test_without_a_history_it_is_popularity_alone():
    found = why(2, (), -1.5)
    assert found.words == "one of the most popular items"
    assert found.contributions == dict.fromkeys(NAMES, 0.0) | {OTHERS: -1.5}


def test_what_it_knows_of_the_experts_is_so():
    assert tuple(EDGES) == KINDS
    assert set(explanation._CONTENT) <= set(experts.LOOKUPS)
    assert explanation._FADING == experts._FADING
    assert explanation._CONTENT["recent_content"] == experts._CONTENT_ITEMS


def test_an_item_that_training_never_met_has_its_edges_from_what_is_like_it():
    new = known(popularity=np.log1p([9, 9, 0, 0]).astype(np.float32))
    said = why(2, of=new, transitions=1.9).words
    assert said == "what is like it came after B {} in training (.50)"
