"""A catalogue of a single item goes through every stage, and into a bundle that takes another."""

import csv
import json

import numpy as np

import genrec
from genrec.bundle import add_items
from genrec.export import export_bundle
from small_run import SETTINGS

MORE = (
    *("data.k_core=1", "tokenizer.cooccurrence=1.0", "tokenizer.steps=20", "training.epochs=1"),
    *("model.content=true", "model.item_head=true", "model.look_ahead=true", "model.repeats=true"),
    *("training.distillation=0.5", "decoding.dense_share=0.5"),
)


def finite(found):
    """Whether all numbers of a tree are; JSON has null for those that are not."""
    if isinstance(found, dict | list):
        return all(finite(each) for each in (found.values() if isinstance(found, dict) else found))
    return found is not None and (not isinstance(found, float) or np.isfinite(found))


def test_a_single_item(tmp_path):
    tables = {
        "items": [("item_id", "title", "genre"), ("i0", "The only one", "none")],
        "log": [
            ("user_id", "item_id", "timestamp"),
            *((f"u{user}", "i0", time) for user in range(20) for time in range(4)),
        ],
    }
    for name, rows in tables.items():
        with (tmp_path / f"{name}.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows(rows)
    (tmp_path / "one.yaml").write_text(SETTINGS)
    paths = (f"data.interactions={tmp_path / 'log.csv'}", f"data.items={tmp_path / 'items.csv'}")
    config = genrec.load_config(tmp_path / "one.yaml", *paths, *MORE)
    genrec.run(config, tmp_path / "run")

    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]
    assert metrics["unfiltered"]["recall@1"] == 1.0  # there is nothing else
    assert metrics["filtered"]["recall@1"] == 0.0  # everybody has had it
    assert finite(metrics)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert all(finite(json.loads(line)) for line in lines)

    run = genrec.load_run(tmp_path / "run")
    ids, scores = run.recommend([[], ["i0"]], k=3, exclude_history=False)
    assert ids == [["i0"], ["i0"]]
    assert finite(scores)
    export_bundle(run, tmp_path / "bundle")
    bundle = genrec.load_bundle(tmp_path / "bundle")
    assert bundle.recommend([["i0"]], k=3, exclude_history=False)[0] == [["i0"]]
    vectors = np.ones((1, run.items.content.shape[1]), np.float32)
    add_items(tmp_path / "bundle", ["i1"], ["Another"], vectors)
    ids, scores = genrec.load_bundle(tmp_path / "bundle").recommend([["i0"]], k=3)
    assert ids == [["i1"]]
    assert finite(scores)
