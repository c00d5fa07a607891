"""The parts of a transformer: attention, feed-forward, relative positions, dropout.

Array shapes, here and in the modules beside it: B batch, T positions, L levels, D model width,
H heads, W width of a head, Q queries, V output width.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, UInt32

# Layers begin as the identity: noise from all of them would drown the tokens in the stream.
zeros = nnx.initializers.zeros_init()


def identity(key: Array, shape: tuple[int, ...], dtype: DTypeLike = "float32", **_) -> Array:
    """An initializer of kernels that leave their input as it is."""
    return jnp.eye(*shape, dtype=dtype)


class Noise:
    """Dropout masks for one call of a model, drawn by hashing a counter.

    Each use during a trace gets a stream of its own. A hash of the element's number is about
    seventy times cheaper on a CPU than `jax.random.bernoulli`, and fuses into the computation
    around it.
    """

    def __init__(self, seed: UInt32[Array, ""]):
        self._seed = seed
        self._streams = 0

    def dropout(self, x: Float[Array, "..."], rate: float) -> Float[Array, "..."]:
        """Zeroes a share `rate` of the elements and scales the others by 1 / (1 - rate)."""
        if rate == 0.0:
            return x
        self._streams += 1
        stream = _hash(self._seed + jnp.uint32(self._streams * 0x9E3779B9 % 2**32))
        number = jax.lax.iota(jnp.uint32, x.size).reshape(x.shape)
        kept = _hash(number ^ stream) >= jnp.uint32(round(rate * 2**32))
        return jnp.where(kept, x / (1.0 - rate), 0.0).astype(x.dtype)


def dropout(x: Float[Array, "..."], rate: float, noise: Noise | None) -> Float[Array, "..."]:
    """Dropout under `noise`, or nothing without it."""
    return x if noise is None else noise.dropout(x, rate)


def _hash(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """A bijection of 32-bit integers in which every input bit reaches every output bit.

    The constants are the "lowbias32" ones of Chris Wellons' hash prospector (public domain).
    """
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


class Embedding(nnx.Embed):
    """A table of vectors of about unit entries, kept at 1/√D and scaled up (Vaswani et al. 2017).

    The optimiser moves every parameter by about the learning rate, so the scale lets a token's
    vector move √D times faster than a weight: a quick start where each token is seen only rarely.

    Args:
        scale: standard deviation of the entries at first.
    """

    def __init__(
        self, count: int, d_model: int, *, scale: float = 1.0, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        init = nnx.initializers.normal(scale * d_model**-0.5) if scale else zeros
        super().__init__(count, d_model, embedding_init=init, dtype=dtype, rngs=rngs)

    def __call__(self, inputs: Int[Array, "..."]) -> Float[Array, "... D"]:
        # Rounded after it is looked up, so that the gradients of a token, of which there may be
        # thousands, are added up in float32: in bfloat16, small ones would be lost.
        vectors = jnp.take(self.embedding[...], inputs, axis=0)
        return vectors.astype(self.dtype) * self.features**0.5


class Linear(nnx.Linear):
    """A linear map without bias whose weight gradient is laid out for a CPU (see `_multiply`)."""

    def __init__(self, inputs: int, outputs: int, **settings):
        super().__init__(inputs, outputs, use_bias=False, **settings)

    def __call__(self, inputs: Float[Array, "... D"]) -> Float[Array, "... V"]:
        x, kernel = self.promote_dtype((inputs, self.kernel[...]), dtype=self.dtype)
        return _multiply(self.preferred_element_type, x, kernel)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _multiply(
    dtype: DTypeLike | None, x: Float[Array, "... D"], kernel: Float[Array, "D V"]
) -> Float[Array, "... V"]:
    """x @ kernel, in a type of number, or in the type of the factors.

    The kernel's gradient is a product over all positions, for which one factor must be transposed.
    JAX always takes the gradient's side; where that is the wide one, transposing it costs a CPU
    more than the product. Here it is the narrower one.
    """
    return jnp.matmul(x, kernel, preferred_element_type=dtype)


def _multiply_backward(_: Any, saved: Any, gradient: Array) -> tuple[Array, Array]:
    x, kernel = saved
    gradient = gradient.astype(kernel.dtype)
    rows, change = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
    narrow_input = x.shape[-1] <= gradient.shape[-1]
    of_kernel = rows.T @ change if narrow_input else (change.T @ rows).T
    return gradient @ kernel.T, of_kernel


_multiply.defvjp(
    lambda dtype, x, kernel: (_multiply(dtype, x, kernel), (x, kernel)), _multiply_backward
)


class FeedForward(nnx.Module):
    """Two linear maps with a ReLU between them (Vaswani et al. 2017, equation 2)."""

    def __init__(self, d_model: int, d_ff: int, rate: float, *, dtype: DTypeLike, rngs: nnx.Rngs):
        linear = {"dtype": dtype, "rngs": rngs}
        self.up = Linear(d_model, d_ff, **linear)
        self.down = Linear(d_ff, d_model, kernel_init=zeros, **linear)
        self.rate = rate

    def __call__(self, x: Float[Array, "... D"], noise: Noise | None) -> Float[Array, "... D"]:
        return self.down(dropout(jax.nn.relu(self.up(x)), self.rate, noise))


def split_heads(x: Float[Array, "B T D"], heads: int) -> Float[Array, "B H T W"]:
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


def join_heads(x: Float[Array, "B H T W"]) -> Float[Array, "B T D"]:
    x = x.swapaxes(1, 2)
    return x.reshape(*x.shape[:2], -1)


_HIDDEN = -1e30
"""The score of a masked key: its weight is exactly 0, as from -inf, if another key is not masked;
but a row of -inf would be NaN."""


def attend(
    query: Float[Array, "B H Q W"],
    key: Float[Array, "B H T W"],
    value: Float[Array, "B H T W"],
    mask: Bool[Array, "B 1 Q T"],
    bias: Float[Array, "1 H Q T"] | None = None,
    *,
    rate: float = 0.0,
    noise: Noise | None = None,
) -> Float[Array, "B H Q W"]:
    """Scaled dot-product attention.

    A query without any key under its mask gets values that mean nothing, but they are finite, and
    so are the gradients. `rate` is the share of the attention weights that `noise` drops.
    """
    # The query is smaller than the scores, so scaling it is cheaper.
    query = query * query.shape[-1] ** -0.5
    scores = jnp.einsum("bhqc,bhsc->bhqs", query, key, preferred_element_type=jnp.float32)
    if bias is not None:
        scores = _add_bias(scores, bias)
    weights = jax.nn.softmax(jnp.where(mask, scores, _HIDDEN), axis=-1).astype(value.dtype)
    return jnp.einsum("bhqs,bhsc->bhqc", dropout(weights, rate, noise), value)


@jax.custom_vjp
def _add_bias(scores: Float[Array, "B H Q T"], bias: Float[Array, "1 H Q T"]) -> Array:
    """scores + bias, with the bias's gradient as a product with ones.

    XLA's sum over the first axis takes a CPU several times as long as reading the array does.
    """
    return scores + bias


def _add_bias_backward(_: None, gradient: Array) -> tuple[Array, Array]:
    rows = gradient.reshape(gradient.shape[0], -1)
    of_bias = jnp.ones((1, rows.shape[0]), rows.dtype) @ rows
    return gradient, of_bias.reshape(1, *gradient.shape[1:])


_add_bias.defvjp(lambda scores, bias: (scores + bias, None), _add_bias_backward)


class RelativePositions(nnx.Module):
    """A learned bias for every head and distance between positions (Raffel et al. 2020, §2.1).

    Short distances have a bias each; longer ones share buckets, logarithmically up to 128. A causal
    encoder needs no buckets for the future; a bidirectional one has half of them for it.
    """

    buckets, furthest = 32, 128

    def __init__(self, heads: int, *, bidirectional: bool, rngs: nnx.Rngs):
        self.bidirectional = bidirectional
        self.bias = nnx.Embed(self.buckets, heads, embedding_init=zeros, rngs=rngs)

    def __call__(self, length: Any) -> Float[Array, "1 H T T"]:
        """The bias of query position q for key position s; in a causal encoder only for s ≤ q.

        `length` is an int, or a dimension that stays open while a program is exported.
        """
        position = jnp.arange(length)
        offset = position[None, :] - position[:, None]
        if not self.bidirectional:
            bucket = _bucket(jnp.maximum(-offset, 0), self.buckets, self.furthest)
        else:
            half = self.buckets // 2
            bucket = _bucket(jnp.abs(offset), half, self.furthest) + jnp.where(offset > 0, half, 0)
        return self.bias(bucket).transpose(2, 0, 1)[None]


def _bucket(distance: Int[Array, "T T"], buckets: int, furthest: int) -> Int[Array, "T T"]:
    """One bucket for each of the shorter distances, half of all; the others share the rest."""
    exact = buckets // 2
    share = jnp.log(jnp.maximum(distance, 1) / exact) / math.log(furthest / exact)
    far = exact + (share * (buckets - exact)).astype(jnp.int32)
    return jnp.where(distance < exact, distance, jnp.minimum(far, buckets - 1))
