"""Codes as a tokenizer might give them, for property tests."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

SIZES = (3, 2, 4)


def tuples(fewest=1):
    """Codes of few distinct values, so that many items share a tuple."""
    shape = st.tuples(st.integers(fewest, 60), st.just(len(SIZES)))
    return shape.flatmap(
        lambda s: hnp.arrays(np.int32, s, elements=st.integers(0, 3)).map(
            lambda codes: codes % np.array(SIZES, np.int32)
        )
    )
