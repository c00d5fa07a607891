"""The residual-quantized variational autoencoder (RQ-VAE).

An encoder maps a vector to a latent vector; each level's codebook then quantizes the residual of
the levels before it, and the decoder maps the sum of the chosen codes back. Residual quantization
with learned codebooks is from Zeghidour et al. 2021 (SoundStream) and Lee et al. 2022 (RQ-VAE for
images); Rajput et al. 2023 (TIGER) made semantic IDs of it. Without encoder and decoder it is a
residual vector quantizer (RVQ).

Shapes: B batch, D width of the vectors, d latent width, L levels, K codebook size.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

_NEGLIGIBLE = 1e-4
"""A code is revived only for an error above this share of the residuals' mean square."""
_SINKHORN_ITERATIONS = 50


@dataclass(frozen=True)
class Objective:
    """How an RQ-VAE learns.

    Attributes:
        commitment: β, weight of the loss that keeps the encoder near its codes.
        gradient: how the decoder's gradient passes the quantizer on its way to the encoder:
            unchanged (straight-through), or rotated and scaled, level by level, like the quantizer
            rotates and scales a residual (rotation; Fifty et al. 2024, "Restructuring vector
            quantization with the rotation trick").
        ema_decay: codebooks follow the moving averages of the residuals that chose each code, with
            this decay (van den Oord et al. 2017, appendix A.1), instead of the codebook loss's
            gradient; None for the gradient.
        sinkhorn: ε of the entropic transport by which the last level's codes are shared out evenly
            within a batch (Zheng et al. 2024, "LC-Rec", section 3.2), the more evenly the larger;
            0: each item takes its nearest code. Only in training: an item's codes must not depend
            on the other items that are encoded with it.
        noise: standard deviation of the noise added to the encoder's input in training, while the
            decoder has to give the vector without it (Vincent et al. 2008, denoising autoencoders);
            the input has unit variance. With noise, codes describe unseen items nearly as well as
            those of the fit.
    """

    commitment: float = 0.25
    gradient: Literal["straight-through", "rotation"] = "straight-through"
    ema_decay: float | None = None
    sinkhorn: float = 0.0
    noise: float = 0.0


class Mlp(nnx.Module):
    """A linear map plus, if there are hidden layers, a multi-layer perceptron that starts at zero.

    Thanks to the linear map training begins at the principal components, with codebooks from
    residual k-means in their space, and does not have to learn the projection first.
    """

    def __init__(self, widths: Sequence[int], *, rngs: nnx.Rngs):
        self.linear = nnx.Linear(widths[0], widths[-1], use_bias=False, rngs=rngs)
        self.hidden = nnx.List(
            [nnx.Linear(a, b, rngs=rngs) for a, b in itertools.pairwise(widths[:-1])]
        )
        zeros = nnx.initializers.zeros_init()
        out = nnx.Linear(widths[-2], widths[-1], kernel_init=zeros, rngs=rngs)
        self.out = out if len(widths) > 2 else None

    def __call__(self, x: Float[Array, "B _"]) -> Float[Array, "B _"]:
        y = self.linear(x)
        for layer in self.hidden:
            x = nnx.relu(layer(x))
        return y if self.out is None else y + self.out(x)


class RqVae(nnx.Module):
    """Encoder, decoder and one codebook per level.

    Args:
        dim: D, width of the vectors.
        latent_dim: d, width of the latent vectors and of every code.
        hidden: widths of the encoder's hidden layers, which the decoder has in reverse; (): both
            are linear; None: there is neither, and the vectors are the latents.
    """

    def __init__(
        self,
        dim: int,
        latent_dim: int,
        hidden: Sequence[int] | None,
        codebook_sizes: Sequence[int],
        *,
        rngs: nnx.Rngs,
    ):
        if hidden is None and latent_dim != dim:
            raise ValueError("without an encoder the latents are as wide as the vectors")
        coder = hidden is not None
        self.encoder = Mlp([dim, *hidden, latent_dim], rngs=rngs) if coder else None
        self.decoder = Mlp([latent_dim, *reversed(hidden), dim], rngs=rngs) if coder else None
        # Zeros until k-means has been fitted to the latents.
        self.codebooks = nnx.List(
            [nnx.Param(jnp.zeros((size, latent_dim), jnp.float32)) for size in codebook_sizes]
        )

    def encode(self, x: Float[Array, "B D"]) -> Float[Array, "B d"]:
        return x if self.encoder is None else self.encoder(x)

    def decode(self, latents: Float[Array, "B d"]) -> Float[Array, "B D"]:
        return latents if self.decoder is None else self.decoder(latents)


