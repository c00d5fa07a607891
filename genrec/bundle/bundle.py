"""A bundle in use: a folder that `genrec export` made, on any machine that has JAX and NumPy
(and Faiss, for new items and for those that are alike).

Neither the model's code nor Flax is needed. The folder holds
    manifest.json: what is in it, made from what, with the size and sha256 of every file, and a
        checksum of its own;
    programs/: the whole of recommending as StableHLO, see `genrec.export.stablehlo`, one for each
        number of items that a request may name, and for requests with and without users;
    weights.safetensors: the model's parameters, but for what it learned of each item alone, which
        is in the items' vectors;
    items.safetensors: of every item its semantic ID (codes), its vector, how often it was met
        (counts) and whether it was at all (seen); and which may be recommended (open);
    items.json.gz: the id and the title of every item;
    and, unless it was made without, what new items need, see `genrec.bundle.new_items`.
"""

import copy
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from genrec.bundle.checks import check_items
from genrec.bundle.stablehlo import load_program
from genrec.bundle.storage import program_name, read_bundle, unpack_names
from genrec.errors import UserError, misfit
from genrec.recommend.base import Answering, named_lists
from genrec.semantic_ids.trie import Shapes, Trie, build_trie, means_in
from genrec.sequences.histories import Histories
from genrec.sequences.padding import batches, filter_table, no_lists
from genrec.storage.safetensors import parse_tensors

if TYPE_CHECKING:
    from genrec.bundle.new_items import NewItemEncoder


def load_bundle(folder: str | Path) -> "Bundle":
    """A bundle, ready to recommend as the run that it was made from.

    Raises:
        UserError: it is no bundle, a file is missing or damaged, its parts do not fit each other,
            or another genrec is needed.
    """
    return Bundle(*read_bundle(Path(folder)))


