"""A few users of an evaluated run: what they had, then chose, and were recommended."""

from pathlib import Path

from genrec.errors import UserError
from genrec.evaluation.examples import Example, draw_examples
from genrec.pipeline import config_of, require


def examples(folder: Path, *, count: int = 3, k: int = 5, recent: int = 5) -> list[Example]:
    """A few users, drawn by the seed, with their filtered recommendations.

    Raises:
        UserError: the run has not been evaluated, or its lists are shorter than k.
    """
    config = config_of(folder)
    require(folder, config, "evaluate")
    if not 1 <= k <= config.decoding.beam:
        raise UserError(f"k is {k}, but the lists of {folder} have {config.decoding.beam} items")
    return draw_examples(folder, seed=config.seed, count=count, k=k, recent=recent)
