"""Fitting a tokenizer of the kind that the settings name."""

from typing import Any

import numpy as np

from genrec.checkpoints import Checkpoints
from genrec.config import TokenizerConfig
from genrec.tokenizer.kmeans import fit_rqkmeans
from genrec.tokenizer.product import fit_opq
from genrec.tokenizer.rqvae import Objective
from genrec.tokenizer.rqvae_training import fit_rqvae
from genrec.tokenizer.tokenizer import Tokenizer


def fit_tokenizer(
    vectors: np.ndarray,
    settings: TokenizerConfig,
    *,
    seed: int,
    checkpoints: Checkpoints | None = None,
) -> tuple[Tokenizer, list[dict[str, Any]]]:
    """Fits a tokenizer of the kind `settings.kind`.

    Args:
        vectors: float (N, D), finite; may be memory-mapped.
        checkpoints: see `fit_rqvae`; not used by the kinds without training.

    Returns:
        The tokenizer, and the history of its training; [] for the kinds without training.

    Raises:
        UserError: see `fit_rqvae` and `fit_opq`.
    """
    sizes = settings.codebook_sizes
    if settings.kind == "rqkmeans":
        return fit_rqkmeans(vectors, codebook_sizes=sizes, seed=seed), []
    if settings.kind == "opq":
        return fit_opq(vectors, codebook_sizes=sizes, seed=seed), []
    objective = Objective(
        commitment=settings.commitment,
        gradient=settings.gradient,
        ema_decay=settings.ema_decay if settings.codebooks == "ema" else None,
        sinkhorn=settings.sinkhorn,
        noise=settings.noise if settings.kind == "rqvae" else 0.0,
    )
    return fit_rqvae(
        vectors,
        codebook_sizes=sizes,
        latent_dim=settings.latent_dim,
        hidden=settings.hidden if settings.kind == "rqvae" else None,
        steps=settings.steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        objective=objective,
        collapse=settings.collapse,
        seed=seed,
        checkpoints=checkpoints,
    )
