"""genrec: a generative sequential recommender in JAX.

config = genrec.load_config("configs/quickstart.yaml")
genrec.run(config, "runs/quickstart")
run = genrec.load_run("runs/quickstart")
ids, scores = run.recommend([["Star Wars (1977)", "Toy Story (1995)"]], k=10)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genrec.bundle import load_bundle as load_bundle
    from genrec.config import Config as Config
    from genrec.config.parsing import load_config as load_config
    from genrec.data import load_dataset as load_dataset
    from genrec.errors import UserError as UserError
    from genrec.evaluation import results_table as results_table
    from genrec.export import export_bundle as export_bundle
    from genrec.pipeline import run as run
    from genrec.pipeline import run_stage as run_stage
    from genrec.runs.catalog_updates import append_items as append_items
    from genrec.runs.catalog_updates import remove_items as remove_items
    from genrec.runs.catalog_updates import show_branches as show_branches
    from genrec.runs.loaded import load_run as load_run

_HOME = {
    "Config": "genrec.config",
    "UserError": "genrec.errors",
    "append_items": "genrec.runs.catalog_updates",
    "export_bundle": "genrec.export",
    "load_bundle": "genrec.bundle",
    "load_config": "genrec.config.parsing",
    "load_dataset": "genrec.data",
    "load_run": "genrec.runs.loaded",
    "remove_items": "genrec.runs.catalog_updates",
    "results_table": "genrec.evaluation",
    "run": "genrec.pipeline",
    "run_stage": "genrec.pipeline",
    "show_branches": "genrec.runs.catalog_updates",
}
__all__ = [*_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that `import genrec` stays instant."""
    import importlib

    if name not in _HOME:
        raise AttributeError(f"module 'genrec' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
