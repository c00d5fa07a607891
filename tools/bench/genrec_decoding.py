"""A side of bench_decoding.py: genrec's recommender, by either recipe."""

import time
from collections.abc import Callable

import numpy as np

from bench.decoding_work import DecodingTask, Model, calls, outline, with_weights
from bench.training_work import timed
from bench.turns import Answer, Measure, serve
from genrec.config import DecodingConfig
from genrec.config.parsing import load_config
from genrec.decoding import Recommender, SearchOptions
from genrec.sequences.histories import Histories

Recommend = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def prepare(settings: Answer) -> tuple[Answer, Measure]:
    """Gets ready to recommend with every beam and batch."""
    task = DecodingTask.load(settings["task"])
    with np.load(settings["weights"]) as weights:
        model = with_weights(outline(load_config(settings["config"]), task), weights)
    ready: dict[tuple[int, int], Recommend] = {}
    start = time.perf_counter()
    for beam in settings["beams"]:
        for batch in settings["batches"]:
            ready[beam, batch] = recommender(model, beam, batch, settings["normalise"])
            ready[beam, batch](next(task.batches(batch)))  # compiles

    def measure(request: Answer) -> Answer:
        beam, batch = request["beam"], request["batch"]
        if "users" in request:
            items, scores = ready[beam, batch](task.histories[: request["users"]])
            return {"items": items.tolist(), "scores": scores.tolist()}
        return timed(calls(task, batch, ready[beam, batch]), lambda: None, request["seconds"])

    return {"compile_seconds": time.perf_counter() - start}, measure


def recommender(model: Model, beam: int, batch: int, normalise: str) -> Recommend:
    """What a user of the library calls, from arrays of histories on."""
    options = SearchOptions(
        beam=beam,
        batch_size=min(batch, DecodingConfig().batch_size),  # so many are searched at once
        normalise="allowed" if normalise == "allowed" else "codes",
    )
    recommend = Recommender(
        model.graph,
        model.params,
        model.catalogue,
        max_history=model.config.model.max_history,
        options=options,
    )
    return lambda histories: recommend(Histories.of(histories), beam, exclude_history=False)


if __name__ == "__main__":
    serve(prepare)
