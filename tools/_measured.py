"""A run of a config, trained and measured on validation and test users, each time it is not yet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import genrec
from genrec import assembly
from genrec.config import Config
from genrec.evaluation import evaluate
from genrec.files import read_json, write_json
from genrec.manifest import read_manifest

K = 10


def ways(config: Config) -> dict[str, float]:
    """How a model may rank: by name, the share of its dense head; last, by what is configured."""
    if not config.model.codes:
        return {"dense head": 1.0}
    share = config.decoding.dense_share
    whole = {0.0: "codes", 1.0: "dense head"}.get(share, "both")
    alone = {name.replace("_", " "): part for name, part in assembly.parts(config).items()}
    return {name: part for name, part in alone.items() if name != whole} | {whole: share}


def measure(config: Config, folder: Path) -> dict[str, Any]:
    """Trains a run, evaluates it, and measures it on the validation users too.

    Args:
        folder: of the run; its figures stand beside it, in `folder`.json.

    Returns:
        For "validation" and "test" the metrics by way; what is said of the codes; the seconds of
        the training. What is done already is not done again.
    """
    done = [outcome.skipped for outcome in genrec.run(config, folder)]
    path = folder.with_name(folder.name + ".json")
    if path.exists() and all(done):
        return read_json(path)
    items = assembly.items_of(folder)
    health = read_json(folder / "tokenizer" / "health.json")
    held_out = items.dataset.held_out("validation")
    recommend = assembly.best_recommender(config, folder, items, progress_name="validation")
    validation = {
        way: evaluate(
            recommend.ranked_by(share),
            held_out.histories,
            held_out.targets,
            k=config.decoding.beam,
            top_k=(K,),
            num_items=items.dataset.num_items,
        ).to_json()
        for way, share in ways(config).items()
    }
    metrics = read_json(folder / "metrics.json")
    alone = {name.replace("_", " "): entry["test"] for name, entry in metrics["alone"].items()}
    whole = list(ways(config))[-1]
    figures = {
        "distinct_share": health["distinct_share"],
        "relative_error": health["relative_error"],
        "seconds": read_manifest(folder)["train"]["seconds"],
        "decoding": read_json(folder / "decoding_cost.json"),
        "validation": validation,
        "test": alone | {whole: metrics["test"]},
    }
    del figures["test"][whole]["details"]
    write_json(path, figures)
    return figures


def measure_seeds(
    path: Path, seeds: Sequence[int], out: Path, settings: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The figures of a config for each seed; its runs are `out`/NAME-SEED."""
    return [
        {"seed": seed, **measure(config, out / f"{path.stem}-{seed}")}
        for seed in seeds
        for config in [genrec.load_config(path, f"seed={seed}", *settings)]
    ]


def spread(values: list[float], digits: int = 4) -> str:
    """Mean ± standard deviation; the value alone if there is one."""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"
