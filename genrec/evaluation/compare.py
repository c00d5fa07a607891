"""Runs beside each other: mean and spread over seeds, and whether a difference is more than chance.

Runs that differ in nothing but the seed are one recommender, trained several times. Every other
recommender is compared with the first one, user by user: the same users have the same test items.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from genrec.config import Config
from genrec.data import load_dataset
from genrec.decoding import read_lists
from genrec.errors import UserError
from genrec.evaluation import per_user
from genrec.runs.folder import config_of, require

METRICS = ("recall@10", "ndcg@10")
_SAMPLES = 2000
_AT_ONCE = 100

Protocol = Literal["unfiltered", "filtered"]


@dataclass(frozen=True)
class Compared:
    """One recommender, trained with one or several seeds.

    Attributes:
        name: of its first run's folder; the whole path where several are called the same.
        seeds: of its runs.
        figures: for each metric, float64 (S, U): what each run has for each user.
        folders: of its runs.
    """

    name: str
    seeds: list[int]
    figures: dict[str, np.ndarray]
    folders: tuple[Path, ...] = ()

    def mean(self, metric: str) -> float:
        return float(self.figures[metric].mean())

    def spread(self, metric: str) -> float | None:
        """The standard deviation over the seeds; None for one."""
        means = self.figures[metric].mean(axis=1)
        return float(means.std(ddof=1)) if len(means) > 1 else None


@dataclass(frozen=True)
class Difference:
    """How far one recommender is above another in a metric, by a paired bootstrap over users.

    Attributes:
        mean: of all users, and of all seeds of either.
        low, high: what 95 % of the samples lie between.
        p: the two-sided probability of a difference as large where there is none.
    """

    mean: float
    low: float
    high: float
    p: float

    @property
    def told(self) -> bool:
        """Whether it is more than chance, at 95 %."""
        return self.low > 0 or self.high < 0


def load_recommenders(folders: Sequence[Path], protocol: Protocol) -> list[Compared]:
    """The runs, those of one recommender together, in the order in which they were named.

    Raises:
        UserError: a run is not evaluated, its lists are shorter than 10, or its test users and
            items are not those of the first.
    """
    known: tuple[np.ndarray, np.ndarray] | None = None
    groups: dict[Config, list[tuple[Path, int, dict[str, np.ndarray]]]] = {}
    for folder in folders:
        config = config_of(folder)
        require(folder, config, "evaluate")
        users, targets, figures = _figures(folder, protocol)
        if known is None:
            known = users, targets
        elif not all(map(np.array_equal, known, (users, targets))):
            raise UserError(
                f"{folder} has other test users or items than {folders[0]}: runs can be compared "
                "on the same data only"
            )
        same = dataclasses.replace(config, seed=0)
        groups.setdefault(same, []).append((folder, config.seed, figures))
    names = Counter(runs[0][0].resolve().name for runs in groups.values())
    return [
        Compared(
            str(first) if names[first.resolve().name] > 1 else first.resolve().name,
            [seed for _, seed, _ in runs],
            {name: np.stack([figures[name] for _, _, figures in runs]) for name in METRICS},
            tuple(folder for folder, _, _ in runs),
        )
        for runs in groups.values()
        for first in [runs[0][0]]
    ]


def difference(a: Compared, b: Compared, metric: str, *, seed: int = 0) -> Difference:
    """How far `b` is above `a`: users are drawn again, and with each what both have for them.

    (Efron and Tibshirani 1993, chapter 16; Sakai 2006 for rankings.)
    """
    each = b.figures[metric].mean(axis=0) - a.figures[metric].mean(axis=0)
    rng = np.random.default_rng(seed)
    means = np.concatenate(
        [
            each[rng.integers(0, len(each), (_AT_ONCE, len(each)))].mean(axis=1)
            for _ in range(_SAMPLES // _AT_ONCE)
        ]
    )
    low, high = np.quantile(means, [0.025, 0.975])
    p = min(1.0, 2 * min((means <= 0).mean(), (means >= 0).mean()))
    return Difference(float(each.mean()), float(low), float(high), float(p))


def verdict(a: Compared, b: Compared, metric: str, found: Difference) -> str:
    """The difference in one line."""
    kind, k = metric.split("@")
    name = {"recall": "Recall", "ndcg": "NDCG"}[kind]
    between = f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}], p {found.p:.3f}"
    if not found.told:
        return f"{b.name} and {a.name} cannot be told apart by {name}@{k}: {between}"
    how = "better" if found.mean > 0 else "worse"
    line = f"{b.name} is {how} than {a.name} by {name}@{k}: {between}"
    spread = max(a.spread(metric) or 0.0, b.spread(metric) or 0.0)
    if len(a.seeds) == len(b.seeds) == 1:
        return f"{line}; of one seed each, so another might say otherwise"
    return f"{line}; less than seeds differ ({spread:.4f})" if abs(found.mean) < spread else line


def to_json(recommenders: Sequence[Compared], protocol: Protocol) -> dict[str, Any]:
    """All figures, as plain numbers."""
    first, *others = recommenders
    return {
        "split": "test",
        "protocol": protocol,
        "recommenders": {
            each.name: {
                "seeds": each.seeds,
                **{
                    metric: {"mean": each.mean(metric), "std": each.spread(metric)}
                    for metric in METRICS
                },
            }
            for each in recommenders
        },
        f"differences from {first.name}": {
            each.name: {m: dataclasses.asdict(difference(first, each, m)) for m in METRICS}
            for each in others
        },
    }


def plot(recommenders: Sequence[Compared], protocol: Protocol, file: Path) -> None:
    """Draws means, and those of every seed, to an image file.

    Raises:
        UserError: matplotlib is not installed, or knows no such kind of file.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("--plot needs matplotlib: pip install 'genrec[plots]'") from None
    figure = Figure(figsize=(4 * len(METRICS), 0.6 + 0.4 * len(recommenders)), layout="tight")
    for axes, metric in zip(figure.subplots(1, len(METRICS), sharey=True), METRICS, strict=True):
        names = [each.name for each in recommenders]
        axes.barh(names, [each.mean(metric) for each in recommenders], color="#9ecae1")
        for each in recommenders:
            seeds = each.figures[metric].mean(axis=1)
            axes.plot(seeds, [each.name] * len(seeds), "o", color="#08519c", markersize=4)
        axes.set_xlabel(f"{metric}, {protocol}, test")
    figure.axes[0].invert_yaxis()
    try:
        figure.savefig(file)
    except ValueError as error:
        raise UserError(f"{file} cannot be drawn: {str(error).splitlines()[0]}") from error


def _figures(
    folder: Path, protocol: Protocol
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """User ids, ids of their test items, and what each user has in each metric."""
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
    place = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    hit = rows.flatten().to_numpy(zero_copy_only=False) == targets[owner]
    ranks = np.full(len(users), width)
    ranks[owner[hit]] = place[hit]
    return users, targets, per_user(ranks, (10,), width)
