import numpy as np

from genrec.tokenizer import gain_of_refitting


def test_items_like_the_old_ones_bring_nothing_and_others_much():
    rng = np.random.default_rng(0)
    old, alike = rng.normal(size=(3000, 4)), rng.normal(size=(400, 4))
    others = rng.normal(size=(400, 4)) * 0.3 + np.array([4.0, -4, 0, 0])
    assert abs(gain_of_refitting(old, alike, (16, 8), seed=0)) < 0.05
    assert gain_of_refitting(old, others, (16, 8), seed=0) > 0.3
    mixed = np.concatenate([others[:200], alike[:200]])
    assert gain_of_refitting(old, mixed, (16, 8), seed=0) > 0.1


def test_nothing_to_gain_where_nothing_is_lost():
    same = np.ones((50, 3))
    assert gain_of_refitting(same, same[:10], (2, 2), seed=0) == 0
