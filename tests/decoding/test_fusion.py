"""Fitted weights against SciPy's optimiser."""

import numpy as np
import scipy.optimize
from scipy.special import log_softmax

from genrec.decoding.fusion import Choices, fit_weights

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
        yield Choices(scores, np.pad(some, (0, fill), constant_values=-1))


def test_the_weights_are_those_of_another_optimiser():
    targets = drawn_targets()

    def loss(weights):
        log_p = log_softmax(np.einsum("fbn,f->bn", SCORES.astype(float), weights), axis=1)
        return -log_p[np.arange(len(targets)), targets].sum() + 0.05 * np.sum(weights**2)

    expected = scipy.optimize.minimize(loss, np.zeros(3)).x
    found = fit_weights(lambda: batches(targets), np.zeros(3))
    np.testing.assert_allclose(found, expected, atol=0.02)
    np.testing.assert_allclose(found, TRUE, atol=0.4)


def test_an_expert_that_is_always_right_gets_a_weight_that_ends():
    targets = RNG.integers(0, 9, 200)
    scores = np.eye(9, dtype=np.float32)[targets][None]
    found = fit_weights(lambda: iter([Choices(scores, targets)]), np.zeros(1))
    assert 4 < found[0] < 50


def test_a_step_that_makes_it_worse_is_halved():
    # From weights of 0 Newton's first step is far too long: one item in a thousand is right.
    scores = np.zeros((1, 50, 1000), np.float32)
    targets = np.arange(50)
    scores[0, np.arange(50), targets] = 1
    found = fit_weights(lambda: iter([Choices(scores, targets)]), np.zeros(1))
    chances = np.exp(log_softmax(found[0] * scores[0], axis=1))
    assert (chances[np.arange(50), targets] > 0.5).all()


def test_what_is_not_there_cannot_be_chosen():
    targets = drawn_targets()
    junk = np.concatenate([SCORES, np.full((3, 200, 2), 9.0, np.float32)], axis=2)
    there = np.arange(11)[None] < np.full((200, 1), 9)
    found = fit_weights(lambda: iter([Choices(junk, targets, there)]), np.zeros(3))
    expected = fit_weights(lambda: batches(targets), np.zeros(3))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_where_one_begins_does_not_matter():
    targets = drawn_targets()
    found = fit_weights(lambda: batches(targets), np.array([-5.0, 8.0, 1.0]))
    expected = fit_weights(lambda: batches(targets), np.zeros(3))
    np.testing.assert_allclose(found, expected, atol=1e-3)
