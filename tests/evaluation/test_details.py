import io
import json

import numpy as np
import pytest
from rich.console import Console

from genrec.evaluation import (
    details_tables,
    evaluate,
    gains_over,
    most_popular,
    ranking_details,
)
from genrec.sequences.histories import Histories

ITEMS, K = 30, 15


def measured(categories):
    rng = np.random.default_rng(0)
    training = Histories.of([rng.integers(0, 25, 6).tolist() for _ in range(80)])
    targets = rng.integers(0, ITEMS, 80).astype(np.int32)  # some of items that training never saw
    result = evaluate(
        most_popular(training, ITEMS), training, targets, k=K, top_k=(1, 10), num_items=ITEMS
    )
    arguments = {"top_k": (1, 10), "vectors": rng.normal(size=(ITEMS, 4)), "seed": 0}
    entry = {
        protocol: ranking_details(
            ranking, training, targets, training, categories=categories, **arguments
        )
        for protocol, ranking in (("unfiltered", result.unfiltered), ("filtered", result.filtered))
    }
    return {"test": {**result.to_json(), "details": entry}}


def test_everything_is_plain_and_in_its_place():
    metrics = measured([f"c{n % 3}" for n in range(ITEMS)])
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    details = metrics["test"]["details"]["filtered"]
    assert set(details["beyond"]) == {
        f"{name}@10" for name in ("coverage", "gini", "novelty", "diversity", "miscalibration")
    }
    assert set(details["intervals"]) == set(metrics["test"]["filtered"])
    for name, (low, high) in details["intervals"].items():
        assert low <= metrics["test"]["filtered"][name] <= high
    assert details["segments"]["target"]["cold"]["recall@10"] < 0.3
    assert "miscalibration@10" not in measured(None)["test"]["details"]["filtered"]["beyond"]


def test_the_tables_fit_into_80_columns_and_name_the_split():
    console = Console(file=io.StringIO(), width=80)
    metrics = measured([f"c{n % 3}" for n in range(ITEMS)])
    for table in details_tables(metrics, "test"):
        console.print(table)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "filtered, test items" in text and "target cold" in text and "history length 6" in text
    low, high = metrics["test"]["details"]["filtered"]["intervals"]["recall@10"]
    assert f"[{low:.4f}, {high:.4f}]".replace("0.", ".") in text
    assert "inequality of exposure" in text


def ranked(places):
    """What was measured of lists that have each user's target at a place, or nowhere (None)."""

    def recommend(histories, k, *, exclude_history):
        items = np.tile(np.arange(1, k + 1, dtype=np.int32), (len(histories), 1))
        for row, place in enumerate(places):
            if place is not None:
                items[row, place] = 0
        return items, -np.broadcast_to(np.arange(k, dtype=np.float32), items.shape)

    histories = Histories.of([[29]] * len(places))
    targets = np.zeros(len(places), np.int32)
    return evaluate(recommend, histories, targets, k=K, top_k=(10,), num_items=ITEMS)


def test_a_gain_is_the_mean_of_what_users_gain_and_is_shown_with_its_interval():
    better, worse = ranked([0] * 30 + [None] * 30), ranked([1] * 30 + [None] * 30)
    gains = gains_over(better, worse)
    assert gains["filtered"]["recall@10"] == [0.0, 0.0, 0.0]
    mean, low, high = gains["filtered"]["ndcg@10"]
    assert mean == pytest.approx((1 - 1 / np.log2(3)) / 2)
    assert 0.1 < low < mean < high < 0.3
    metrics = measured(None) | {"baselines": {"a_rival": {"test": {}, "gain": gains}}}
    console = Console(file=io.StringIO(), width=80)
    for table in details_tables(metrics, "test"):
        console.print(table)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]" in shown and "a rival" in shown