class Bundle(Answering):
    """What a bundle holds, see the module; `load_bundle` makes one.

    Attributes:
        manifest: as it was written.
        contents: what each file holds.
        tables: what items.safetensors holds.
        weights: the model's parameters, by name.
        shapes: how large a catalogue the programs are for.

    Raises:
        UserError: the files are not as they should be, or do not fit each other.
    """

    def __init__(self, manifest: Mapping[str, Any], contents: Mapping[str, bytes]):
        self.manifest = manifest
        self.contents = dict(contents)
        self._answers: Mapping[str, Any] = manifest["answers"]
        self._item_ids, self._its_titles = unpack_names(contents["items.json.gz"])
        self.tables = self._tensors("items.safetensors")
        weights = self._tensors("weights.safetensors")
        self.weights = {name: jnp.asarray(value) for name, value in weights.items()}
        self._compiled: dict[str, Any] = {}  # shared by all that `restricted` makes
        told = self._answers["shapes"]
        codes = tuple((size, kind) for size, kind in told["codes"])
        self.shapes = Shapes(codes, told["items"], tuple(told["fan_out"]))
        try:
            names = self._item_ids, self._its_titles
            check_items(self._answers, manifest["items"], self.tables, weights, *names)
            self._whole = build_trie(self.tables["codes"], None, self.shapes)
        except (ValueError, KeyError) as error:
            raise UserError(f"the bundle's files do not fit each other: {misfit(error)}") from error
        self._its_open = self.tables["open"]

    @property
    def item_ids(self) -> list[str]:
        return self._item_ids

    @property
    def vectors(self) -> np.ndarray | None:
        """float32 (N, D), what the model makes of every item; None where it has no such thing."""
        vectors = self.tables.get("vectors")
        return None if vectors is None else vectors.astype(np.float32)

    @property
    def codes(self) -> np.ndarray:
        """int (N, L), the semantic ID of every item."""
        return self.tables["codes"]

    @property
    def _item_titles(self) -> list[str]:
        return self._its_titles

    @property
    def open_items(self) -> np.ndarray:
        return self._its_open

    @functools.cached_property
    def _log_popularity(self) -> np.ndarray:
        counts = self.tables["counts"] + 1.0
        return np.log(counts / counts.sum())

    @property
    def _beam(self) -> int:
        return self._answers["beam"]

    @property
    def _skips_unknown(self) -> bool:
        return self._answers["unknown_items"] != "refuse"

    @functools.cached_property
    def newcomers(self) -> "NewItemEncoder":
        """What takes new items, and knows which items are alike; needs Faiss.

        Raises:
            UserError: the bundle was exported without it.
        """
        from genrec.bundle.new_items import NewItemEncoder

        if self.manifest["newcomers"] is None:
            raise UserError(
                "this bundle knows nothing of its items' content: export it with --newcomers"
            )
        tensors = self._tensors("tokenizer.safetensors")
        count = len(self.item_ids)
        return NewItemEncoder(self.manifest["newcomers"], tensors, self.contents, count)

    def similar(
        self, items: Sequence[str], k: int = 10
    ) -> tuple[list[list[str]], list[list[float]]]:
        """The k items most like each of these in content, by id or title; needs Faiss.

        Returns:
            Item ids, of what may be recommended, the most alike first; and the cosine of the
            angle between the content vectors, centred on the catalogue's mean.

        Raises:
            UserError: an item is unknown, or the bundle was exported with --no-newcomers.
        """
        newcomers = self.newcomers
        if k < 1:
            raise UserError(f"k is {k}, but must be at least 1")
        found = np.array(self.names.known(items), np.int64)
        towards = np.stack([newcomers.index.reconstruct(item) for item in found.tolist()])
        near, cosines = newcomers.similar(towards, k + 1, self.open_items)
        itself = near == found[:, None]
        itself[~itself.any(axis=1), -1] = True  # one too many was asked for, lest it be the item
        near, cosines = (each[~itself].reshape(len(found), k) for each in (near, cosines))
        return named_lists(self.item_ids, near, cosines)

    def everything(self) -> "Bundle":
        """The same over all items that it knows, also those that were removed."""
        return self._over(np.arange(len(self.item_ids), dtype=np.int32))

    def _tensors(self, name: str) -> dict[str, np.ndarray]:
        return parse_tensors(self.contents[name], Path(name))

    def _over(self, allowed: np.ndarray) -> "Bundle":
        other = copy.copy(self)
        vars(other).pop("state", None)
        other._its_open = np.asarray(allowed)
        return other

    @functools.cached_property
    def state(self) -> dict[str, Any]:
        """The first argument of the programs, on the device."""
        state = state_of(
            self.tables,
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
        exclude: Sequence[np.ndarray] | None,
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
            named, allows = filter_table(histories, rows, size, exclude_history, exclude, allow)
            request = {
                "items": read.items,
                "segments": read.segments,
                "gaps": np.zeros_like(read.items) if read.gaps is None else read.gaps,
                "named": self._padded(named),
                "allow": allows,
            }
            if read.users is not None:
                request["users"] = read.users
            program = self._program(request)
            best, score = program(self.state, request)
            width = min(k, best.shape[1])
            items[rows, :width] = np.asarray(best)[: len(rows), :width]
            scores[rows, :width] = np.asarray(score)[: len(rows), :width]
        return items, scores

    def _padded(self, named: np.ndarray) -> np.ndarray:
        """What requests name, as wide as a program takes it."""
        most = named.shape[1]
        width = next((width for width in self._answers["named"] if width >= most), None)
        if width is None:
            raise UserError(
                f"a request names {(named >= 0).sum(axis=1).max():,} items to exclude or allow, "
                f"its history included; this bundle takes {self._answers['named'][-1]:,} at most"
            )
        padded = np.full((len(named), width), -1, np.int32)
        padded[:, :most] = named
        return padded

    def _program(self, request: Mapping[str, np.ndarray]) -> Any:
        """What answers such requests."""
        name = program_name(request["named"].shape[1], "users" in request)
        if name not in self._compiled:
            program = load_program(self.contents, name, self.state, request)
            self._compiled[name] = jax.jit(program)
        return self._compiled[name]


def state_of(
    items: Mapping[str, np.ndarray],
    weights: Mapping[str, Any],
    whole: Trie,
    allowed: np.ndarray,
    *,
    look_ahead: bool,
) -> dict[str, Any]:
    """The first argument of a bundle's programs.

    Args:
        items: the arrays of items.safetensors.
        weights: those of weights.safetensors.
        whole: the trie of all items, as NumPy arrays.
        allowed: int, the items that may be recommended, at least one.
        look_ahead: whether the model wants to know the means below every node.
    """
    count, room = len(items["codes"]), len(whole.leaf)
    part = whole
    if len(allowed) < count:
        part = build_trie(items["codes"], allowed, whole.shapes)
    means = ()
    vectors = items.get("vectors")
    if vectors is not None and look_ahead:
        seen = None if items["seen"].all() else items["seen"]
        means = means_in(whole, part, vectors.astype(np.float32), seen)
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
