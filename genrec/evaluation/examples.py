"""A few users of the test: what they had, then chose, and were recommended."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genrec.data import load_dataset
from genrec.decoding.lists import read_lists
from genrec.errors import UserError
from genrec.runs.folder import config_of, require


@dataclass(frozen=True)
class Example:
    """What one user of the test had, then chose, and was recommended.

    Attributes:
        recent: the titles of the last items of the history, the oldest first.
        history: how many items the whole of it has.
        target, target_id: what came next.
        titles, item_ids, scores: of the first recommendations, the best first.
        place: of the target in the whole list, from 1; None where it is not in it.
        width: how many items the whole list has.
    """

    user_id: str
    recent: list[str]
    history: int
    target: str
    target_id: str
    titles: list[str]
    item_ids: list[str]
    scores: list[float]
    place: int | None
    width: int


def draw_examples(folder: Path, *, seed: int, count: int, k: int, recent: int) -> list[Example]:
    """Users of an evaluated run, drawn at random by the seed, with their filtered recommendations.

    Args:
        count: how many users; all, if there are fewer.
        k: recommendations to show of each.
        recent: items of the history to show of each.
    """
    dataset = load_dataset(folder / "dataset")
    test = dataset.held_out("test")
    path = folder / "recommendations_filtered.parquet"
    lists = read_lists(path)
    titles, ids = dataset.titles, dataset.item_ids
    title_of = dict(zip(ids, titles, strict=True))
    if lists.num_rows != len(test.targets) or not title_of.keys() >= set(
        lists["item_id"].combine_chunks().flatten().unique().to_pylist()
    ):
        raise UserError(f"{path} is not of this run's users and items: run genrec evaluate again")
    generator = np.random.default_rng(seed)
    users = generator.choice(len(test.targets), min(count, len(test.targets)), replace=False)
    shown = []
    for user in users.tolist():
        row = lists.slice(user, 1).to_pylist()[0]
        item_ids, history = row["item_id"], test.histories[user]
        target = int(test.targets[user])
        shown.append(
            Example(
                user_id=row["user_id"],
                recent=[titles[item] for item in history[-recent:]],
                history=len(history),
                target=titles[target],
                target_id=ids[target],
                titles=[title_of[item_id] for item_id in item_ids[:k]],
                item_ids=item_ids[:k],
                scores=row["score"][:k],
                place=item_ids.index(ids[target]) + 1 if ids[target] in item_ids else None,
                width=len(item_ids),
            )
        )
    return shown


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
