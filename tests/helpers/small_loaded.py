"""A run of any recipe over the items of the tiny one: drawn at random, not trained."""

from pathlib import Path

import numpy as np
from flax import nnx

import genrec
from genrec.model.weights import nested
from genrec.runs.items import catalogue_of, load_items
from genrec.runs.loaded import LoadedRun
from genrec.runs.model import decoding_options, make_recommender, model_builder

TIGER = (
    *("model.tokens=codes", "model.encoder=bidirectional", "model.user_tokens=7"),
    *("model.item_embedding=false", "training.row_length=64"),
)


def random_run(folder: Path, *settings: str, removed: tuple[int, ...] = ()) -> LoadedRun:
    """Every parameter is drawn at random, those too that start at zero or one."""
    config, items = genrec.load_config(folder / "config.yaml", *settings), load_items(folder)
    catalogue = catalogue_of(config, items)
    build = model_builder(config.model, catalogue, items.ids.codebook_sizes)
    rng = np.random.default_rng(0)

    def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
        noise = rng.standard_normal(shape, np.float32)
        if name.endswith("scale"):
            return 1 + noise / 5
        if "bias" in name:
            return noise
        width = shape[1] if name.endswith("embedding") else shape[0]
        # Clear favourites, and other ones after another history.
        more = 3 if name.startswith("logits") or "cross_output" in name else 1
        return noise * np.float32(more * width**-0.5)

    model = nnx.eval_shape(lambda: build(nnx.Rngs(0)))  # initialisers take seconds to compile
    named = nnx.traversals.flatten_mapping(nnx.as_pure(nnx.state(model, nnx.Param)))
    shapes = {".".join(map(str, path)): value.shape for path, value in named.items()}
    params = nested({name: drawn(name, shape) for name, shape in shapes.items()})
    made = make_recommender(config, catalogue, build, params, decoding_options(config))
    run = LoadedRun(folder, config, items, made, np.array(removed, np.int64))
    return LoadedRun(folder, config, items, made.only(run.open_items), run.gone)
