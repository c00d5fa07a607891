"""A few test users of a run: their history, the item that they chose next, and their list."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genrec.data import load_dataset
from genrec.decoding.lists import read_lists
from genrec.errors import UserError


@dataclass(frozen=True)
class Example:
    """One test user.

    Attributes:
        recent: the titles of the last items of the history, the oldest first.
        history: how many items the whole history has.
        target, target_id: title and id of the item held out, which the user chose next.
        titles, item_ids, scores: of the first recommendations, the best first.
        rank: rank of the target in the whole list, from 1; None where it is not in it.
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
    rank: int | None
    width: int


def draw_examples(
    run: Path, *, seed: int, count: int = 3, k: int = 5, recent: int = 5
) -> list[Example]:
    """Users of an evaluated run, drawn at random, with their filtered recommendations.

    Args:
        count: how many users; all, if there are fewer.
        k: recommendations to show of each; all, if there are fewer.
        recent: items of the history to show of each.

    Raises:
        UserError: files are missing or unreadable, or the lists are not of this run's users and
            items.
    """
    dataset = load_dataset(run / "dataset")
    test = dataset.held_out("test")
    path = run / "recommendations_filtered.parquet"
    lists = read_lists(path)
    titles, ids = dataset.titles, dataset.item_ids
    title_of = dict(zip(ids, titles, strict=True))
    listed_ids = lists["item_id"].combine_chunks().flatten().unique().to_pylist()
    if lists.num_rows != len(test.targets) or not title_of.keys() >= set(listed_ids):
        raise UserError(f"{path} is not of this run's users and items: run genrec evaluate again")
    generator = np.random.default_rng(seed)
    users = generator.choice(len(test.targets), min(count, len(test.targets)), replace=False)
    examples = []
    for user in users.tolist():
        row = lists.slice(user, 1).to_pylist()[0]
        item_ids, history = row["item_id"], test.histories[user]
        target = int(test.targets[user])
        examples.append(
            Example(
                user_id=row["user_id"],
                recent=[titles[item] for item in history[-recent:]],
                history=len(history),
                target=titles[target],
                target_id=ids[target],
                titles=[title_of[item_id] for item_id in item_ids[:k]],
                item_ids=item_ids[:k],
                scores=row["score"][:k],
                rank=item_ids.index(ids[target]) + 1 if ids[target] in item_ids else None,
                width=len(item_ids),
            )
        )
    return examples
