import numpy as np
import pytest

from genrec.errors import UserError
from genrec.semantic_ids.branches import branches

CODES = np.array([[3, 0, 0], [3, 0, 1], [3, 5, 0], [7, 1, 0], [7, 1, 1], [7, 1, 2]])
TITLES = [
    "Red Lipstick 3.5 oz",
    "Lipstick, the red one",
    "Blue lipstick",
    "Shampoo for dry hair",
    "Hair shampoo",
    "Horse shampoo",
]


def test_the_largest_branch_comes_first_with_its_own_words():
    first, second = branches(CODES, TITLES)
    assert (first.prefix, sorted(first.items)) == ((3,), [0, 1, 2])
    assert (second.prefix, sorted(second.items)) == ((7,), [3, 4, 5])
    # "blue" and "horse" are in one title each; "the", "one", "for" and numbers say nothing.
    assert first.words == ["lipstick", "red"] and second.words == ["shampoo", "hair"]
    assert first.items[-1] == 2 and second.items[-1] == 5  # the least typical


def test_below_a_prefix_words_tell_from_its_other_branches():
    first, second = branches(CODES, TITLES, [3])
    assert (first.prefix, first.items) == ((3, 0), [0, 1])
    assert first.words[0] == "red"
    assert second.words[0] == "blue"
    assert [branch.items for branch in branches(CODES, TITLES, (7, 1))] == [[3], [4], [5]]


def test_only_the_items_that_count():
    (only,) = branches(CODES, TITLES, items=np.array([0, 2]))
    assert (only.prefix, only.items) == ((3,), [0, 2])
    assert branches(CODES, TITLES, words=1)[0].words == ["lipstick"]


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ([4], "begin with 4; the nearest that there are: 3, 7"),
        ([3, 4], "begin with 3,4; the nearest that there are: 3,0, 3,5"),
        ([3, 0, 1], "at most 2 codes; this one has 3"),
    ],
)
def test_prefixes_that_lead_nowhere(prefix, message):
    with pytest.raises(UserError, match=message):
        branches(CODES, TITLES, prefix)
