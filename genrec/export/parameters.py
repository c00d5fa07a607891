"""A trained run's parameters under plain names, with what another program needs to use them."""

import dataclasses
import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np

from genrec.model.weights import flat
from genrec.runs.items import catalogue_of
from genrec.runs.loaded import LoadedRun
from genrec.runs.manifest import provenance
from genrec.storage.files import read_json, refuse_others, replacing, write_json
from genrec.storage.safetensors import write_tensors

FORMAT = "genrec parameters"

_STACK = r"(encoder|decoder)\.\d+\."
_MEANINGS = {
    r"codes\.\d+\.embedding": "vector of each code of this level",
    r"item\.embedding": "what is known of each item alone, by item number",
    r"content\.kernel": "from an item's content vector to a part of its vector",
    r"gap\.embedding": "how long after the one before it an item came",
    r"user\.embedding": "token of the users with this hash",
    r"relative_positions\.bias\.embedding": "encoder: bias of each distance, for each head",
    r"encoder_norm\.scale": "norm of the encoder's states",
    r"begin\.embedding": "decoder: vector of each level",
    r"level_bias\.embedding": "decoder: bias of each distance between levels, for each head",
    r"decoder_norm\.scale": "norm of the decoder's states",
    r"logits\.\d+\.kernel": "from the decoder's state to the logits of this level's codes",
    r"item_query\.kernel": "dense head: from the encoder's state to what items are compared with",
    r"item_again\.kernel": "dense head: how likely an item of the history is to come again",
    r"queries_ahead\.\d+\.kernel": (
        "look-ahead: from the decoder's state to what the items below a code are compared with, at "
        "the level after this one"
    ),
    r"ahead_again\.\d+\.kernel": (
        "look-ahead: how likely items of the history are to come again, at the level after this one"
    ),
    _STACK + r"(attention|self)_norm\.scale": "norm before self-attention",
    _STACK + r"query_key_value\.kernel": "self-attention: queries, keys and values, side by side",
    _STACK + r"(self_)?output\.kernel": "self-attention: from the heads to the state",
    _STACK + r"cross_norm\.scale": "norm before the attention to the history",
    _STACK + r"query\.kernel": "attention to the history: queries",
    _STACK + r"key_value\.kernel": "attention to the history: keys and values, side by side",
    _STACK + r"cross_output\.kernel": "attention to the history: from the heads to the state",
    _STACK + r"feed_forward_norm\.scale": "norm before the feed-forward layer",
    _STACK + r"feed_forward\.up\.kernel": "feed-forward: first map",
    _STACK + r"feed_forward\.down\.kernel": "feed-forward: second map",
}


def export_parameters(
    run: LoadedRun, out: Path, *, dtype: Literal["float32", "bfloat16"] | None = None
) -> str:
    """Writes the folder, in place of one that is there.

    It holds model.safetensors, the parameters; items.safetensors and items.json, what the model
    reads of every item, and its name; config.json, the model's settings; and README.md, what each
    parameter is and how they are used.

    Args:
        dtype: of the parameters; None for float32.

    Returns:
        What it holds, in words.

    Raises:
        UserError: `out` holds something else.
    """
    refuse_others(out, ours=_is_ours(out))
    parameters = sorted(flat(run.recommender.params).items())
    weights = {name: value.astype(dtype or "float32") for name, value in parameters}
    content = catalogue_of(run.config, run.items).content
    dataset = run.dataset
    items = {
        "codes": run.codes.astype(np.int32),
        "seen": dataset.training().counts(dataset.num_items) > 0,
        "open": np.asarray(run.open_items, np.int32),
    }
    if content is not None:
        items["content"] = np.asarray(content, np.float32)
    names = {"item_id": run.item_ids, "title": dataset.titles}
    config = {
        "format": FORMAT,
        "schema": 1,
        "items": dataset.num_items,
        "codebook_sizes": list(run.items.ids.codebook_sizes),
        "dtype": dtype or "float32",
        "model": dataclasses.asdict(run.config.model),
        "provenance": provenance(),
    }
    readme = (resources.files("genrec.export") / "parameters.md").read_text(encoding="utf-8")
    with replacing(out) as folder:
        folder.mkdir(parents=True)
        write_tensors(folder / "model.safetensors", weights)
        write_tensors(folder / "items.safetensors", items)
        text = json.dumps(names, ensure_ascii=False, separators=(",", ":"))
        (folder / "items.json").write_text(text + "\n", encoding="utf-8")
        write_json(folder / "config.json", config)
        (folder / "README.md").write_text(readme + _table(weights), encoding="utf-8")
    count = sum(x.size for x in weights.values())
    left = "; without the run's experts" * (run.recommender.experts is not None)
    return f"{count:,} parameters under {len(weights)} names, {dataset.num_items:,} items{left}"


def _table(weights: Mapping[str, np.ndarray]) -> str:
    """The table of README.md: name, shape and meaning of every parameter."""
    lines = ["| name | shape | what it is |", "| --- | --- | --- |"]
    for name, value in weights.items():
        meaning = next(text for form, text in _MEANINGS.items() if re.fullmatch(form, name))
        lines.append(f"| `{name}` | {' x '.join(map(str, value.shape))} | {meaning} |")
    return "\n".join(lines) + "\n"


def _is_ours(folder: Path) -> bool:
    try:
        return read_json(folder / "config.json")["format"] == FORMAT
    except (OSError, ValueError, TypeError, KeyError):
        return False
