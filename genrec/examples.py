"""A few users of an evaluated run: what they had, then chose, and were recommended."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from genrec.data import load_dataset
from genrec.errors import UserError
from genrec.pipeline import config_of, require


@dataclass(frozen=True)
class Example:
    """What one user of the test had, then chose, and was recommended."""

    user_id: str
    recent: list[str]
    target: str
    titles: list[str]
    item_ids: list[str]
    scores: list[float]


def examples(folder: Path, *, count: int = 3, k: int = 5, recent: int = 5) -> list[Example]:
    """A few users, drawn by the seed, with their filtered recommendations.

    Raises:
        UserError: the run has not been evaluated, or its lists are shorter than k.
    """
    config = config_of(folder)
    require(folder, config, "evaluate")
    if not 1 <= k <= config.decoding.beam:
        raise UserError(f"k is {k}, but the lists of {folder} have {config.decoding.beam} items")
    dataset = load_dataset(folder / "dataset")
    test = dataset.held_out("test")
    lists = pq.read_table(folder / "recommendations_filtered.parquet")
    titles = dataset.titles
    title_of = dict(zip(dataset.item_ids, titles, strict=True))
    generator = np.random.default_rng(config.seed)
    users = generator.choice(len(test.targets), min(count, len(test.targets)), replace=False)
    shown = []
    for user in users.tolist():
        row = lists.slice(user, 1).to_pylist()[0]
        item_ids = row["item_id"][:k]
        shown.append(
            Example(
                user_id=row["user_id"],
                recent=[titles[item] for item in test.histories[user][-recent:]],
                target=titles[test.targets[user]],
                titles=[title_of[item_id] for item_id in item_ids],
                item_ids=item_ids,
                scores=row["score"][:k],
            )
        )
    return shown
