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
    experts.safetensors: what is looked up beside the model, if anything is, see
        `genrec.bundle.experts`;
    and, unless it was made without, what new items need, see `genrec.bundle.new_items`.
"""

import copy
import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from genrec.bundle.checks import check_experts, check_items
from genrec.bundle.experts import experts_state
from genrec.bundle.stablehlo import load_program
from genrec.bundle.storage import program_name, read_bundle, unpack_names
from genrec.errors import UserError, misfit
from genrec.recommend.base import ItemRecommender
from genrec.recommend.explanation import LookedUp
from genrec.recommend.requests import ResolvedRequests
from genrec.semantic_ids.trie import Shapes, Trie, build_trie, means_in
from genrec.sequences.padding import empty_lists, fill_lists, request_batches
from genrec.storage.safetensors import parse_tensors

if TYPE_CHECKING:
    import faiss

    from genrec.bundle.new_items import NewItemEncoder


def load_bundle(folder: str | Path) -> "Bundle":
    """A bundle, ready to recommend as the run that it was made from.

    Raises:
        UserError: it is no bundle, a file is missing or damaged, its parts do not fit each other,
            or another genrec is needed.
    """
    return Bundle(*read_bundle(Path(folder)))


class Bundle(ItemRecommender):
    """What a bundle holds, see the module; `load_bundle` makes one.

    Attributes:
        tables: what items.safetensors holds.
        experts: what experts.safetensors holds; None where the model ranks alone.
        weights: the model's parameters, by name.
        shapes: how large a catalogue the programs are for.

    Raises:
        UserError: the files are not as they should be, or do not fit each other.
    """

    def __init__(self, manifest: Mapping[str, Any], contents: Mapping[str, bytes]):
        self.manifest = manifest
        self.contents = dict(contents)
        self._answers: Mapping[str, Any] = manifest["answers"]
        self.item_ids, self._item_titles = unpack_names(contents["items.json.gz"])
        self.tables = self._tensors("items.safetensors")
        told, newcomers = self._answers.get("experts"), manifest["newcomers"]
        self.experts = self._tensors("experts.safetensors") if told else None
        weights = self._tensors("weights.safetensors")
        self.weights = {name: jnp.asarray(value) for name, value in weights.items()}
        self._compiled: dict[str, Any] = {}  # shared by all that `restricted` makes
        shapes = self._answers["shapes"]
        codes = tuple((size, kind) for size, kind in shapes["codes"])
        self.shapes = Shapes(codes, shapes["items"], tuple(shapes["fan_out"]))
        try:
            names = self.item_ids, self._item_titles
            check_items(self._answers, manifest["items"], self.tables, weights, *names)
            if self.experts is not None:
                width = None if newcomers is None else newcomers["width"]
                check_experts(self._answers, manifest["items"], width, self.experts)
            self._whole = build_trie(self.tables["codes"], None, self.shapes)
        except (ValueError, KeyError) as error:
            raise UserError(f"the bundle's files do not fit each other: {misfit(error)}") from error
        self.codes, self._counts = self.tables["codes"], self.tables["counts"]
        self.open_items = self.tables["open"]
        self._beam = self._answers["beam"]
        self._skips_unknown = self._answers["unknown_items"] != "refuse"

    @property
    def vectors(self) -> np.ndarray | None:
        """float32 (N, D), what the model makes of every item; None where it has no such thing."""
        vectors = self.tables.get("vectors")
        return None if vectors is None else vectors.astype(np.float32)

    @functools.cached_property
    def looked_up(self) -> LookedUp | None:
        if self.experts is None:
            return None
        tables = ("ranking", "begins", "items", "weights", "content", "popularity")
        return LookedUp(
            tuple(self._answers["experts"]["names"]),
            *(self.experts[name] for name in tables),
            max_history=self._answers["max_history"],
        )

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

    @property
    def content_index(self) -> "faiss.Index":
        return self.newcomers.index

    def _tensors(self, name: str) -> dict[str, np.ndarray]:
        return parse_tensors(self.contents[name], Path(name))

    def _with_open_items(self, items: np.ndarray) -> "Bundle":
        other = copy.copy(self)
        vars(other).pop("state", None)
        other.open_items = np.asarray(items)
        return other

    @functools.cached_property
    def state(self) -> dict[str, Any]:
        """The first argument of the programs, on the device."""
        arrays, looks = (self.tables, self.weights, self._whole), self._answers["look_ahead"]
        state = state_of(*arrays, self.open_items, look_ahead=looks, experts=self.experts)
        return jax.tree.map(jnp.asarray, state)

    def _search(
        self, requests: ResolvedRequests, k: int, exclude_history: bool
    ) -> tuple[np.ndarray, ...]:
        histories = requests.histories
        if not self._answers["users"]:
            histories = dataclasses.replace(histories, users=None)
        names = self.expert_names
        lists = empty_lists(len(histories), k, *[(len(names),)] * bool(names))
        batches = request_batches(
            histories,
            self._answers["max_history"],
            self._answers["batch_size"],
            exclude_history=exclude_history,
            exclude=requests.exclude,
            allow=requests.allow,
            named_width=self.named_width,
        )
        for rows, batch in batches:
            request = batch.arrays()
            fill_lists(lists, rows, self._program(request)(self.state, request))
        return lists

    def named_width(self, count: int) -> int:
        """How many items requests may name in the smallest program that takes `count`.

        Raises:
            UserError: none takes so many.
        """
        widths = self._answers["named"]
        if count > widths[-1]:
            raise UserError(
                f"a request names {count:,} items to exclude or allow, its history included; "
                f"this bundle takes {widths[-1]:,} at most"
            )
        return next(width for width in widths if width >= count)

    def _program(self, request: Mapping[str, np.ndarray]) -> Any:
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
    experts: Mapping[str, np.ndarray] | None,
) -> dict[str, Any]:
    """The first argument of a bundle's programs.

    Args:
        items: the arrays of items.safetensors.
        weights: those of weights.safetensors.
        whole: the trie of all items, as NumPy arrays.
        allowed: int, the items that may be recommended, at least one.
        look_ahead: whether the model wants to know the means below every node.
        experts: the arrays of experts.safetensors; None where the model ranks alone.
    """
    count, part, means = len(items["codes"]), whole, ()
    if len(allowed) < count:
        part = build_trie(items["codes"], allowed, whole.shapes)
    padding = [(0, len(whole.leaf) - count), (0, 0)]
    if (vectors := items.get("vectors")) is not None:
        if look_ahead:
            seen = None if items["seen"].all() else items["seen"]
            means = means_in(whole, part, vectors.astype(np.float32), seen)
        vectors = np.pad(vectors, padding)
    return {
        "weights": dict(weights),
        "codes": np.pad(items["codes"], padding).astype(np.int32),
        "vectors": vectors,
        "count": np.int32(count),
        "trie": {name: getattr(part, name) for name in ("codes", "children", "item", "leaf")},
        "means": means,
    } | ({} if experts is None else {"experts": experts_state(experts, len(whole.leaf))})
