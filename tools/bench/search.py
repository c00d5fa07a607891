"""A side of bench_decoding.py: what the constraint costs, with a model and without one.

Ways to search the same thing are called in turns within this process, so that whatever disturbs one
of them disturbs the others as well.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from bench.decoding_work import DecodingTask, outline, random_weights, with_weights
from bench.machine import other_seconds
from bench.static_paper import build_matrix, static_search
from bench.turns import Answer, Measure, serve
from genrec.config.parsing import load_config
from genrec.decoding import Filters, beam_search, unconstrained_beam_search
from genrec.model import Encoded, EncoderDecoder
from genrec.semantic_ids.trie import Trie, build_trie
from genrec.sequences.inputs import Inputs

LEVELS, SIZE = 4, 256
UNUSED = 8
"""Places for filtered items that the recommender gives the search when there are none."""

Ways = dict[str, Callable[[], Any]]
"""By name, something to be timed that returns arrays."""


class FixedLogits:
    """Stands in for a model: a place among the beams has the same logits whatever was chosen."""

    def __init__(self, logits: list[jax.Array]):
        self.codes = self._logits = logits

    def remember(self, states: jax.Array) -> list:
        return []

    def decode_level(self, level: int, previous, start, past, memory, mask, candidates) -> tuple:
        return self._logits[level][:, : mask.shape[1]], []


def prepare(settings: Answer) -> tuple[Answer, Measure]:
    """Gets ready to compare ways to search, each case being one of "constraint" or "search"."""
    check_small_catalogues()
    batch, beam = settings["batch"], settings["beam"]
    task = DecodingTask.load(settings["task"])
    cases: dict[str, Ways] = {}
    tries: dict[str, Answer] = {}
    for count in sorted({*settings["constraint"], *settings["search"]}):
        codes = random_codes(count)
        trie, tries[f"{count:,} random items"] = timed_trie(codes)
        if count in settings["constraint"]:
            own, its_trie = DecodingTask(codes, np.full(LEVELS, SIZE), task.histories), trie
            if count == len(task.codes):
                own, (its_trie, tries[f"the {count:,} items"]) = task, timed_trie(task.codes)
            for name, config in settings["configs"].items():
                ways = with_and_without(config, own, its_trie, batch, beam)
                cases[f"constraint/{name}/{count}"] = ways
        if count in settings["search"]:
            cases[f"search/{count}"], size = searches(trie, codes, batch, beam)
            tries[f"{count:,} random items"]["matrix_bytes"] = size
    for ways in cases.values():
        for call in ways.values():
            jax.block_until_ready(call())  # compiles

    def measure(request: Answer) -> Answer:
        return alternate(cases[request["case"]], request["seconds"])

    return {"tries": tries, "cases": {name: list(ways) for name, ways in cases.items()}}, measure


def alternate(ways: Ways, seconds: float) -> Answer:
    """Calls them in turns for so many seconds: the seconds that each takes, and how many times as
    long as the first one's call just before it. Both are medians."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for call in ways.values():
        jax.block_until_ready(call())
    before, start = other_seconds(), time.perf_counter()
    while time.perf_counter() - start < seconds:
        for name, call in ways.items():
            begin = time.perf_counter()
            jax.block_until_ready(call())
            taken[name].append(time.perf_counter() - begin)
    elapsed = time.perf_counter() - start
    others = (other_seconds() - before) / elapsed
    first = np.array(next(iter(taken.values())))
    return {
        "others": others,
        "calls": len(first),
        "seconds": {name: float(np.median(each)) for name, each in taken.items()},
        "ratios": {name: float(np.median(each / first)) for name, each in taken.items()},
    }


