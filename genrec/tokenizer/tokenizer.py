"""The fitted tokenizer: vectors to codes and back, in bounded memory; its folder."""

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int
from orbax.checkpoint import v1 as ocp

from genrec.checkpoints.checksum import kinds
from genrec.checkpoints.orbax_noise import hush_leftovers
from genrec.errors import UserError, reason
from genrec.storage.files import read_json, write_json
from genrec.tokenizer.rqvae import abstract_rqvae, quantize
from genrec.tokenizer.vectors import in_chunks

_MOST_LAYERS, _WIDEST = 64, 1 << 24


@dataclass(frozen=True)
class Tokenizer:
    """A residual quantizer with fixed codebooks, and the centre and scale of its input.

    An RQ-VAE has an encoder before the codebooks and a decoder behind them; residual k-means and
    residual vector quantization have neither. In product quantization encoder and decoder are a
    rotation, and each codebook is zero outside its part of the vector.

    Attributes:
        params: the parameters of `RqVae`, a tree of float32 arrays.
        mean: float32 (D,), subtracted from a vector before it is encoded.
        scale: root mean square of the centred vectors' entries, by which they are divided.
        hidden: widths of the encoder's hidden layers; None where there is no encoder.
        latent_dim: d, width of the latent vectors.
    """

    params: Any
    mean: np.ndarray
    scale: float
    hidden: tuple[int, ...] | None
    latent_dim: int
    codebook_sizes: tuple[int, ...]

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """The codes of each vector, before collisions are resolved.

        Args:
            vectors: float (N, D).

        Returns:
            int32 (N, L), `codes[:, l]` in 0…K_l - 1.

        Raises:
            UserError: the vectors have another width than those the tokenizer was fitted to.
        """
        if vectors.ndim != 2 or vectors.shape[1] != len(self.mean):
            raise UserError(
                f"the tokenizer was fitted to vectors of width {len(self.mean)}; these have shape "
                f"{vectors.shape}: use the same embedding for both"
            )
        graph = structure_of(self)
        parts = []
        for chunk, count in in_chunks(vectors):
            x = (chunk - self.mean) / np.float32(self.scale)
            parts.append(np.asarray(codes_of(graph, self.params, x))[:count])
        return np.concatenate([np.zeros((0, len(self.codebook_sizes)), np.int32), *parts])

    def distances(self, vectors: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """How far each vector is, in the latent space, from every code of the last level.

        Args:
            vectors: float (N, D).
            codes: integers (N, L), the vectors' codes; that of the last level is not used.

        Returns:
            float32 (N, K_L): squared distances.
        """
        graph, parts = structure_of(self), []
        chunks = zip(in_chunks(vectors), in_chunks(codes, np.int32), strict=True)
        for (chunk, count), (their_codes, _) in chunks:
            x = (chunk - self.mean) / np.float32(self.scale)
            parts.append(np.asarray(distances_of(graph, self.params, x, their_codes))[:count])
        return np.concatenate([np.zeros((0, self.codebook_sizes[-1]), np.float32), *parts])

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """The vector that each tuple of codes stands for.

        Args:
            codes: integers (N, 1…L), without a disambiguation code. Codes of fewer than L levels
                give what these levels alone stand for.

        Returns:
            float32 (N, D).
        """
        graph = structure_of(self)
        parts = [
            np.asarray(_decode(graph, self.params, chunk))[:count] * np.float32(self.scale)
            + self.mean
            for chunk, count in in_chunks(codes, np.int32)
        ]
        return np.concatenate([np.zeros((0, len(self.mean)), np.float32), *parts])


def save_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Writes `folder/parameters` (Orbax) and then `folder/tokenizer.json` (shapes and scale)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").unlink(missing_ok=True)
    arrays = {"params": tokenizer.params, "mean": jnp.asarray(tokenizer.mean)}
    hush_leftovers()
    ocp.save(str(folder.absolute() / "parameters"), arrays, overwrite=True)
    write_json(
        folder / "tokenizer.json",
        {
            "dim": len(tokenizer.mean),
            "scale": tokenizer.scale,
            "hidden": None if tokenizer.hidden is None else list(tokenizer.hidden),
            "latent_dim": tokenizer.latent_dim,
            "codebook_sizes": list(tokenizer.codebook_sizes),
        },
    )


def load_tokenizer(folder: Path) -> Tokenizer:
    """Reads what `save_tokenizer` wrote.

    Raises:
        UserError: the folder holds no tokenizer, or one that cannot be read.
    """
    if not (folder / "tokenizer.json").exists():
        raise UserError(f"{folder} holds no tokenizer: run `genrec tokenize` first")
    try:
        shapes = read_json(folder / "tokenizer.json")
        sizes = _widths(shapes["codebook_sizes"])
        hidden = None if shapes["hidden"] is None else _widths(shapes["hidden"])
        dim, latent_dim = _widths([shapes["dim"], shapes["latent_dim"]])
        scale = float(shapes["scale"])
        if not sizes or not 0 < scale < math.inf:
            raise ValueError("tokenizer.json has no levels, or a scale that is not above 0")
        module = abstract_rqvae(dim, latent_dim, hidden, sizes)
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.float32, sharding=device),
            {
                "params": nnx.as_pure(nnx.state(module, nnx.Param)),
                "mean": jax.ShapeDtypeStruct((dim,), jnp.float32),
            },
        )
        parameters = str(folder.absolute() / "parameters")
        hush_leftovers()
        # Compared before loading: Orbax would notice a difference only halfway through.
        if kinds(ocp.metadata(parameters).metadata) != kinds(abstract):
            raise ValueError("its parameters do not have the shapes in tokenizer.json")
        arrays = ocp.load(parameters, abstract)
    except Exception as error:  # Orbax and TensorStore have many kinds
        raise UserError(f"the tokenizer in {folder} cannot be read: {reason(error)}") from error
    return Tokenizer(arrays["params"], np.asarray(arrays["mean"]), scale, hidden, latent_dim, sizes)


