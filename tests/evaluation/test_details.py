import io
import json

import numpy as np
from rich.console import Console

from genrec.evaluation import details_tables, evaluate, most_popular, ranking_details
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
