"""What training minimises: the negative log-likelihood of every next item's codes."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from genrec.model import EncoderDecoder, Noise, causal_mask
from genrec.training.packing import Batch


def next_item_loss(
    model: EncoderDecoder,
    codes: Int[Array, "N L"],
    batch: Batch,
    noise: Noise | None,
) -> Float[Array, ""]:
    """Mean over targets of -log p(codes of the target | items up to here), in nats.

    One pass trains the prediction at every position of every packed history: position t of a
    segment reads the states up to t of that segment and writes the codes of the item that came
    next (teacher forcing). Slots that are not `filled` count for nothing.
    """
    items, targets, segments, filled = map(jnp.asarray, batch)
    mask = causal_mask(segments)
    states = model.encode(items, codes[items], mask, noise)
    target_codes = codes[targets]
    loss = jnp.zeros(targets.shape)
    for level, logits in enumerate(model.decode(target_codes, states, mask, noise)):
        loss += optax.softmax_cross_entropy_with_integer_labels(logits, target_codes[..., level])
    return jnp.where(filled, loss, 0.0).sum() / jnp.maximum(filled.sum(), 1)
