"""Runs beside each other: mean and spread over seeds, and whether a difference is more than chance.

Runs that differ in nothing but the seed are one recommender, trained several times. Every other
recommender is compared with the first one, user by user: the same users have the same test items.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genrec.config import Config
from genrec.data import load_dataset
from genrec.decoding import read_lists
from genrec.errors import UserError
from genrec.evaluation.bootstrap import Difference, paired_difference
from genrec.evaluation.metrics import label, per_user
from genrec.evaluation.protocol import ProtocolName
from genrec.runs.folder import config_of, require

METRICS = ("recall@10", "ndcg@10")


@dataclass(frozen=True)
class RecommenderResults:
    """What one recommender, trained with one or several seeds, reached on the test users.

    Attributes:
        name: of its first run's folder; the whole path where several are called the same.
        seeds: of its S runs.
        per_user: for each metric, float64 (S, U): the value of each run for each user.
    """

    name: str
    seeds: list[int]
    per_user: dict[str, np.ndarray]
    folders: tuple[Path, ...] = ()

    def mean(self, metric: str) -> float:
        return float(self.per_user[metric].mean())

    def spread(self, metric: str) -> float | None:
        """The standard deviation over the seeds; None for one."""
        means = self.per_user[metric].mean(axis=1)
        return float(means.std(ddof=1)) if len(means) > 1 else None


def load_recommenders(folders: Sequence[Path], protocol: ProtocolName) -> list[RecommenderResults]:
    """The runs, those of one recommender together, in the order in which they were named.

    Raises:
        UserError: a run is not evaluated, its lists are shorter than 10, or its test users and
            items are not those of the first.
    """
    first_test: tuple[np.ndarray, np.ndarray] | None = None
    groups: dict[Config, list[tuple[Path, int, dict[str, np.ndarray]]]] = {}
    for folder in folders:
        config = config_of(folder)
        require(folder, config, "evaluate")
        users, targets, metrics = _measured(folder, protocol)
        if first_test is None:
            first_test = users, targets
        elif not all(map(np.array_equal, first_test, (users, targets))):
            raise UserError(
                f"{folder} has other test users or items than {folders[0]}: runs can be compared "
                "on the same data only"
            )
        but_for_the_seed = dataclasses.replace(config, seed=0)
        groups.setdefault(but_for_the_seed, []).append((folder, config.seed, metrics))
    names = Counter(runs[0][0].resolve().name for runs in groups.values())
    recommenders = []
    for runs in groups.values():
        run_folders, seeds, metrics = zip(*runs, strict=True)
        name = run_folders[0].resolve().name
        recommenders.append(
            RecommenderResults(
                str(run_folders[0]) if names[name] > 1 else name,
                list(seeds),
                {metric: np.stack([values[metric] for values in metrics]) for metric in METRICS},
                run_folders,
            )
        )
    return recommenders


def difference(a: RecommenderResults, b: RecommenderResults, metric: str) -> Difference:
    """How far `b` is above `a` in a metric, each user's value being the mean over the seeds."""
    return paired_difference(a.per_user[metric].mean(axis=0), b.per_user[metric].mean(axis=0))


def verdict(a: RecommenderResults, b: RecommenderResults, metric: str, gap: Difference) -> str:
    """The difference in one line."""
    name = label(metric)
    interval = f"{gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}], p {gap.p:.3f}"
    if not gap.significant:
        return f"{b.name} and {a.name} cannot be told apart by {name}: {interval}"
    how = "better" if gap.mean > 0 else "worse"
    line = f"{b.name} is {how} than {a.name} by {name}: {interval}"
    spread = max(a.spread(metric) or 0.0, b.spread(metric) or 0.0)
    if len(a.seeds) == len(b.seeds) == 1:
        return f"{line}; of one seed each, so another might say otherwise"
    return f"{line}; less than seeds differ ({spread:.4f})" if abs(gap.mean) < spread else line


def to_json(recommenders: Sequence[RecommenderResults], protocol: ProtocolName) -> dict[str, Any]:
    """All figures, as plain numbers."""
    first, *others = recommenders
    means = {
        recommender.name: {"seeds": recommender.seeds}
        | {
            metric: {"mean": recommender.mean(metric), "std": recommender.spread(metric)}
            for metric in METRICS
        }
        for recommender in recommenders
    }
    differences = {
        other.name: {name: dataclasses.asdict(difference(first, other, name)) for name in METRICS}
        for other in others
    }
    return {
        "split": "test",
        "protocol": protocol,
        "recommenders": means,
        f"differences from {first.name}": differences,
    }


def plot(recommenders: Sequence[RecommenderResults], protocol: ProtocolName, file: Path) -> None:
    """Draws means, and those of every seed, to an image file.

    Raises:
        UserError: matplotlib is not installed, or knows no such kind of file.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("--plot needs matplotlib: pip install 'genrec[plots]'") from None
    figure = Figure(figsize=(4 * len(METRICS), 0.6 + 0.4 * len(recommenders)), layout="tight")
    names = [recommender.name for recommender in recommenders]
    for axes, metric in zip(figure.subplots(1, len(METRICS), sharey=True), METRICS, strict=True):
        means = [recommender.mean(metric) for recommender in recommenders]
        axes.barh(names, means, color="#9ecae1")
        for recommender in recommenders:
            by_seed = recommender.per_user[metric].mean(axis=1)
            axes.plot(
                by_seed, [recommender.name] * len(by_seed), "o", color="#08519c", markersize=4
            )
        axes.set_xlabel(f"{metric}, {protocol}, test")
    figure.axes[0].invert_yaxis()
    try:
        figure.savefig(file)
    except ValueError as error:
        raise UserError(f"{file} cannot be drawn: {str(error).splitlines()[0]}") from error


def _measured(
    folder: Path, protocol: ProtocolName
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """The ids of a run's U test users and of their test items, and each metric of each user.

    Raises:
        UserError: the lists are not of these users, or are shorter than 10.
    """
    dataset = load_dataset(folder / "dataset")
    test = dataset.held_out("test")
    targets = np.array(dataset.item_ids, object)[test.targets]
    suffix = "_filtered" if protocol == "filtered" else ""
    lists = read_lists(folder / f"recommendations{suffix}.parquet")
    users = lists["user_id"].to_numpy()
    if not np.array_equal(users, dataset.user_ids[test.users]):
        raise UserError(f"the lists of {folder} are not of its test users: evaluate it again")
    rows = lists["item_id"].combine_chunks()
    lengths = rows.value_lengths().to_numpy()
    width = int(lengths.max())
    if width < 10:
        raise UserError(f"the lists of {folder} have {width} items: raise decoding.beam to 10")
    owner = np.repeat(np.arange(len(users)), lengths)
    rank = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    hits = rows.flatten().to_numpy(zero_copy_only=False) == targets[owner]
    ranks = np.full(len(users), width)
    ranks[owner[hits]] = rank[hits]
    return users, targets, per_user(ranks, (10,), width)
