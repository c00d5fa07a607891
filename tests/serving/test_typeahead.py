"""What a person types finds items by the beginnings of their words."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genrec.serving.typeahead import Typeahead

NAMES = [
    ("b1", "Alien (1979)"),
    ("b2", "Aliens"),
    ("x-9", "The Alien Seed"),
    ("b4", "Café de Flore"),
    ("b5", "Star Wars: A New Hope"),
    ("b6", ""),
]
TYPEAHEAD = Typeahead(NAMES, [2, 1, 0, 3, 4, 5])


def test_words_begin_so_in_the_order_that_is_given():
    assert TYPEAHEAD.find("alien", 9) == [2, 1, 0]
    assert TYPEAHEAD.find("ALIEN", 2) == [2, 1]
    assert TYPEAHEAD.find("see ali", 9) == [2]
    assert TYPEAHEAD.find("lien", 9) == []


def test_ids_accents_and_signs():
    assert TYPEAHEAD.find("b5", 9) == [4]
    assert TYPEAHEAD.find("x-9", 9) == [2]
    assert TYPEAHEAD.find("cafe", 9) == TYPEAHEAD.find("CAFÉ", 9) == [3]
    assert TYPEAHEAD.find("wars hope!", 9) == [4]
    assert TYPEAHEAD.find(" -*% ", 9) == TYPEAHEAD.find("", 9) == []
    assert TYPEAHEAD.find("\n", 9) == []


words = st.lists(st.text("abc", min_size=1, max_size=3), max_size=4)


@given(st.lists(words, min_size=1, max_size=12), words.filter(bool), st.integers(1, 5))
def test_finds_what_looking_at_each_item_finds(titles, typed, limit):
    names = [(f"{number}", " ".join(title)) for number, title in enumerate(titles)]
    order = np.random.default_rng(0).permutation(len(names))
    expected = [
        item
        for item in order.tolist()
        if all(any(word.startswith(part) for word in titles[item]) for part in typed)
    ]
    assert Typeahead(names, order).find(" ".join(typed), limit) == expected[:limit]
