"""A bundle in use: a folder that `genrec export` made, on any machine that has JAX and NumPy.

Neither the model's code nor Flax is needed. The folder holds
    manifest.json: what is in it, made from what, with the size and sha256 of every file, and a
        checksum of its own;
    programs/: the whole of recommending as StableHLO, see `genrec.export.program`, one for each
        number of items that a request may name, and for requests with and without users;
    weights.safetensors: the model's parameters, but for what it learned of each item alone, which
        is in the items' vectors;
    items.safetensors: of every item its semantic ID (codes), its vector, how often it was met
        (counts) and whether it was at all (seen); and which may be recommended (open);
    items.json: the id and the title of every item.
"""

import copy
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from genrec.core.answering import Answering
from genrec.core.batches import batches, filter_table, no_lists
from genrec.core.histories import Histories
from genrec.core.spelling import RARELY, Shapes, Spelling, means_below, nodes_in, spell
from genrec.core.tensors import parse_tensors
from genrec.errors import UserError

FORMAT = "genrec bundle"
SCHEMA = 1


def load_bundle(folder: str | Path) -> "Bundle":
    """A bundle, ready to recommend as the run that it was made from.

    Raises:
        UserError: it is no bundle, a file is missing or damaged, or a newer genrec made it.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    contents = {}
    for name, told in manifest["files"].items():
        path = folder / name
        try:
            contents[name] = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path} is missing: export the bundle again") from error
        if hashlib.sha256(contents[name]).hexdigest() != told["sha256"]:
            raise UserError(f"{path} is damaged or was changed: export the bundle again")
    return Bundle(
        manifest,
        parse_tensors(contents["weights.safetensors"], folder / "weights.safetensors"),
        parse_tensors(contents["items.safetensors"], folder / "items.safetensors"),
        json.loads(contents["items.json"]),
        {name: program for name, program in contents.items() if name.startswith("programs/")},
    )


class Bundle(Answering):
    """What a bundle holds, see the module; `load_bundle` makes one.

    Attributes:
        manifest: as it was written.
        weights: the model's parameters, by name.
        programs: what answers, by file.
        shapes: how large a catalogue the programs are for.
    """

    def __init__(
        self,
        manifest: Mapping[str, Any],
        weights: Mapping[str, np.ndarray],
        items: Mapping[str, np.ndarray],
        names: Mapping[str, list[str]],
        programs: Mapping[str, bytes],
    ):
        self.manifest = manifest
        self._answers: Mapping[str, Any] = manifest["answers"]
        self._item_ids, self._its_titles = names["item_id"], names["title"]
        self._tables = dict(items)
        self.programs = dict(programs)
        self.weights = {name: jnp.asarray(value) for name, value in weights.items()}
        self._compiled: dict[str, Any] = {}  # shared by all that `restricted` makes
        told = self._answers["shapes"]
        codes = tuple((size, kind) for size, kind in told["codes"])
        self.shapes = Shapes(codes, told["items"], tuple(told["fan_out"]))
        self._whole = spell(items["codes"], None, self.shapes)
        self._its_open = items["open"]

    @property
    def item_ids(self) -> list[str]:
        return self._item_ids

    @property
    def vectors(self) -> np.ndarray | None:
        """float32 (N, D), what the model makes of every item; None where it has no such thing."""
        vectors = self._tables.get("vectors")
        return None if vectors is None else vectors.astype(np.float32)

    @property
    def codes(self) -> np.ndarray:
        """int (N, L), the semantic ID of every item."""
        return self._tables["codes"]

    @property
    def _item_titles(self) -> list[str]:
        return self._its_titles

    @property
    def open_items(self) -> np.ndarray:
        return self._its_open

    @functools.cached_property
    def _log_popularity(self) -> np.ndarray:
        counts = self._tables["counts"] + 1.0
        return np.log(counts / counts.sum())

    @property
    def _beam(self) -> int:
        return self._answers["beam"]

    @property
    def _skips_unknown(self) -> bool:
        return self._answers["unknown_items"] != "refuse"

    def _over(self, allowed: np.ndarray) -> "Bundle":
        other = copy.copy(self)
        vars(other).pop("state", None)
        other._its_open = np.asarray(allowed)
        return other

    @functools.cached_property
    def state(self) -> dict[str, Any]:
        """The first argument of the programs, on the device."""
        state = state_of(
            self._tables,
            self.weights,
            self._whole,
            self._its_open,
            look_ahead=self._answers["look_ahead"],
        )
        return jax.tree.map(jnp.asarray, state)

    def _search(
        self,
        histories: Histories,
        k: int,
        *,
        exclude_history: bool,
        block: Sequence[np.ndarray] | None,
        allow: Sequence[np.ndarray | None] | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        answers = self._answers
        items, scores = no_lists(len(histories), k)
        if not answers["users"]:
            histories = Histories(
                histories.starts, histories.stops, histories.items, histories.timestamps
            )
        for rows, read in batches(histories, answers["max_history"], answers["batch_size"]):
            size = len(read.items)
            named, allows = filter_table(histories, rows, size, exclude_history, block, allow)
            request = {
                "items": read.items,
                "segments": read.segments,
                "gaps": np.zeros_like(read.items) if read.gaps is None else read.gaps,
                "allow": allows,
            }
            if read.users is not None:
                request["users"] = read.users
            program, request["named"] = self._program(named, read.users is not None)
            best, score = program(self.state, request)
            width = min(k, best.shape[1])
            items[rows, :width] = np.asarray(best)[: len(rows), :width]
            scores[rows, :width] = np.asarray(score)[: len(rows), :width]
        return items, scores

    def _program(self, named: np.ndarray, users: bool) -> tuple[Any, np.ndarray]:
        """What answers requests that name so many items, and these padded to what it takes."""
        most = named.shape[1]
        width = next((width for width in self._answers["named"] if width >= most), None)
        if width is None:
            raise UserError(
                f"a request names {(named >= 0).sum(axis=1).max():,} items to block or allow, its "
                f"history included; this bundle takes {self._answers['named'][-1]:,} at most"
            )
        padded = np.full((len(named), width), -1, np.int32)
        padded[:, :most] = named
        name = program_name(width, users)
        if name not in self._compiled:
            exported = export.deserialize(bytearray(self.programs[name]))
            self._compiled[name] = jax.jit(exported.call)
        return self._compiled[name], padded


def state_of(
    items: Mapping[str, np.ndarray],
    weights: Mapping[str, Any],
    whole: Spelling,
    allowed: np.ndarray,
    *,
    look_ahead: bool,
) -> dict[str, Any]:
    """The first argument of a bundle's programs.

    Args:
        items: the arrays of items.safetensors.
        weights: those of weights.safetensors.
        whole: how all items are spelt.
        allowed: int, the items that may be recommended, at least one.
        look_ahead: whether the model wants to know the means below every node.
    """
    count, room = len(items["codes"]), len(whole.leaf)
    part = whole
    if len(allowed) < count:
        part = spell(items["codes"], allowed, whole.shapes)
    means = ()
    vectors = items.get("vectors")
    if vectors is not None and look_ahead:
        known = None if items["seen"].all() else np.where(items["seen"], 1.0, RARELY)
        everywhere = means_below(whole, vectors.astype(np.float32), known)
        nodes = nodes_in(whole, part)[1:]
        means = tuple(mean[node] for mean, node in zip(everywhere, nodes, strict=True))
    if vectors is not None:
        vectors = np.pad(vectors, [(0, room - count), (0, 0)])
    return {
        "weights": dict(weights),
        "codes": np.pad(items["codes"], [(0, room - count), (0, 0)]).astype(np.int32),
        "vectors": vectors,
        "count": np.int32(count),
        "trie": {
            "codes": part.codes,
            "children": part.children,
            "item": part.item,
            "leaf": part.leaf,
        },
        "means": means,
    }


def program_name(named: int, users: bool) -> str:
    """The file of the program for requests that name up to so many items."""
    return f"programs/recommend-{named}{'-users' if users else ''}.bin"


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """manifest.json with its own checksum, which is of the text without it."""
    rest = {name: value for name, value in manifest.items() if name != "checksum"}
    text = json.dumps(rest, indent=2, ensure_ascii=False, allow_nan=False)
    checksum = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps({"checksum": checksum} | rest, indent=2, ensure_ascii=False) + "\n"


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle; UserError when it is none, damaged, or of a newer genrec."""
    path = folder / "manifest.json"
    try:
        text = path.read_bytes().decode()
        manifest = json.loads(text)
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise ValueError("it is not that of a bundle")
        if manifest_text(manifest) != text:
            raise ValueError("it is damaged or was changed")
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read as a bundle's manifest: {reason}") from error
    if manifest["schema"] > SCHEMA:
        raise UserError(f"{folder} was made by a newer genrec, which is needed to read it")
    needed = {"weights.safetensors", "items.safetensors", "items.json"}
    answers = manifest["answers"]
    for users in (False, True)[: 1 + answers["users"]]:
        needed |= {program_name(named, users) for named in answers["named"]}
    if missing := needed - manifest["files"].keys():
        raise UserError(f"{path} lists no {min(missing)}: export the bundle again")
    for name in manifest["files"]:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError(f"{path} names a file outside of the bundle: {name!r}")
    return manifest
