"""The loss: the negative log-likelihood of every next item's codes, and what may be added to it.

Array shapes: B rows, Q targets of a row, V items scored.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from genrec.model import Encoded, EncoderDecoder, Noise
from genrec.model.look_ahead import candidates_on_path
from genrec.semantic_ids.trie import Trie, means_below
from genrec.sequences.inputs import Catalogue
from genrec.sequences.packing import Batch
from genrec.training.distillation import next_code_shares


class Loss(NamedTuple):
    """Sums over targets, so that those of parts of a batch add up.

    Attributes:
        total: what is minimised.
        codes: its part that is -log p(codes of the target | history), in nats, unsmoothed.
        targets: how many targets there were.
    """

    total: Float[Array, ""]
    codes: Float[Array, ""]
    targets: Float[Array, ""]


def next_item_loss(
    model: EncoderDecoder,
    catalogue: Catalogue,
    batch: Batch,
    noise: Noise | None,
    *,
    every_prefix: bool,
    label_smoothing: float = 0.0,
    item_loss: float = 0.0,
    negatives: Int[Array, " V"] | None = None,
    distillation: float = 0.0,
    trie: Trie | None = None,
) -> Loss:
    """The loss of a batch.

    With `every_prefix`, one pass trains the prediction at every slot of every packed history: slot
    t of a segment reads the states up to t of that segment and writes the codes of the item that
    came next (teacher forcing).

    Args:
        label_smoothing: share of the target distribution that is spread over all codes of a level.
        item_loss: weight of the dense head's cross-entropy over items.
        negatives: the items that the dense head tells the target from; None for all.
        distillation: share of a code's target that is what the dense head expects after the codes
            before it, see `genrec.training.distillation`; needs the trie, and no `negatives`.
        trie: all items that may be targets, by their codes; for distillation, and for a model that
            looks ahead.
    """
    encoded = model.encode(batch.inputs, catalogue, every_position=every_prefix, noise=noise)
    targets, wanted = jnp.asarray(batch.targets), jnp.asarray(batch.wanted)
    target_codes = jnp.asarray(catalogue.codes)[targets]
    levels = len(model.codes)
    dense, shares = jnp.zeros(targets.shape), None
    if item_loss and distillation:
        assert trie is not None
        scores = _scores(model, catalogue, encoded, jnp.maximum(trie.item, 0))
        scores = jnp.where(trie.item >= 0, scores, -jnp.inf)
        scores = model.with_repeat_bias(scores, encoded, trie.leaf)
        leaves = trie.leaf[targets]
        dense = optax.softmax_cross_entropy_with_integer_labels(scores, leaves)
        shares = next_code_shares(jax.lax.stop_gradient(scores), leaves, trie, levels)
    elif item_loss:
        dense = _item_loss(model, catalogue, encoded, targets, negatives)
    candidates, chosen = None, [target_codes[..., level] for level in range(levels)]
    if model.queries_ahead is not None:
        assert trie is not None
        every = model.item_vectors(jnp.arange(len(catalogue.codes)), catalogue)
        means = means_below(trie, every)
        candidates, chosen = candidates_on_path(
            trie, means, trie.leaf[targets], levels, encoded.history_items
        )
    codes, total = jnp.zeros(targets.shape), item_loss * dense
    for level, logits in enumerate(model.decode(target_codes, encoded, noise, candidates)):
        log_p = jax.nn.log_softmax(logits)
        hard = -jnp.take_along_axis(log_p, chosen[level][..., None], axis=-1)[..., 0]
        codes += hard
        total += (1 - label_smoothing - distillation) * hard
        if label_smoothing:
            possible = jnp.isfinite(log_p)
            total -= label_smoothing * jnp.where(possible, log_p, 0.0).sum(-1) / possible.sum(-1)
        if shares is not None:
            children, share = shares[level]
            if candidates is None or level == 0:
                log_p = jnp.take_along_axis(log_p, children.code, axis=-1, mode="clip")
            total -= distillation * (share * jnp.where(children.valid, log_p, 0.0)).sum(-1)
    return Loss(_sum(total, wanted), _sum(codes, wanted), wanted.sum().astype(jnp.float32))


def _item_loss(
    model: EncoderDecoder,
    catalogue: Catalogue,
    encoded: Encoded,
    targets: Int[Array, "B Q"],
    negatives: Int[Array, " V"] | None,
) -> Float[Array, "B Q"]:
    """Cross-entropy of the dense head, over all items or over the target and sampled negatives."""
    assert encoded.start is not None
    if negatives is None:
        every = jnp.arange(catalogue.codes.shape[0])
        scores = model.with_repeat_bias(_scores(model, catalogue, encoded, every), encoded)
        return optax.softmax_cross_entropy_with_integer_labels(scores, targets)
    scores = _scores(model, catalogue, encoded, negatives)
    target = model.score_targets(encoded.start, targets, catalogue)
    # A negative that is the target by chance would be pushed down and pulled up at once.
    scores = jnp.where(negatives[None, None] == targets[..., None], -jnp.inf, scores)
    return jax.nn.logsumexp(jnp.concatenate([target[..., None], scores], -1), axis=-1) - target


def _scores(
    model: EncoderDecoder, catalogue: Catalogue, encoded: Encoded, items: Int[Array, " V"]
) -> Float[Array, "B Q V"]:
    """The dense head's logits of some items; -inf for those that were never seen.

    An item that is never a target would only ever be pushed down, and with it all that is new.
    """
    assert encoded.start is not None
    scores = model.score_vectors(encoded.start, model.item_vectors(items, catalogue))
    if catalogue.seen is None:
        return scores
    return jnp.where(jnp.asarray(catalogue.seen)[items][None, None], scores, -jnp.inf)


def _sum(values: Float[Array, "B Q"], wanted: Bool[Array, "B Q"]) -> Float[Array, ""]:
    return jnp.where(wanted, values, 0.0).sum()
