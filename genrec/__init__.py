"""genrec: a generative sequential recommender in JAX.

config = genrec.load_config("configs/quickstart.yaml")
genrec.run(config, "runs/quickstart")
run = genrec.load_run("runs/quickstart")
ids, scores = run.recommend([["Star Wars (1977)", "Toy Story (1995)"]], k=10)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genrec.bundle import load_bundle
    from genrec.config import Config
    from genrec.errors import UserError
    from genrec.pipeline import run, run_stage
    from genrec.recommend import load_run
    from genrec.settings import load_config

__all__ = ["Config", "UserError", "load_bundle", "load_config", "load_run", "run", "run_stage"]

_HOME = {
    "Config": "genrec.config",
    "UserError": "genrec.errors",
    "load_bundle": "genrec.bundle",
    "load_config": "genrec.settings",
    "load_run": "genrec.recommend",
    "run": "genrec.pipeline",
    "run_stage": "genrec.pipeline",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that `import genrec` stays instant."""
    import importlib

    if name not in _HOME:
        raise AttributeError(f"module 'genrec' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
