"""A trained run of TIGER's recipe as a folder for Hugging Face's T5ForConditionalGeneration.

In the one vocabulary of T5 every code has two tokens, one to be read by the encoder and one to be
written by the decoder: `from_pretrained` gives both stacks the same table, and genrec's decoder
knows at which level a code stands, which its encoder does not. See `genrec.export.t5` for the rest.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np

from genrec.errors import UserError
from genrec.export.t5 import MOST_LEVELS, t5_layers, t5_settings, t5_tables
from genrec.model.weights import flat
from genrec.runs.loaded import LoadedRun
from genrec.runs.manifest import provenance
from genrec.storage.files import refuse_others, replacing, write_json
from genrec.storage.safetensors import write_tensors

FORMAT = "genrec T5"
PAD, START = 0, 1
FIRST_CODE = 2


def export_huggingface(
    run: LoadedRun, out: Path, *, dtype: Literal["float32", "bfloat16"] | None = None
) -> str:
    """Writes the folder, in place of one that is there.

    It holds config.json, generation_config.json and model.safetensors, for `from_pretrained`;
    semantic_ids.json, what the tokens are and those of every item; and README.md, with a program
    that recommends.

    Args:
        dtype: of the weights; None for float32.

    Returns:
        What it holds, in words.

    Raises:
        UserError: the run has settings that T5 cannot express, or `out` holds something else.
    """
    model, decoding = run.config.model, run.config.decoding
    wanted = {
        "model.codes true": model.codes,
        "model.tokens codes": model.tokens == "codes",
        "model.encoder bidirectional": model.encoder == "bidirectional",
        "model.look_ahead false": not model.look_ahead,
        "tokenizer.collisions code or reassign": run.config.tokenizer.collisions != "none",
        f"at most {MOST_LEVELS} levels": len(run.items.ids.codebook_sizes) <= MOST_LEVELS,
        "decoding.temperature null": decoding.temperature is None,
        "decoding.unseen_share 0": decoding.unseen_share == 0,
    }
    if differing := [name for name, kept in wanted.items() if not kept]:
        raise UserError(
            "T5 can express TIGER's recipe only, such as configs/quickstart-tiger.yaml; this run "
            f"would need {', '.join(differing)}"
        )
    refuse_others(out, ours=(out / "semantic_ids.json").is_file())
    weights, tokens = flat(run.recommender.params), _tokens(run)
    state = _vocabulary(weights) | t5_layers(weights, model)
    state = {name: value.astype(dtype or "float32") for name, value in state.items()}
    special = {"pad_token_id": PAD, "decoder_start_token_id": START, "eos_token_id": None}
    config = t5_settings(model) | special
    config |= {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "is_encoder_decoder": True,
        "vocab_size": len(state["shared.weight"]),
        "dropout_rate": model.dropout,
        "scale_decoder_outputs": False,
        "torch_dtype": dtype or "float32",
    }
    generation = special | {
        "max_new_tokens": len(tokens["codebook_sizes"]),
        "num_beams": decoding.beam,
        "num_return_sequences": decoding.beam,
        "do_sample": False,
        "early_stopping": False,
        "length_penalty": 0.0,  # scores are sums of log-probabilities
    }
    readme = resources.files("genrec.export") / "huggingface.md"
    with replacing(out) as folder:
        folder.mkdir(parents=True)
        write_tensors(folder / "model.safetensors", state, metadata={"format": "pt"})
        write_json(folder / "config.json", config)
        write_json(folder / "generation_config.json", generation)
        text = json.dumps(tokens, ensure_ascii=False, separators=(",", ":"))
        (folder / "semantic_ids.json").write_text(text + "\n", encoding="utf-8")
        (folder / "README.md").write_text(readme.read_text(encoding="utf-8"), encoding="utf-8")
    left = "; without the run's experts" * (run.recommender.experts is not None)
    return f"{len(tokens['items']):,} items, a T5 of {config['vocab_size']:,} tokens{left}"


def _vocabulary(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The table of what is read and written, and that of the logits; rows as `_tokens` says."""
    tables = t5_tables(weights)
    codes, width = tables.read.shape
    user = weights.get("user.embedding", np.zeros((0, width), np.float32))
    user = user * np.float32(width**0.5)
    pad = np.zeros((1, width), np.float32)
    heads = np.zeros((FIRST_CODE + 2 * codes + len(user), width), np.float32)
    heads[FIRST_CODE + codes : FIRST_CODE + 2 * codes] = tables.heads
    read = np.concatenate([pad, tables.begin, tables.read, tables.followed, user])
    return {"shared.weight": read, "lm_head.weight": heads}


def _tokens(run: LoadedRun) -> dict[str, Any]:
    """What semantic_ids.json holds."""
    sizes, users = run.items.ids.codebook_sizes, run.config.model.user_tokens
    offsets = FIRST_CODE + np.cumsum(sizes) - sizes
    tokens = (run.codes + offsets).tolist()
    hashed = "the first four bytes of BLAKE2b (digest size 4) of the id in UTF-8, least first"
    return {
        "format": FORMAT,
        "schema": 1,
        "codebook_sizes": list(sizes),
        "pad": PAD,
        "start": START,
        "offsets": offsets.tolist(),
        "written": sum(sizes),
        "users": {"first": FIRST_CODE + 2 * sum(sizes), "count": users, "hash": hashed},
        "max_history": run.config.model.max_history,
        "normalise": run.config.decoding.normalise,
        "items": dict(zip(run.item_ids, tokens, strict=True)),
        "removed": [run.item_ids[item] for item in run.gone.tolist()],
        "provenance": provenance(),
    }