def random_codes(count: int) -> np.ndarray:
    """int32 (count, LEVELS) distinct tuples."""
    generator = np.random.default_rng(0)
    number = np.sort(generator.integers(0, SIZE**LEVELS, count + count // 8, np.uint32))
    number = generator.permutation(number[np.flatnonzero(np.diff(number))])
    # The four bytes of a number are its digits in base 256.
    return number[:count].view(np.uint8).reshape(count, LEVELS).astype(np.int32)


def timed_trie(codes: np.ndarray) -> tuple[Trie, Answer]:
    start = time.perf_counter()
    trie = jax.block_until_ready(jax.device_put(build_trie(codes)))
    facts = {"build_seconds": time.perf_counter() - start, "trie_bytes": bytes_of(trie)}
    return trie, facts | {"items": len(codes)}


def bytes_of(tree: Any) -> int:
    return sum(x.nbytes for x in jax.tree.leaves(tree))


def no_filters(batch: int) -> Filters:
    return Filters(np.full((batch, UNUSED), -1, np.int32), np.zeros(batch, bool))


def with_and_without(config: str, task: DecodingTask, trie: Trie, batch: int, beam: int) -> Ways:
    """A model's search for items and the one for any tuples, after the same encoded histories."""
    # What is encoded matters to no one, and an embedding of every item takes memory.
    few = dataclasses.replace(task, codes=task.codes[: 1 + task.histories.max()])
    settings = load_config(config)
    # A model that looks ahead sees real items only, so it has no search for any tuples.
    blind = dataclasses.replace(settings.model, look_ahead=False)
    model = outline(dataclasses.replace(settings, model=blind), few)
    model = with_weights(model, random_weights(model, seed=0))
    histories = next(task.batches(batch))
    read = Inputs(histories, np.zeros_like(histories))

    @jax.jit
    def encode(params: Any) -> Encoded:
        merged = nnx.merge(model.graph, params)
        return merged.encode(read, model.catalogue, every_position=False)

    @jax.jit
    def constrained(params: Any, trie: Trie, encoded: Encoded, filters: Filters):
        return beam_search(nnx.merge(model.graph, params), trie, encoded, filters, beam=beam)

    @jax.jit
    def free(params: Any, encoded: Encoded):
        merged = nnx.merge(model.graph, params)
        return unconstrained_beam_search(merged, task.sizes, encoded, beam=beam)

    encoded, filters = encode(model.params), jax.device_put(no_filters(batch))
    return {
        "free": lambda: free(model.params, encoded),
        "trie": lambda: constrained(model.params, trie, encoded, filters),
    }


def searches(trie: Trie, codes: np.ndarray, batch: int, beam: int) -> tuple[Ways, int]:
    """Searches under random logits; and the bytes of STATIC's matrix."""
    logits = random_logits(batch, beam, (SIZE,) * LEVELS)
    matrix = build_matrix(codes, SIZE)
    filters = jax.device_put(no_filters(batch))
    ours = jax.jit(trie_search, static_argnames="beam")
    free = jax.jit(free_search, static_argnames="beam")
    static = jax.jit(static_search, static_argnames=("beam", "scattered"))
    ways = {
        "free": lambda: free(logits, beam=beam),
        "trie": lambda: ours(trie, logits, filters, beam=beam),
        "scattered": lambda: static(matrix, logits, beam=beam, scattered=True),
        "entries": lambda: static(matrix, logits, beam=beam, scattered=False),
    }
    return ways, bytes_of(matrix)


def random_logits(batch: int, beam: int, sizes: tuple[int, ...]) -> list[jax.Array]:
    generator = np.random.default_rng(1)
    return [
        jnp.asarray(generator.standard_normal((batch, beam, size), np.float32)) for size in sizes
    ]


def trie_search(trie: Trie, logits: list[jax.Array], filters: Filters, *, beam: int):
    model = cast(EncoderDecoder, FixedLogits(logits))
    return beam_search(model, trie, nothing_read(len(logits[0])), filters, beam=beam)


def free_search(logits: list[jax.Array], *, beam: int):
    model, sizes = cast(EncoderDecoder, FixedLogits(logits)), tuple(x.shape[2] for x in logits)
    return unconstrained_beam_search(model, sizes, nothing_read(len(logits[0])), beam=beam)


def nothing_read(batch: int) -> Encoded:
    return Encoded(jnp.zeros((batch, 1, 1)), jnp.ones((batch, 1, 1), bool), None)


def check_small_catalogues() -> None:
    """Makes sure that all ways to search find the same; stops the program where they do not.

    With every tuple in the catalogue, that includes the search without a constraint; with few of
    them, lists come out shorter than the beam.
    """
    size, beam = 6, 20
    everything = np.stack(np.unravel_index(np.arange(size**LEVELS), (size,) * LEVELS), axis=1)
    shuffled = np.random.default_rng(2).permutation(everything).astype(np.int32)
    logits = random_logits(3, beam, (size,) * LEVELS)
    for count in (5, 150, len(shuffled)):
        codes = shuffled[:count]
        items, scores = trie_search(
            jax.device_put(build_trie(codes)), logits, no_filters(3), beam=beam
        )
        width = min(beam, count)
        items, scores = np.asarray(items)[:, :width], np.asarray(scores)[:, :width]
        results = {}
        for how in (True, False):
            matrix = build_matrix(codes, size)
            results[f"static, {how}"] = static_search(matrix, logits, beam=beam, scattered=how)
        if count == len(shuffled):
            results["free"] = free_search(logits, beam=beam)
        for name, (tuples, score) in results.items():
            same = np.array_equal(np.asarray(tuples)[:, :width], codes[items])
            close = np.allclose(np.asarray(score)[:, :width], scores, atol=1e-5)
            if not (same and close and (items >= 0).all()):
                raise SystemExit(f"{name}: not the same lists among {count} items")


if __name__ == "__main__":
    serve(prepare)