def abstract_rqvae(
    dim: int, latent_dim: int, hidden: Sequence[int] | None, codebook_sizes: Sequence[int]
) -> RqVae:
    """The module with shapes in place of arrays; arguments as those of `RqVae`."""
    return jax.eval_shape(lambda: RqVae(dim, latent_dim, hidden, codebook_sizes, rngs=nnx.Rngs(0)))


class Quantized(NamedTuple):
    """A batch of latents after residual quantization."""

    codes: Int[Array, "B L"]
    """For each level the code nearest to the residual before it."""
    total: Float[Array, "B d"]
    """Sum of the chosen codes over the levels: the quantized latent."""
    residuals: Float[Array, "L+1 B d"]
    """The residual before each level; the last entry is the error that remains."""


class Losses(NamedTuple):
    """The loss of a batch, and its terms before they are weighted."""

    loss: Float[Array, ""]
    reconstruction: Float[Array, ""]
    codebook: Float[Array, ""]
    commitment: Float[Array, ""]


def quantize(
    codebooks: Sequence[Float[Array, "_ d"]], z: Float[Array, "B d"], sinkhorn: float = 0.0
) -> Quantized:
    """Chooses at each level the code nearest to the residual; the first of equally near ones.

    With `sinkhorn` above 0, the last level's codes are assigned by `balanced` instead.
    """
    codes, residuals, total = [], [z], jnp.zeros_like(z)
    for level, codebook in enumerate(codebooks, 1):
        # Full precision on every device: an accelerator's rounding would change an item's codes.
        products = jnp.matmul(residuals[-1], codebook.T, precision=jax.lax.Precision.HIGHEST)
        distances = jnp.sum(codebook**2, axis=1)[None, :] - 2 * products
        if sinkhorn and level == len(codebooks):
            distances += jnp.sum(residuals[-1] ** 2, axis=1, keepdims=True)
            distances = -balanced(distances, sinkhorn)
        code = jnp.argmin(distances, axis=1)
        chosen = codebook[code]
        codes.append(code)
        residuals.append(residuals[-1] - chosen)
        total = total + chosen
    return Quantized(jnp.stack(codes, axis=1).astype(jnp.int32), total, jnp.stack(residuals))


def balanced(distances: Float[Array, "B K"], epsilon: float) -> Float[Array, "B K"]:
    """The log of a transport plan from B items to K codes in which all codes get the same mass.

    Entropic optimal transport (Cuturi 2013) by Sinkhorn's iterations on logarithms. The distances
    are first scaled to -1…1, as in LC-Rec (Zheng et al. 2024); `epsilon` is the regularisation.
    """
    middle = (distances.max() + distances.min()) / 2
    plan = -(distances - middle) / (distances.max() - middle + 1e-5) / epsilon

    def rescale(_: Int[Array, ""] | int, plan: Array) -> Array:
        plan = plan - jax.nn.logsumexp(plan, axis=0, keepdims=True) - jnp.log(plan.shape[1])
        return plan - jax.nn.logsumexp(plan, axis=1, keepdims=True) - jnp.log(plan.shape[0])

    return jax.lax.fori_loop(0, _SINKHORN_ITERATIONS, rescale, plan)


def losses(
    model: RqVae, x: Float[Array, "B D"], objective: Objective, key: Array | None = None
) -> tuple[Losses, Quantized]:
    """The training loss: reconstruction + codebook term + β × commitment term.

    Each term is a squared error, averaged over the batch and *summed* over dimensions: a mean over
    dimensions would shrink the reconstruction relative to the other terms by the ratio of the
    widths, and the codebooks would collapse. The last two terms are sums over the levels (Rajput et
    al. 2023, section 3.1).

    Gradients: the encoder gets those of the reconstruction (by way of `objective.gradient`) and of
    the commitment term. A codebook gets only that of the codebook term, which pulls each code
    towards the residuals that chose it; none if codebooks follow moving averages.

    Args:
        key: for the noise; None for no noise.

    Returns:
        The losses, and the quantized latents.
    """
    stop = jax.lax.stop_gradient
    noise = jnp.zeros_like(x)
    if objective.noise > 0 and key is not None:
        noise = objective.noise * jax.random.normal(key, x.shape)
    z = model.encode(x + noise)
    codebooks = [codebook[...] for codebook in model.codebooks]
    if objective.ema_decay is not None:
        codebooks = [stop(codebook) for codebook in codebooks]
    quantized = quantize([stop(codebook) for codebook in codebooks], stop(z), objective.sinkhorn)
    codebook_term = commitment_term = jnp.zeros(())
    residual, by_rotation = z, jnp.zeros_like(z)
    for level, codebook in enumerate(codebooks):
        chosen = codebook[quantized.codes[:, level]]
        codebook_term += _squared_error(chosen, stop(residual))
        commitment_term += _squared_error(residual, stop(chosen))
        by_rotation += rotated(residual, stop(chosen))
        residual = residual - stop(chosen)
    straight = z + stop(quantized.total - z)
    latent = by_rotation if objective.gradient == "rotation" else straight
    reconstruction = _squared_error(model.decode(latent), x)
    loss = reconstruction + codebook_term + objective.commitment * commitment_term
    return Losses(loss, reconstruction, codebook_term, commitment_term), quantized


