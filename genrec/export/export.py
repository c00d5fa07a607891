"""Writing a bundle."""

import bisect
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from genrec.bundle import Bundle, load_bundle
from genrec.bundle.bundle import state_of
from genrec.bundle.catalog_updates import trie_in
from genrec.bundle.experts import SAME_MODEL
from genrec.bundle.storage import changing, pack_names, program_name, write_bundle
from genrec.config import ModelConfig
from genrec.decoding.search import Structure, item_vectors
from genrec.errors import UserError
from genrec.export.new_items import new_item_files
from genrec.export.stablehlo import PLATFORMS, export_program
from genrec.model import EncoderDecoder
from genrec.model.weights import OWN, flat
from genrec.runs.items import catalogue_of
from genrec.runs.loaded import LoadedRun
from genrec.runs.manifest import provenance
from genrec.runs.model import decoding_options, model_builder
from genrec.semantic_ids.trie import build_trie
from genrec.sequences.inputs import Catalogue
from genrec.storage.files import read_json, refuse_others
from genrec.storage.safetensors import pack_tensors

NAMED = (64, 512, 4096)
"""How many items a request may name; a program for each, up to the first that takes all items."""


def export_bundle(
    run: LoadedRun,
    out: str | Path,
    *,
    dtype: Literal["float32", "bfloat16"] | None = None,
    room: float = 0.25,
    newcomers: bool = True,
    update: bool = False,
) -> dict[str, Any]:
    """Writes a bundle, in place of one that is there.

    Args:
        run: whose recommendations it is to give, of the items that it may recommend.
        dtype: of weights and computations; None for the run's own.
        room: the share of items that may come later, beside those that there are.
        newcomers: whether it can take new items, and find items of similar content.
        update: changes the catalogue of a bundle of this run alone, and leaves its programs.

    Returns:
        The manifest.

    Raises:
        UserError: the run draws lists at random or has a share for new items; `out` holds something
            else; a bundle to update is of another model, or has no room; or another process changes
            it.
    """
    out = Path(out)
    refuse_others(out, ours=(out / "manifest.json").is_file())
    options = decoding_options(run.config)
    if options.temperature is not None or options.unseen_share:
        raise UserError(
            "a bundle takes the best items of all: leave out decoding.temperature and "
            "decoding.unseen_share"
        )
    with changing(out, "genrec export"):
        return _export(run, out, dtype, room, newcomers, update)


