"""Codes as a tokenizer might give them, for property tests, and their tries."""

import functools
import itertools

import jax
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from genrec.semantic_ids.trie import Shapes, Trie, build_trie

SIZES = (3, 2, 4)
LARGEST = 25
"""The most items that a drawn catalogue has."""


def tuples(fewest=1):
    """Codes of few distinct values, so that many items share a tuple."""
    shape = st.tuples(st.integers(fewest, 60), st.just(len(SIZES)))
    return shape.flatmap(
        lambda s: hnp.arrays(np.int32, s, elements=st.integers(0, 3)).map(
            lambda codes: codes % np.array(SIZES, np.int32)
        )
    )


@functools.cache
def roomy_shapes(levels) -> Shapes:
    """Shapes with room for every drawn catalogue: in these, one program serves them all."""
    return build_trie(np.array([*itertools.product(range(7), repeat=levels)], np.int32)).shapes


@st.composite
def catalogues(draw):
    """Distinct code tuples, in no order, of 1 to 4 levels."""
    levels = draw(st.integers(1, 4))
    code = st.integers(0, draw(st.integers(1, 6)))
    rows = draw(st.sets(st.tuples(*[code] * levels), min_size=1, max_size=LARGEST))
    return np.array(draw(st.permutations(sorted(rows))), np.int32)


def device_trie(*args, **options) -> Trie:
    """The trie of `build_trie` with JAX's arrays."""
    return jax.device_put(build_trie(*args, **options))
