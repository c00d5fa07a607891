"""New items for a bundle: from the vectors of their content to codes and vectors of the model.

A bundle has all of these files, or none:
    tokenizer.safetensors: the tokenizer's parameters without its decoder (tokenizer.…), and what
        makes its input of content and co-occurrence vectors: means, norms, scale;
    content.safetensors: the direction of every item's content, see `semantic_ids.item_features`;
    consumed.safetensors: the co-occurrence vectors that items lend, if the tokenizer reads any;
    programs/encode.bin: parameters, input of the tokenizer (n, D) → codes (n, L);
    programs/distances.bin: parameters, input, codes → the distance to every code of the last level;
        where items of the same codes are moved (tokenizer.collisions reassign);
    programs/describe.bin: weights, codes (n, L), content (n, C) → the model's vectors (n, D), where
        it has a vector for each item.

content and consumed are Faiss indexes, see `genrec.bundle.indexes`. They keep eight bits of every
number, so a new item may now and then get another code than `genrec tokenize --append` gives it.
"""

import functools
from collections.abc import Mapping
from typing import Any

import faiss
import jax.numpy as jnp
import numpy as np

from genrec.bundle.checks import check_tokenizer
from genrec.bundle.indexes import load_index, pack_index
from genrec.bundle.stablehlo import load_program
from genrec.errors import UserError, misfit
from genrec.recommend.similarity import nearest
from genrec.semantic_ids.collisions import SemanticIds, append_codes
from genrec.semantic_ids.item_features import NEIGHBOURS, beside, directions, lent, standardised


class NewItemEncoder:
    """Encodes new items by a bundle's files, and finds items of similar content.

    Args:
        settings: the manifest's entry for new items: files, width C of the content vectors,
            cooccurrence (a weight), collisions and codebook_sizes.
        tensors: those of tokenizer.safetensors.
        contents: of every file of the bundle.
        count: how many items it has.

    Raises:
        UserError: the tensors are not those of a tokenizer of these sizes.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        tensors: Mapping[str, np.ndarray],
        contents: Mapping[str, bytes],
        count: int,
    ):
        self._settings, self._tensors, self._contents = settings, tensors, contents
        self._count = count
        self.width: int = settings["width"]
        self.sizes = tuple(settings["codebook_sizes"])
        try:
            check_tokenizer(settings, tensors, count)
        except (ValueError, KeyError) as error:
            raise UserError(
                f"tokenizer.safetensors does not fit the bundle: {misfit(error)}"
            ) from error

    @functools.cached_property
    def index(self) -> faiss.Index:
        """The directions of all items, by inner product."""
        return load_index(self._contents, "content.safetensors", self.width, self._count)

    def towards(self, content: np.ndarray) -> np.ndarray:
        """float32 (n, C): the directions of content vectors (n, C)."""
        return directions(content, self._tensors["content.mean"])

    def append_to(self, before: SemanticIds, content: np.ndarray) -> SemanticIds:
        """Semantic IDs of the bundle's items and of n new ones of content (n, C) behind them.

        Raises:
            UserError: there is no room left to tell some items apart.
        """
        parameters = {
            name: jnp.asarray(value)
            for name, value in self._tensors.items()
            if name.startswith("tokenizer.")
        }
        inputs = self._inputs(content)
        codes = np.asarray(self._run("encode", parameters, inputs))

        def distances(new: np.ndarray) -> np.ndarray:
            return np.asarray(self._run("distances", parameters, inputs[new], codes[new]))

        return append_codes(before, codes, self._settings["collisions"], distances)

    def vectors(
        self, weights: Mapping[str, Any], codes: np.ndarray, content: np.ndarray
    ) -> np.ndarray:
        """(n, D): the model's vectors of new items, from their codes (n, L) and content (n, C)."""
        scaled = self.towards(content) * np.float32(self.width**0.5)
        return np.asarray(self._run("describe", dict(weights), codes, scaled))

    def with_content(self, content: np.ndarray) -> bytes:
        """content.safetensors with new items' content vectors (n, C) behind those there."""
        index = load_index(self._contents, "content.safetensors", self.width, self._count)
        index.add(self.towards(content))  # pyright: ignore[reportCallIssue]
        return pack_index(index)

    def _inputs(self, content: np.ndarray) -> np.ndarray:
        """float32 (n, D), centred and scaled: what the tokenizer's network reads."""
        tensors, vectors = self._tensors, content
        if weight := self._settings["cooccurrence"]:
            lenders = tensors["lenders"]
            count = min(NEIGHBOURS, len(lenders))
            near, _ = nearest(self.index, self.towards(content), count, among=lenders)
            width = len(tensors["consumed.mean"])
            index = load_index(self._contents, "consumed.safetensors", width, len(lenders))
            consumed = index.reconstruct_n(0, len(lenders))  # pyright: ignore[reportCallIssue]
            borrowed = lent(consumed[np.searchsorted(lenders, near)])
            vectors = beside(
                standardised(content, tensors["content.mean"], tensors["content.norm"].item()),
                standardised(borrowed, tensors["consumed.mean"], tensors["consumed.norm"].item()),
                weight,
            )
        return ((vectors - tensors["input.mean"]) / tensors["input.scale"]).astype(np.float32)

    def _run(self, name: str, *arguments: Any) -> Any:
        return load_program(self._contents, f"programs/{name}.bin", *arguments)(*arguments)
