"""What the sides of a decoding benchmark share: the task, the models, the counting of FLOPs."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from bench.training_work import StepWork, decoder_flops, encoder_flops
from genrec.config import Config, ModelConfig
from genrec.export.t5 import t5_layers, t5_tables
from genrec.model import EncoderDecoder
from genrec.runs.model import model_builder
from genrec.sequences.inputs import Catalogue

CONTENT_WIDTH = 384
"""Width of the content vectors where the model reads them: that of all-MiniLM-L6-v2."""
SPREAD = 3.0
"""Standard deviation of random logits: clear favourites, as a trained model has them."""


@dataclass(frozen=True)
class DecodingTask:
    """Whom to recommend what. Histories are equally long, so that nobody gains by padding less.

    Attributes:
        codes: int32 (N, L), the semantic IDs.
        codebook_sizes: int64 (L,).
        histories: int32 (U, T), the latest items of each user.
    """

    codes: np.ndarray
    codebook_sizes: np.ndarray
    histories: np.ndarray

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(self.codebook_sizes.tolist())

    def save(self, path: Path) -> None:
        np.savez(path, **vars(self))

    @classmethod
    def load(cls, path: str | Path) -> "DecodingTask":
        with np.load(path) as arrays:
            return cls(**arrays)

    def batches(self, batch: int) -> Iterator[np.ndarray]:
        """int32 (batch, T) histories, of one user after the other, endlessly."""
        for first in itertools.count(0, batch):
            yield self.histories[np.arange(first, first + batch) % len(self.histories)]


class Model(NamedTuple):
    """A model of a config's architecture.

    Attributes:
        graph: its structure.
        params: its parameters, or only their shapes.
    """

    config: Config
    graph: nnx.GraphDef[EncoderDecoder]
    params: Any
    catalogue: Catalogue


def random_weights(model: Model, seed: int) -> dict[str, Any]:
    """Weights by name, none of them at its first value, and scores well apart from each other."""
    generator = np.random.default_rng(seed)

    def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
        noise = generator.standard_normal(shape, np.float32)
        if name.endswith("scale"):
            return 1.0 + 0.2 * noise
        if "bias" in name:
            return noise
        width = shape[1] if name.endswith("embedding") else shape[0]
        return noise * np.float32(width**-0.5 * (SPREAD if name.startswith("logits") else 1.0))

    return {name: weight(name, x.shape) for name, x in _named(model.params)}


def outline(config: Config, task: DecodingTask) -> Model:
    """The model with the shapes of its parameters only."""
    content = None
    if config.model.content:
        shape = (len(task.codes), CONTENT_WIDTH)
        content = np.random.default_rng(0).standard_normal(shape, np.float32)
    catalogue = Catalogue(task.codes, content)
    build = model_builder(config.model, catalogue, task.sizes)
    abstract = nnx.eval_shape(lambda: build(nnx.Rngs(0)))
    shapes = nnx.as_pure(nnx.state(abstract, nnx.Param))
    return Model(config, nnx.graphdef(abstract), shapes, catalogue)


def with_weights(model: Model, weights: Mapping[str, np.ndarray]) -> Model:
    arrays = [weights[name] for name, _ in _named(model.params)]
    params = jax.tree.unflatten(jax.tree.structure(model.params), arrays)
    return model._replace(params=jax.device_put(params))


def t5_weights(weights: Mapping[str, np.ndarray], model: ModelConfig) -> dict[str, Any]:
    """T5's own; token 0 is what the decoder begins with, and the codes of all levels follow."""
    tables = t5_tables(weights)
    nothing = np.zeros_like(tables.begin)
    read = np.concatenate([nothing, tables.read])
    return t5_layers(weights, model) | {
        "shared.weight": read,
        "encoder.embed_tokens.weight": read,
        "decoder.embed_tokens.weight": np.concatenate([tables.begin, tables.followed]),
        "lm_head.weight": np.concatenate([nothing, tables.heads]),
    }


def _named(params: Any) -> list[tuple[str, Any]]:
    """The leaves of a tree of dictionaries, with names such as "encoder.0.output.kernel"."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return [(".".join(str(key.key) for key in path), leaf) for path, leaf in leaves]


def flops_of_user(model: ModelConfig, history: int, beam: int, sizes: tuple[int, ...]) -> int:
    """Matrix products that recommending to one user takes: the history is read once, and the search
    has one query at the first level and one for every beam below."""
    inner = model.heads * (model.head_dim or model.d_model // model.heads)
    shared = (model.d_model, inner, model.d_ff)
    length = history * (1 if model.tokens == "items" else len(sizes))
    content = 2 * history * CONTENT_WIDTH * model.d_model if model.content else 0
    reading = encoder_flops(length, model.encoder_layers, *shared) + content
    # The first level's query attends to the history as well, whose keys are counted below.
    first = decoder_flops(0, 1, 1, model.decoder_layers, *shared)
    first += 4 * model.decoder_layers * length * inner
    below = decoder_flops(length, beam, len(sizes) - 1, model.decoder_layers, *shared)
    logits = 2 * model.d_model * (sizes[0] + beam * sum(sizes[1:]))
    return reading + first + below + logits


def calls(
    task: DecodingTask, batch: int, recommend: Callable[[np.ndarray], Any]
) -> Iterator[StepWork]:
    """Recommends to one batch of users whenever it is asked for the next."""
    for histories in task.batches(batch):
        recommend(histories)
        yield StepWork(targets=len(histories), filled=0, slots=0, flops=0)
