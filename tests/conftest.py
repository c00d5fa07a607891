"""Settings of every test: shapes and types of arrays are checked, and nothing broadcasts by rank."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from jaxtyping import install_import_hook

install_import_hook("genrec", "beartype.beartype")

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")

from hypothesis import settings

# Compiling takes seconds and depends on what else the machine does; time is not what is tested.
settings.register_profile("genrec", deadline=None)
settings.load_profile("genrec")
