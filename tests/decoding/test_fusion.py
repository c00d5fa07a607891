"""Fitted weights against SciPy's optimiser."""

import numpy as np
import scipy.optimize
from scipy.special import log_softmax

from genrec.decoding.fusion import fit_weights

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(3, 200, 9)).astype(np.float32)
TRUE = np.array([2.0, -1.0, 0.0])


def drawn_targets():
    """Items drawn from the distribution that the weights `TRUE` give."""
    noise = RNG.gumbel(size=SCORES.shape[1:])
    return (np.einsum("fbn,f->bn", SCORES, TRUE) + noise).argmax(axis=1)


def batches(targets, *, size=64):
    for first in range(0, len(targets), size):
        some = targets[first : first + size]
        fill = size - len(some)
        scores = np.pad(SCORES[:, first : first + size], [(0, 0), (0, fill), (0, 0)])
        yield scores, np.pad(some, (0, fill), constant_values=-1)


def test_the_weights_are_those_of_another_optimiser():
    targets = drawn_targets()

    def loss(weights):
        log_p = log_softmax(np.einsum("fbn,f->bn", SCORES.astype(float), weights), axis=1)
        return -log_p[np.arange(len(targets)), targets].sum() + 0.005 * np.sum(weights**2)

    expected = scipy.optimize.minimize(loss, np.zeros(3)).x
    found = fit_weights(lambda: batches(targets), 3)
    np.testing.assert_allclose(found, expected, atol=0.02)
    np.testing.assert_allclose(found, TRUE, atol=0.4)


def test_an_expert_that_is_always_right_gets_a_weight_that_ends():
    targets = RNG.integers(0, 9, 200)
    scores = np.eye(9, dtype=np.float32)[targets][None]
    found = fit_weights(lambda: iter([(scores, targets)]), 1)
    assert 5 < found[0] < 50


def test_a_step_that_makes_it_worse_is_halved():
    # From weights of 0 Newton's first step is far too long: one item in a thousand is right.
    scores = np.zeros((1, 50, 1000), np.float32)
    targets = np.arange(50)
    scores[0, np.arange(50), targets] = 1
    found = fit_weights(lambda: iter([(scores, targets)]), 1)
    chances = np.exp(log_softmax(found[0] * scores[0], axis=1))
    assert (chances[np.arange(50), targets] > 0.5).all()