@functools.partial(jax.jit, static_argnums=0)
def codes_of(graph: Any, params: Any, x: Float[Array, "B D"]) -> Int[Array, "B L"]:
    """The codes of centred and scaled vectors; `graph` is from `structure_of`."""
    model = nnx.merge(graph, params)
    return quantize([codebook[...] for codebook in model.codebooks], model.encode(x)).codes


@functools.partial(jax.jit, static_argnums=0)
def distances_of(
    graph: Any, params: Any, x: Float[Array, "B D"], codes: Int[Array, "B L"]
) -> Float[Array, "B K"]:
    """The squared latent distance of each vector, centred and scaled, from every code of the last
    level; of its own `codes`, that of the last level is not used."""
    model = nnx.merge(graph, params)
    residual = model.encode(x)
    *before, last = [codebook[...] for codebook in model.codebooks]
    for level, codebook in enumerate(before):
        residual = residual - codebook[codes[:, level]]
    products = jnp.matmul(residual, last.T, precision=jax.lax.Precision.HIGHEST)
    squares = jnp.sum(residual**2, axis=1)[:, None] + jnp.sum(last**2, axis=1)[None, :]
    return jnp.maximum(squares - 2 * products, 0.0)


@functools.partial(jax.jit, static_argnums=0)
def _decode(graph: Any, params: Any, codes: Int[Array, "B L"]) -> Float[Array, "B D"]:
    model = nnx.merge(graph, params)
    levels = enumerate(list(model.codebooks)[: codes.shape[1]])
    chosen = [codebook[...][codes[:, level]] for level, codebook in levels]
    return model.decode(sum(chosen[1:], start=chosen[0]))


def _widths(values: Any) -> tuple[int, ...]:
    """Checks widths of layers or sizes of codebooks; ValueError for impossible ones."""
    if not isinstance(values, list) or len(values) > _MOST_LAYERS:
        raise ValueError("tokenizer.json does not list widths")
    if not all(type(value) is int and 0 < value <= _WIDEST for value in values):
        raise ValueError("tokenizer.json has an impossible width")
    return tuple(values)


def structure_of(tokenizer: Tokenizer) -> Any:
    """The static description of the tokenizer's module, for `nnx.merge` with its parameters."""
    dim, sizes = len(tokenizer.mean), tokenizer.codebook_sizes
    return _structure(dim, tokenizer.latent_dim, tokenizer.hidden, sizes)


@functools.cache  # it takes longer to make than a batch takes to be decoded
def _structure(
    dim: int, latent_dim: int, hidden: tuple[int, ...] | None, codebook_sizes: tuple[int, ...]
) -> Any:
    return nnx.graphdef(abstract_rqvae(dim, latent_dim, hidden, codebook_sizes))
