"""Filters by the few nodes that they mark, against every item looked at by itself."""

import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genrec.decoding.filters import Filters, marked_nodes, permitted_items
from small_codes import LARGEST, catalogues, device_trie, roomy_shapes

marks_of = jax.jit(marked_nodes)
permitted_of = jax.jit(permitted_items, static_argnums=2)


@st.composite
def filtered(draw):
    """A catalogue, and some requests that allow or exclude items of it, -1 for none."""
    codes = draw(catalogues())
    item = st.integers(-1, len(codes) - 1)
    rows = draw(st.lists(st.lists(item, min_size=6, max_size=6), min_size=5, max_size=5))
    allow = draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
    return codes, Filters(np.array(rows, np.int32), np.array(allow))


def permitted(filters, request, item):
    return (item in filters.items[request]) == filters.allow[request]


@given(filtered())
def test_marks_tell_which_nodes_still_lead_to_an_item(drawn):
    codes, filters = drawn
    trie = device_trie(codes, like=roomy_shapes(codes.shape[1]))
    children, below = [np.asarray(x) for x in trie.children], [np.asarray(x) for x in trie.codes]
    rows = codes.tolist()
    marks = marks_of(trie, filters)
    for request, allow in enumerate(filters.allow):
        left = [row for item, row in enumerate(rows) if permitted(filters, request, item)]
        for level, (parents, which) in enumerate(marks):
            # The nodes of a level are its distinct prefixes in order.
            above = sorted({tuple(row[:level]) for row in rows})
            marked = set()
            places = np.asarray(parents)[request].tolist(), np.asarray(which)[request].tolist()
            for parent, child in zip(*places, strict=True):
                if parent >= 0:
                    node = children[level][parent] + child
                    marked.add((*above[parent], int(below[level][node])))
            alive = {tuple(row[: level + 1]) for row in left}
            every = {tuple(row[: level + 1]) for row in rows}
            assert marked == (alive if allow else every - alive)


@given(filtered(), st.data())
def test_a_filter_permits_what_it_allows_or_does_not_block_of_the_items_that_are_there(drawn, data):
    codes, filters = drawn
    there = data.draw(st.sets(st.integers(0, len(codes) - 1), min_size=1))
    trie = device_trie(codes, np.array(sorted(there)), like=roomy_shapes(codes.shape[1]))
    found = np.asarray(permitted_of(filters, trie, LARGEST))[:, : len(codes)]
    for request in range(len(filters.items)):
        expected = [
            item in there and permitted(filters, request, item) for item in range(len(codes))
        ]
        assert found[request].tolist() == expected
