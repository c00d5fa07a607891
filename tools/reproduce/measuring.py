"""Runs of configs, trained and measured on validation and test users; what is done is kept."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import genrec
from genrec.config import Config
from genrec.errors import UserError
from genrec.evaluation import evaluate_parts
from genrec.runs.items import load_items
from genrec.runs.manifest import read_manifest
from genrec.runs.model import decoding_options, load_recommender
from genrec.storage.files import read_json, write_json

K = 10


def whole_is(config: Config) -> str:
    """What a run ranks by as it is configured: "experts", "codes", "dense head" or "both"."""
    share = config.decoding.dense_share
    if share is None and config.experts.users:
        return "experts"
    share = decoding_options(config).dense_share
    return {0.0: "codes", 1.0: "dense head"}.get(share, "both")


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
    items = load_items(folder)
    health = read_json(folder / "tokenizer" / "health.json")
    held_out = items.dataset.held_out("validation")
    recommend = load_recommender(config, folder, items, progress_name="validation")
    measured = evaluate_parts(
        recommend.in_parts,
        held_out.histories,
        held_out.targets,
        k=config.decoding.beam,
        top_k=(K,),
        num_items=items.dataset.num_items,
    )
    metrics = read_json(folder / "metrics.json")
    test = {"whole": metrics["test"]}
    test |= {name: entry["test"] for name, entry in metrics["alone"].items()}
    del test["whole"]["details"]

    def named(figures: dict[str, Any]) -> dict[str, Any]:
        """By ways, what is configured last."""
        *others, whole = [*sorted(figures.keys() - {"whole"}), "whole"]
        names = {name: name.replace("_", " ") for name in others} | {whole: whole_is(config)}
        return {called: figures[name] for name, called in names.items()}

    figures = {
        "distinct_share": health["distinct_share"],
        "relative_error": health["relative_error"],
        "seconds": read_manifest(folder)["train"]["seconds"],
        "decoding": read_json(folder / "decoding_cost.json"),
        "validation": named({name: part.to_json() for name, part in measured.items()}),
        "test": named(test),
    }
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


def run_command(main: Callable[[], None]) -> None:
    """Runs a command's `main`; a mistake of the user ends it in one line."""
    try:
        main()
    except UserError as error:
        raise SystemExit(f"{Path(sys.argv[0]).stem}: {error}") from error
