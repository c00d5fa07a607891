"""A run of a config, trained and measured on validation and test users, each time it is not yet."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

import genrec
from genrec import assembly
from genrec.config import Config
from genrec.evaluation import evaluate
from genrec.files import read_json, write_json
from genrec.manifest import read_manifest

K = 10


def measure(config: Config, folder: Path, ways: Mapping[str, float]) -> dict[str, Any]:
    """Trains a run and measures it, unless that was done already.

    Args:
        folder: of the run; its figures stand beside it, in `folder`.json.
        ways: by name, the dense head's share of the score.

    Returns:
        For "validation" and "test" the metrics by way; what is said of the codes; the seconds of
        the training.
    """
    done = [genrec.run_stage(s, config, folder) for s in ("prepare", "embed", "tokenize", "train")]
    path = folder.with_name(folder.name + ".json")
    if path.exists() and all(outcome.skipped for outcome in done):
        found = read_json(path)
        if set(ways) <= set(found["test"]):
            return found
    items = assembly.items_of(folder)
    health = read_json(folder / "tokenizer" / "health.json")
    figures: dict[str, Any] = {
        "distinct_share": health["distinct_share"],
        "relative_error": health["relative_error"],
        "seconds": read_manifest(folder)["train"]["seconds"],
        "validation": {},
        "test": {},
    }
    for way, share in ways.items():
        recommend = at_share(config, folder, items, share, progress_name=way)
        splits: tuple[Literal["validation", "test"], ...] = ("validation", "test")
        for split in splits:
            held_out = items.dataset.held_out(split)
            measured = evaluate(
                recommend,
                held_out.histories,
                held_out.targets,
                k=config.decoding.beam,
                top_k=(K,),
                num_items=items.dataset.num_items,
            )
            figures[split][way] = measured.to_json()
    write_json(path, figures)
    return figures


def at_share(config: Config, folder: Path, items: assembly.Items, share: float, **how: Any):
    """The run's best checkpoint, with another share of the dense head in the score."""
    decoding = dataclasses.replace(config.decoding, dense_share=share)
    settings = dataclasses.replace(config, decoding=decoding)
    return assembly.best_recommender(settings, folder, items, **how)


def spread(values: list[float], digits: int = 4) -> str:
    """Mean ± standard deviation; the value alone if there is one."""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"
