"""What a bundle needs to take new items: from the vectors of their content to codes and vectors.

The files, all of them or none:
    tokenizer.safetensors: the tokenizer's parameters without its decoder (tokenizer.…), and what
        brings content (and what items are consumed with) to its input: means, norms, scale;
    content.safetensors: the direction of every item's content, see `semantic_ids.item_features`;
    consumed.safetensors: what the items that lend are consumed with, if the tokenizer knows of it;
    programs/encode.bin: parameters, input of the tokenizer (n, D) → codes (n, L);
    programs/distances.bin: parameters, input, codes → how far each is from every code of the last
        level; where items of the same codes are moved (tokenizer.collisions reassign);
    programs/describe.bin: weights, codes (n, L), content (n, E) → the model's vectors (n, D), if it
        has such.

The middle two are Faiss indexes, see `genrec.bundle.indexes`. They keep eight bits of every number,
so a new item may now and then get another code than `genrec tokenize --append` would give it.
"""

import functools
from collections.abc import Mapping
from typing import Any

import faiss
import jax
import jax.numpy as jnp
import numpy as np

from genrec.bundle.checks import check_tokenizer
from genrec.bundle.indexes import load_index, pack_index
from genrec.bundle.stablehlo import load_program
from genrec.errors import UserError, misfit
from genrec.recommend.similarity import nearest
from genrec.semantic_ids.collisions import SemanticIds, semantic_ids_of
from genrec.semantic_ids.item_features import (
    NEIGHBOURS,
    Standard,
    beside,
    directions,
    lent,
    standardised,
)


class Newcomers:
    """The files of the module in use.

    Args:
        told: what the manifest says of them: files, width, cooccurrence (a weight), collisions,
            codebook_sizes, and reads_content, whether the model does.
        tensors: those of tokenizer.safetensors.
        contents: of every file of the bundle.
        count: how many items it has.

    Raises:
        UserError: the tensors are not those of a tokenizer of these sizes.
    """

    def __init__(
        self,
        told: Mapping[str, Any],
        tensors: Mapping[str, np.ndarray],
        contents: Mapping[str, bytes],
        count: int,
    ):
        self._told, self._tensors, self._contents = told, tensors, contents
        self._count = count
        self.width: int = told["width"]
        self.sizes = tuple(told["codebook_sizes"])
        try:
            check_tokenizer(told, tensors, count)
        except (ValueError, KeyError) as error:
            raise UserError(
                f"tokenizer.safetensors does not fit the bundle: {misfit(error)}"
            ) from error

    @functools.cached_property
    def index(self) -> faiss.Index:
        """The directions of all items, by inner product."""
        return load_index(self._contents, "content.safetensors", self.width, self._count)

    def towards(self, content: np.ndarray) -> np.ndarray:
        """float32 (n, E): the directions of content vectors (n, E)."""
        return directions(content, self._tensors["content.mean"])

    def semantic_ids(self, content: np.ndarray, given: SemanticIds) -> np.ndarray:
        """int32 (n, L): codes for new items of these content vectors (n, E), beside those given.

        Raises:
            UserError: there is no room left to tell some items apart.
        """
        inputs = self._inputs(content)
        fresh = np.asarray(self._run("encode", self._parameters, inputs))
        before, levels = len(given.codes), fresh.shape[1]

        def distances(items: np.ndarray) -> np.ndarray:
            rows = items - before
            given = self._parameters, inputs[rows], fresh[rows]
            return np.asarray(self._run("distances", *given))

        codes = np.concatenate([given.codes[:, :levels], fresh])
        sizes, collisions = self.sizes[:levels], self._told["collisions"]
        return semantic_ids_of(codes, sizes, collisions, distances, given).codes[before:]

    def vectors(
        self, weights: Mapping[str, Any], codes: np.ndarray, content: np.ndarray
    ) -> np.ndarray:
        """(n, D): what the model makes of new items, from their codes (n, L) and content (n, E)."""
        read = self.towards(content) * np.float32(self.width**0.5)
        return np.asarray(self._run("describe", dict(weights), codes, read))

    def with_content(self, content: np.ndarray) -> bytes:
        """content.safetensors with new items' content vectors (n, E) behind those there."""
        index = load_index(self._contents, "content.safetensors", self.width, self._count)
        index.add(self.towards(content))  # pyright: ignore[reportCallIssue]
        return pack_index(index)

    def _inputs(self, content: np.ndarray) -> np.ndarray:
        """float32 (n, D), scaled: what the tokenizer's network is given."""
        known = self._tensors
        vectors = content
        if self._told["cooccurrence"]:
            lenders = known["lenders"]
            count = min(NEIGHBOURS, len(lenders))
            near, _ = nearest(self.index, self.towards(content), count, among=lenders)
            other_width = len(known["consumed.mean"])
            index = load_index(self._contents, "consumed.safetensors", other_width, len(lenders))
            consumed = index.reconstruct_n(0, len(lenders))  # pyright: ignore[reportCallIssue]
            other = lent(consumed[np.searchsorted(lenders, near)])
            vectors = beside(
                standardised(content, self._standard("content")),
                standardised(other, self._standard("consumed")),
                self._told["cooccurrence"],
            )
        return ((vectors - known["input.mean"]) / known["input.scale"]).astype(np.float32)

    def _standard(self, name: str) -> Standard:
        return Standard(self._tensors[f"{name}.mean"], self._tensors[f"{name}.norm"].item())

    @property
    def _parameters(self) -> dict[str, jax.Array]:
        tensors = self._tensors.items()
        return {
            name: jnp.asarray(value) for name, value in tensors if name.startswith("tokenizer.")
        }

    def _run(self, name: str, *arguments: Any) -> Any:
        return load_program(self._contents, f"programs/{name}.bin", *arguments)(*arguments)
