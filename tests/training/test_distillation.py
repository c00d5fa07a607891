import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from genrec.training.distillation import next_code_shares
from small_codes import device_trie

SIZES = [4, 3, 5]
shares_of = jax.jit(next_code_shares, static_argnums=3)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), count=st.sampled_from([1, 7, 60]))
def test_shares_are_sums_over_the_items_with_each_code_after_the_prefix(seed, count):
    rng = np.random.default_rng(seed)
    every = np.stack(np.meshgrid(*map(np.arange, SIZES), indexing="ij"), -1).reshape(-1, 3)
    codes = rng.permutation(every)[:count].astype(np.int32)
    trie = device_trie(codes)
    scores = rng.normal(0, 3, (2, 3, count)).astype(np.float32)
    targets = rng.integers(0, count, (2, 3)).astype(np.int32)
    item = np.asarray(trie.item)
    of_leaves = np.where(item >= 0, scores[..., np.maximum(item, 0)], -np.inf)
    leaves = np.asarray(trie.leaf)[targets]
    got = jax.device_get(shares_of(of_leaves, leaves, trie, len(SIZES)))
    p = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    for row, query in np.ndindex(2, 3):
        for level, size in enumerate(SIZES):
            prefix = codes[targets[row, query], :level]
            within = (codes[:, :level] == prefix).all(axis=1)
            mass = [p[row, query, within & (codes[:, level] == code)].sum() for code in range(size)]
            children, share = got[level]
            valid, spread = np.asarray(children.valid[row, query]), np.zeros(size)
            spread[children.code[row, query][valid]] = share[row, query][valid]
            assert np.allclose(spread, mass / np.sum(mass), atol=1e-3)
            assert not share[row, query][~valid].any()
