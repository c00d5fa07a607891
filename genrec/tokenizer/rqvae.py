"""The residual-quantized variational autoencoder (RQ-VAE).

An encoder maps a vector to a latent one; each level's codebook then quantizes what the levels
before it left over, and the decoder maps the sum of the chosen codes back. Residual quantization
with learned codebooks is from Zeghidour et al. 2021 (SoundStream) and Lee et al. 2022 (RQ-VAE for
images); Rajput et al. 2023 (TIGER) made semantic IDs of it.

Shapes: B batch, D width of the vectors, d latent width, L levels, K codebook size.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

_SERVED = 1e-4
"""An item is served when its error is below this share of the mean square of the residuals."""


class Mlp(nnx.Module):
    """A linear map plus a multi-layer perceptron that starts at zero.

    The linear part lets training begin from the principal components, so from residual k-means in
    their space, instead of first having to learn what a projection gives.
    """

    def __init__(self, widths: Sequence[int], *, rngs: nnx.Rngs):
        self.linear = nnx.Linear(widths[0], widths[-1], use_bias=False, rngs=rngs)
        self.hidden = nnx.List(
            [nnx.Linear(a, b, rngs=rngs) for a, b in itertools.pairwise(widths[:-1])]
        )
        zeros = nnx.initializers.zeros_init()
        self.out = nnx.Linear(widths[-2], widths[-1], kernel_init=zeros, rngs=rngs)

    def __call__(self, x: Float[Array, "B _"]) -> Float[Array, "B _"]:
        y = self.linear(x)
        for layer in self.hidden:
            x = nnx.relu(layer(x))
        return y + self.out(x)


class RqVae(nnx.Module):
    """Encoder, decoder and one codebook per level.

    Args:
        dim: D, width of the vectors.
        latent_dim: d, width of the latent vectors and of every code.
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse.
        codebook_sizes: K_l for each of the L levels.
    """

    def __init__(
        self,
        dim: int,
        latent_dim: int,
        hidden: Sequence[int],
        codebook_sizes: Sequence[int],
        *,
        rngs: nnx.Rngs,
    ):
        self.encoder = Mlp([dim, *hidden, latent_dim], rngs=rngs)
        self.decoder = Mlp([latent_dim, *reversed(hidden), dim], rngs=rngs)
        # Zeros until k-means has seen the latents: nothing else knows a good place for a code.
        self.codebooks = nnx.List(
            [nnx.Param(jnp.zeros((size, latent_dim), jnp.float32)) for size in codebook_sizes]
        )


class Quantized(NamedTuple):
    """What residual quantization found for a batch of latents."""

    codes: Int[Array, "B L"]
    """The code of each level that is nearest to what was left over before it."""
    total: Float[Array, "B d"]
    """Sum of the chosen codes over the levels: the quantized latent."""
    residuals: Float[Array, "L+1 B d"]
    """What was left over before each level; the last entry is what no level caught."""


class Losses(NamedTuple):
    """The loss of a batch and its terms, before weighting."""

    loss: Float[Array, ""]
    reconstruction: Float[Array, ""]
    codebook: Float[Array, ""]
    commitment: Float[Array, ""]


def quantize(codebooks: Sequence[Float[Array, "_ d"]], z: Float[Array, "B d"]) -> Quantized:
    """At each level the code nearest to what the levels before left over; the first of equals."""
    codes, residuals, total = [], [z], jnp.zeros_like(z)
    for codebook in codebooks:
        # Full precision everywhere: rounding on an accelerator would give an item other codes.
        products = jnp.matmul(residuals[-1], codebook.T, precision=jax.lax.Precision.HIGHEST)
        code = jnp.argmin(jnp.sum(codebook**2, axis=1)[None, :] - 2 * products, axis=1)
        chosen = codebook[code]
        codes.append(code)
        residuals.append(residuals[-1] - chosen)
        total = total + chosen
    return Quantized(jnp.stack(codes, axis=1).astype(jnp.int32), total, jnp.stack(residuals))


def losses(
    model: RqVae, x: Float[Array, "B D"], commitment: float | Float[Array, ""]
) -> tuple[Losses, Quantized]:
    """The training loss: reconstruction + codebook term + `commitment` × commitment term.

    Each is a squared error averaged over the batch and *summed* over dimensions: a mean over them
    would shrink the reconstruction beside the other terms by the ratio of the widths, and the
    codebooks collapse. The two last terms have one summand per level (Rajput et al. 2023, section
    3.1). The encoder gets the reconstruction's gradient as if the quantizer were the identity
    (straight-through), and the commitment's. A codebook gets only the codebook term's, which pulls
    each code towards the residuals that chose it.
    """
    stop = jax.lax.stop_gradient
    z = model.encoder(x)
    codebooks = [codebook[...] for codebook in model.codebooks]
    found = quantize([stop(codebook) for codebook in codebooks], stop(z))
    reconstruction = _squared_error(model.decoder(z + stop(found.total - z)), x)
    codebook_term = commitment_term = jnp.zeros(())
    left = z
    for level, codebook in enumerate(codebooks):
        chosen = codebook[found.codes[:, level]]
        codebook_term += _squared_error(chosen, stop(left))
        commitment_term += _squared_error(left, stop(chosen))
        left = left - stop(chosen)
    loss = reconstruction + codebook_term + commitment * commitment_term
    return Losses(loss, reconstruction, codebook_term, commitment_term), found


def revive(
    codebook: Float[Array, "K d"],
    counts: Int[Array, "K"],  # noqa: F821
    before: Float[Array, "B d"],
    after: Float[Array, "B d"],
) -> Float[Array, "K d"]:
    """Moves each dead code to a residual that its level serves badly (as Zeghidour et al. 2021).

    Args:
        codebook: the codes of a level.
        counts: how often each code was chosen lately; a code with none is dead.
        before: what was left over before this level, for the items of a batch.
        after: what was left over after it. The worst-served item's residual replaces the first
            dead code, the next one's the second, and so on; items that are served almost exactly
            need no code of their own.

    Returns:
        The codebook; codes in use are unchanged.
    """
    error = jnp.sum(after**2, axis=1)
    worst = jnp.argsort(-error)
    needy = error[worst] > _SERVED * jnp.mean(jnp.sum(before**2, axis=1))
    dead = counts == 0
    turn = jnp.cumsum(dead) - 1
    candidate = jnp.clip(turn, 0, len(worst) - 1)
    moved = dead & (turn < len(worst)) & needy[candidate]
    return jnp.where(moved[:, None], before[worst[candidate]], codebook)


def _squared_error(a: Float[Array, "B d"], b: Float[Array, "B d"]) -> Float[Array, ""]:
    return jnp.mean(jnp.sum((a - b) ** 2, axis=-1))
