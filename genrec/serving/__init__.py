"""Recommending over HTTP, from a bundle: it needs neither the model's code nor Flax."""