def rotated(z: Float[Array, "B d"], to: Float[Array, "B d"]) -> Float[Array, "B d"]:
    """Returns `to`, computed from `z` by the rotation and scaling that map `z` to `to`.

    The gradient treats this map as a constant, so on its way to `z` it is rotated and scaled too
    (Fifty et al. 2024, section 4.2). It is applied at each level of the residual quantizer.
    """
    stop = jax.lax.stop_gradient
    norm = jnp.linalg.norm(stop(z), axis=1, keepdims=True)
    length = jnp.linalg.norm(to, axis=1, keepdims=True)
    a, b = stop(z) / jnp.maximum(norm, 1e-6), stop(to) / jnp.maximum(length, 1e-6)
    between = a + b
    between /= jnp.maximum(jnp.linalg.norm(between, axis=1, keepdims=True), 1e-6)

    def dot(left: Array, right: Array) -> Array:
        return jnp.sum(left * right, axis=1, keepdims=True)

    image = z - 2 * dot(z, between) * between + 2 * dot(z, a) * b
    image *= length / jnp.maximum(norm, 1e-6)
    # Exactly `to` in value, also if a vector is zero or the two are opposite.
    return image + stop(to - image)


def revive(
    codebook: Float[Array, "K d"],
    counts: Int[Array, "K"],  # noqa: F821
    before: Float[Array, "B d"],
    after: Float[Array, "B d"],
) -> Float[Array, "K d"]:
    """Moves each dead code to a residual that has a large error (as Zeghidour et al. 2021).

    The first dead code is moved to the residual with the largest error, the second to the next, and
    so on, as long as the error is not negligible.

    Args:
        counts: how often each code was chosen lately; a code that never was is dead.
        before: the residuals before this level, for the items of a batch.
        after: their residuals after it.

    Returns:
        The codebook; codes in use are unchanged.
    """
    error = jnp.sum(after**2, axis=1)
    worst = jnp.argsort(-error)
    in_need = error[worst] > _NEGLIGIBLE * jnp.mean(jnp.sum(before**2, axis=1))
    dead = counts == 0
    turn = jnp.cumsum(dead) - 1
    candidate = jnp.clip(turn, 0, len(worst) - 1)
    moved = dead & (turn < len(worst)) & in_need[candidate]
    return jnp.where(moved[:, None], before[worst[candidate]], codebook)


class Average(NamedTuple):
    """Moving averages, per training step, of the residuals that chose each code of a level."""

    count: Float[Array, " K"]
    """The number of these residuals."""
    total: Float[Array, "K d"]
    """Their sum."""


def averages(codebooks: dict[int, Float[Array, "_ d"]], batch_size: int) -> dict[int, Average]:
    """Averages by level that give these codes, as if all codes had been chosen equally often."""
    shares = {level: batch_size / len(codebook) for level, codebook in codebooks.items()}
    return {
        level: Average(jnp.full(len(codebook), shares[level]), shares[level] * codebook)
        for level, codebook in codebooks.items()
    }


def follow(average: dict[int, Average], batch: Quantized, decay: float) -> dict[int, Average]:
    """The averages by level after one more batch."""
    after = {}
    for level, (count, total) in average.items():
        chosen = jax.nn.one_hot(batch.codes[:, level], len(count))
        after[level] = Average(
            decay * count + (1 - decay) * chosen.sum(axis=0),
            decay * total + (1 - decay) * chosen.T @ batch.residuals[level],
        )
    return after


def codebook_of(average: Average) -> Float[Array, "K d"]:
    """The codes of a level: each is the mean of the residuals that chose it."""
    return average.total / jnp.maximum(average.count, 1e-12)[:, None]


def _squared_error(a: Float[Array, "B d"], b: Float[Array, "B d"]) -> Float[Array, ""]:
    return jnp.mean(jnp.sum((a - b) ** 2, axis=-1))
