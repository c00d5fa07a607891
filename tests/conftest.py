"""Settings of every test: arrays are checked by shape and type, and nothing broadcasts by rank."""

import logging
import os

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")


def pytest_configure(config: pytest.Config) -> None:
    from jaxtyping import install_import_hook

    # Before any test imports genrec: signatures are checked at every call.
    install_import_hook("genrec", "beartype.beartype")

    import jax
    from hypothesis import settings

    jax.config.update("jax_numpy_rank_promotion", "raise")
    # Tests compile the same small programs again and again; workers share what was compiled.
    cache = config.cache.mkdir("jax")
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    # How long a test takes depends on what else the machine does; it is not what is tested.
    settings.register_profile("genrec", deadline=None)
    settings.load_profile("genrec")
    logging.getLogger("absl").setLevel(logging.CRITICAL)
