"""A model and a catalogue that rank items: batches of few shapes around the compiled search."""

import copy
import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from genrec.decoding.beam import Normalise, Sampling
from genrec.decoding.candidates import Experts, ExpertWeights
from genrec.decoding.experts import LOOKED_UP, Memory
from genrec.decoding.filters import Filters
from genrec.decoding.search import Fusion, Structure, Unseen, item_vectors, search, search_freely
from genrec.model import EncoderDecoder
from genrec.model.look_ahead import Means
from genrec.progress import progress
from genrec.semantic_ids.trie import build_trie, means_in
from genrec.sequences.histories import Histories
from genrec.sequences.inputs import Catalogue
from genrec.sequences.padding import RequestBatch, empty_lists, fill_lists, request_batches

_means_in = jax.jit(means_in)


@dataclass(frozen=True)
class SearchOptions:
    """How lists are made: settings of `DecodingConfig`, which says what they are, and the seed of
    what is random. No list is longer than the beam is wide."""

    beam: int
    batch_size: int = 32
    normalise: Normalise = "codes"
    dense_share: float = 0.0
    unseen_share: float = 0.0
    temperature: tuple[float, ...] | None = None
    seed: int = 0


class Recommender:
    """A trained model and a catalogue, ready to answer.

    Args:
        graph: the model's structure, `nnx.graphdef(model)`.
        params: the model's parameters, a pytree.
        max_history: the most recent items of a history that are read.
        ranks: int (N,), the rank of each item among those of the same codes, where codes may be
            shared; else the last code is taken for one that tells items of the same codes apart.
        progress_name: shows progress under this name; None shows none.

    Attributes:
        experts: what is looked up beside the model, and what each expert counts; they rank in place
            of `options.dense_share`. None, as at first, ranks by that.
        trie_codes: int (N, L or L + 1), the codes that lead to each item in the trie.
    """

    def __init__(
        self,
        graph: nnx.GraphDef[EncoderDecoder],
        params,
        catalogue: Catalogue,
        *,
        max_history: int,
        options: SearchOptions,
        ranks: np.ndarray | None = None,
        progress_name: str | None = None,
    ):
        self.structure, self.params, self.options = Structure(graph), params, options
        self.catalogue = jax.tree.map(jnp.asarray, catalogue)
        self.max_history = max_history
        self.progress_name = progress_name
        self.experts: tuple[Memory, ExpertWeights] | None = None
        self._drawn = 0
        codes = np.asarray(catalogue.codes)
        self.trie_codes = codes if ranks is None else np.column_stack([codes, ranks])
        seen = np.ones(len(codes), bool) if catalogue.seen is None else np.asarray(catalogue.seen)
        self._unseen = np.flatnonzero(~seen)
        self._whole = jax.device_put(build_trie(self.trie_codes))
        self._build_tries(np.arange(len(codes)))

    def only(self, allowed: np.ndarray) -> "Recommender":
        """The same recommender for a part of the catalogue: int item indices, at least one.

        Its tries have the same shapes, so nothing is compiled anew.
        """
        other = copy.copy(self)
        other._build_tries(np.unique(allowed))
        return other

    @functools.cached_property
    def writes_codes(self) -> bool:
        return bool(self.structure.model(self.params).codes)

    @functools.cached_property
    def has_dense_head(self) -> bool:
        model = self.structure.model(self.params)
        return model.item_query is not None and model.causal

    @property
    def expert_names(self) -> tuple[str, ...]:
        """Of all that the model and the memory have, in the order of their weights."""
        learned = {"codes": self.writes_codes, "dense_head": self.has_dense_head}
        return (*(name for name, there in learned.items() if there), *LOOKED_UP)

    def ranked_by(self, dense_share: float) -> "Recommender":
        """The same recommender without experts, with another share of the dense head, see
        `SearchOptions`."""
        other = copy.copy(self)
        other.experts = None
        other.options = dataclasses.replace(self.options, dense_share=dense_share)
        other._prepared = None
        return other

    def _build_tries(self, allowed: np.ndarray) -> None:
        """Makes the tries of the items that may be recommended."""
        usual, new = allowed, np.zeros(0, np.int64)
        if self.options.unseen_share:
            usual = np.setdiff1d(allowed, self._unseen)
            new = np.intersect1d(allowed, self._unseen)
        if len(usual) == 0:  # with nothing but new items, they compete with nobody
            usual, new = new, usual
        self.trie, self._unseen_trie = self._whole, None
        self._prepared = None
        if len(usual) < len(self.trie_codes):
            self.trie = jax.device_put(build_trie(self.trie_codes, usual, self._whole.shapes))
        if len(new):
            self._unseen_trie = jax.device_put(build_trie(self.trie_codes, new, self._whole.shapes))

    def __call__(
        self,
        histories: Histories,
        k: int,
        *,
        exclude_history: bool,
        exclude: Sequence[np.ndarray] | None = None,
        allow: Sequence[np.ndarray | None] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best items to come next after each history.

        Args:
            exclude_history: leaves out the items of the history.
            exclude: items that each list must not hold.
            allow: the only items that each list may hold; None for a list that may hold all.

        Returns:
            int32 (B, k) item indices, best first, -1 where no item is left; float32 (B, k) scores,
            log-probabilities, -inf there.

        Raises:
            ValueError: k is larger than the beam, or a history is empty.
        """
        filters = {"exclude_history": exclude_history, "exclude": exclude, "allow": allow}
        items, scores = self._lists(histories, k, **filters)["whole"][:2]
        return items, scores

    def explained(
        self, histories: Histories, k: int, **filters: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same, and float32 (B, k, F), what each of `expert_names` adds to each score.

        Raises:
            ValueError: as above, or there are no experts.
        """
        if self.experts is None:
            raise ValueError("without experts there is nothing to explain")
        items, scores, added = self._lists(histories, k, **filters)["whole"]
        return items, scores, added

    def in_parts(
        self, histories: Histories, k: int, *, exclude_history: bool
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The same, by name "whole", and what each part alone ranks by.

        Those are "codes" and "dense_head", where the model has them, and with experts
        "guided_codes"; the part that is the whole already is left out, and so are all where new
        items have a share of their own.
        """
        lists = self._lists(histories, k, exclude_history=exclude_history)
        lists = {name: (ranked[0], ranked[1]) for name, ranked in lists.items()}
        if self.options.unseen_share:
            return {"whole": lists["whole"]}
        whole = None if self.experts else self.options.dense_share
        parts = {"codes": (self.writes_codes, 0.0), "dense_head": (self.has_dense_head, 1.0)}
        for name, (there, share) in parts.items():
            if there and share != whole and name not in lists:
                lists[name] = self.ranked_by(share)(histories, k, exclude_history=exclude_history)
        return lists

    def _lists(
        self, histories: Histories, k: int, **filters: Any
    ) -> dict[str, tuple[np.ndarray, ...]]:
        """The lists of `search`, by name, for any number of histories; filters as in `__call__`."""
        options = self.options
        if not 1 <= k <= options.beam:
            raise ValueError(f"k must lie between 1 and the beam width {options.beam}, got {k}")
        fusion, unseen, experts = None, None, None
        vectors, means, its_means = self._of_items()
        if self.experts is not None:
            experts = Experts(*self.experts, vectors if self.has_dense_head else None)
        elif vectors is not None and options.dense_share:
            alone = options.dense_share == 1
            fusion = Fusion(None if alone else jnp.float32(options.dense_share), vectors)
        if self._unseen_trie is not None:
            # The rounding guards against shares such as 0.3 of 10, which is 3 but for a bit.
            count = math.floor(options.unseen_share * k + 1e-9)
            share = jnp.float32(options.unseen_share)
            unseen = Unseen(self._unseen_trie, share, count, k, its_means)
        lists: dict[str, tuple[np.ndarray, ...]] = {}
        for rows, batch in self.batches(histories, **filters):
            ranked = search(
                self.structure,
                self.params,
                self.trie,
                self.catalogue,
                batch.inputs,
                Filters(batch.named, batch.allow),
                self._sampling(rows, len(batch.allow)),
                fusion,
                unseen,
                means,
                experts,
                beam=options.beam,
                normalise=options.normalise,
            )
            for name, answers in ranked.items():
                if name not in lists:
                    more = [x.shape[2:] for x in answers[2:]]
                    lists[name] = empty_lists(len(histories), k, *more)
                fill_lists(lists[name], rows, answers)
        self._drawn += len(histories)
        more = () if experts is None else ((len(self.expert_names),),)
        return lists or {"whole": empty_lists(0, k, *more)}

    def _of_items(self) -> tuple[jax.Array | None, Means | None, Means | None]:
        """What the parameters make of the items: their vectors, and the means in either trie.

        Made once for all calls, and None where nobody asks for it.
        """
        if self._prepared is not None and self._prepared[0] is self.params:
            return self._prepared[1]
        looks = self.structure.model(self.params).queries_ahead is not None
        prepared = None, None, None
        if self.options.dense_share or looks or (self.experts and self.has_dense_head):
            vectors = item_vectors(self.structure, self.params, self.catalogue)
            means, its_means = (
                _means_in(self._whole, trie, vectors, self.catalogue.seen)
                if looks and trie is not None
                else None
                for trie in (self.trie, self._unseen_trie)
            )
            prepared = vectors, means, its_means
        self._prepared = self.params, prepared
        return prepared

    def write(
        self, histories: Histories, codebook_sizes: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The codes most probable to come next after each history, whether an item has them or not.

        Args:
            codebook_sizes: K_l for each of the L levels.

        Returns:
            int32 (B, M, L) codes, best first, M being the beam width or the number of all tuples;
            float32 (B, M) scores, log-probabilities.

        Raises:
            ValueError: a history is empty.
        """
        beam = self.options.beam
        width = min(beam, math.prod(codebook_sizes))
        codes = np.zeros((len(histories), width, len(codebook_sizes)), np.int32)
        scores = np.zeros((len(histories), width), np.float32)
        for rows, batch in self.batches(histories):
            arguments = self.structure, self.params, self.catalogue, batch.inputs
            written = search_freely(*arguments, sizes=codebook_sizes, beam=beam)
            codes[rows], scores[rows] = (np.asarray(values)[: len(rows)] for values in written)
        return codes, scores

    def _sampling(self, rows: np.ndarray, size: int) -> Sampling | None:
        """Every history has a seed of its own: its number among all that were ever asked for."""
        temperature = self.options.temperature
        if temperature is None:
            return None
        levels = self.catalogue.codes.shape[1]
        each = temperature * levels if len(temperature) == 1 else temperature
        seeds = np.zeros(size, np.uint32)
        seeds[: len(rows)] = np.random.SeedSequence(self.options.seed).generate_state(1)
        seeds[: len(rows)] += (self._drawn + rows).astype(np.uint32)
        return Sampling(np.array(each, np.float32), seeds)

    @property
    def means(self) -> Means | None:
        """The means below the nodes of the trie, for a model that looks ahead; else None."""
        return self._of_items()[1]

    def vectors(self) -> jax.Array | None:
        """(N, D), the model's vectors of all items, for its dense head; None without one."""
        if not self.has_dense_head:
            return None
        return item_vectors(self.structure, self.params, self.catalogue)

    def batches(
        self, histories: Histories, **filters: Any
    ) -> Iterator[tuple[np.ndarray, RequestBatch]]:
        """See `request_batches`, which takes the filters; with progress."""
        batches = request_batches(histories, self.max_history, self.options.batch_size, **filters)
        if self.progress_name is None or len(histories) == 0:
            yield from batches
            return
        with progress(self.progress_name, len(histories), "user") as bar:
            for rows, batch in batches:
                yield rows, batch
                bar.advance(len(rows))