def _export(
    run: LoadedRun, out: Path, dtype: str | None, room: float, newcomers: bool, update: bool
) -> dict[str, Any]:
    model, options = run.config.model, decoding_options(run.config)
    if dtype is not None:
        model = dataclasses.replace(model, dtype=dtype)
    catalogue, stored = catalogue_of(run.config, run.items), dtype or "float32"
    parameters = flat(run.recommender.params).items()
    # What the model learned of each item alone is in the items' vectors.
    weights = {name: value.astype(stored) for name, value in parameters if name != OWN}
    graph = _graph(run, dataclasses.replace(model, item_embedding=False), catalogue)
    counts = run.dataset.training().counts(run.dataset.num_items)
    tables = {
        "codes": run.recommender.trie_codes.astype(np.int32),
        "counts": counts,
        "seen": counts > 0,
        "open": np.asarray(run.open_items, np.int32),
    }
    if model.tokens == "items":
        structure = Structure(_graph(run, model, catalogue))
        arrays = jax.tree.map(jnp.asarray, catalogue)
        vectors = item_vectors(structure, run.recommender.params, arrays)
        tables["vectors"] = np.asarray(vectors.astype(stored))
    experts, expert_tables = _experts(run)
    answers = {
        "beam": options.beam,
        "batch_size": options.batch_size,
        "normalise": options.normalise,
        "dense_share": options.dense_share,
        "max_history": model.max_history,
        "unknown_items": run.config.decoding.unknown_items,
        "dtype": model.dtype,
        "users": model.user_tokens > 0,
        "look_ahead": model.look_ahead,
        "experts": experts,
    }
    if update:
        before = _same_model(out, answers, weights, expert_tables)
        widths = before.manifest["answers"]["named"]
        newcomers = before.manifest["newcomers"] is not None
        trie = trie_in(before, tables["codes"], out, "export without --update")
        files = before.contents.items()
        programs = {name: file for name, file in files if name.startswith("programs/")}
    else:
        trie = build_trie(tables["codes"], room=room)
        widths = named_widths(trie.shapes.items)
        state = state_of(
            *(tables, weights, trie, tables["open"]),
            look_ahead=model.look_ahead,
            experts=expert_tables,
        )
        programs = {
            program_name(named, users): export_program(
                graph,
                options,
                state,
                trie.fan_out,
                levels=catalogue.codes.shape[1],
                named=named,
                users=users,
                experts=experts,
            )
            for named in widths
            for users in (False, True)[: 1 + answers["users"]]
        }
    new_items = None
    if newcomers:
        new_items, files = new_item_files(run, graph, weights)
        programs = files | programs  # those that are there stay
    metrics = run.folder / "metrics.json"
    manifest = {
        "items": len(tables["codes"]),
        "added": 0,
        "answers": answers | {"named": widths, "shapes": dataclasses.asdict(trie.shapes)},
        "newcomers": new_items,
        "platforms": list(PLATFORMS),
        "provenance": provenance(),
        "metrics": read_json(metrics) if metrics.exists() else None,
        "config": dataclasses.asdict(run.config),
    }
    contents = programs | {
        "weights.safetensors": pack_tensors(weights),
        "items.safetensors": pack_tensors(tables),
        "items.json.gz": pack_names(run.item_ids, run.dataset.titles),
    }
    if expert_tables is not None:
        contents["experts.safetensors"] = pack_tensors(expert_tables)
    return write_bundle(out, manifest, contents)


def _experts(run: LoadedRun) -> tuple[dict[str, Any] | None, dict[str, np.ndarray] | None]:
    """The manifest's entry for experts, and what experts.safetensors holds; None without any."""
    if run.recommender.experts is None:
        return None, None
    (graph, content, popularity), weights = run.recommender.experts
    tables = {
        "begins": graph.begins,
        "items": graph.items,
        "weights": np.asarray(graph.weights).astype(np.float16),
        "content": np.asarray(content).astype(np.float16),
        "popularity": popularity,
        **weights._asdict(),
    }
    told = {"names": list(run.recommender.expert_names), "most": graph.most}
    return told, {name: np.asarray(values) for name, values in tables.items()}


def named_widths(items: int) -> list[int]:
    """How many items a request may name in each of the programs for a catalogue of so many."""
    return list(NAMED[: bisect.bisect_left(NAMED, items) + 1])


def _graph(
    run: LoadedRun, model: ModelConfig, catalogue: Catalogue
) -> nnx.GraphDef[EncoderDecoder]:
    """The structure of a model for the items of a run."""
    sizes, trained = run.items.ids.codebook_sizes, run.items.trained
    build = model_builder(model, catalogue, sizes, trained=trained)
    return nnx.graphdef(nnx.eval_shape(lambda: build(nnx.Rngs(0))))


def _same_model(
    out: Path,
    answers: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    experts: Mapping[str, np.ndarray] | None,
) -> Bundle:
    """The bundle that is there; UserError unless it answers so, with these weights and experts."""
    before = load_bundle(out)
    answered = before.manifest["answers"]
    differing = [name for name in answers if answers[name] != answered.get(name)]
    if differing:
        raise UserError(
            f"{out} was made with another {', '.join(differing)}: export without --update"
        )
    if before.weights.keys() != weights.keys() or not all(
        np.array_equal(before.weights[name], weights[name]) for name in weights
    ):
        raise UserError(f"{out} was made from another model: export without --update")
    if experts is not None and before.experts is not None:
        for name in SAME_MODEL:
            if not np.array_equal(before.experts[name], experts[name]):
                raise UserError(f"{out} was made with other experts: export without --update")
    return before
