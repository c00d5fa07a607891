"""genrec: a generative sequential recommender in JAX."""
