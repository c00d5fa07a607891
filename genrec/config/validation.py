"""Which settings go together."""

from genrec.config.schema import Columns, Config
from genrec.errors import UserError


def check(config: Config) -> None:
    """Refuses settings that are well typed and make no sense.

    Raises:
        UserError: which setting, and what it must be.
    """
    model, training, tokenizer = config.model, config.training, config.tokenizer
    data, embedding, decoding = config.data, config.embedding, config.decoding
    levels = len(tokenizer.codebook_sizes) + (tokenizer.collisions == "code")
    rules = {
        "give one of data.dataset and data.interactions": (
            (data.dataset is None) != (data.interactions is None)
        ),
        "data.raw goes with data.dataset": data.raw is None or data.dataset is not None,
        "data.dataset says itself how its files are read: leave out data.items, data.columns, "
        "data.delimiter and data.timestamp_unit": data.dataset is None
        or (data.items, data.columns, data.delimiter, data.timestamp_unit)
        == (None, Columns(), None, "seconds"),
        "embedding.path goes with embedding.kind file, and only with it": (
            (embedding.path is not None) == (embedding.kind == "file")
        ),
        "tokenizer.codebook_sizes must name at least one size, each 2 or more": (
            len(tokenizer.codebook_sizes) > 0 and min(tokenizer.codebook_sizes) >= 2
        ),
        "data.min_rating goes with data.columns.rating": (
            data.dataset is not None or (data.min_rating is None) == (data.columns.rating is None)
        ),
        "data.held_out must lie in 0…0.5, both excluded": 0 < data.held_out < 0.5,
        "model.heads must divide model.d_model, or give model.head_dim": (
            model.head_dim is not None or model.d_model % max(model.heads, 1) == 0
        ),
        "model.user_tokens must not be below 0": model.user_tokens >= 0,
        "model.user_tokens goes with model.encoder bidirectional, where a row is one user's": (
            model.user_tokens == 0 or model.encoder == "bidirectional"
        ),
        "model.item_embedding, content and time_gaps go with model.tokens items": (
            model.tokens == "items"
            or not (model.item_embedding or model.content or model.time_gaps)
        ),
        "model.item_head goes with model.encoder causal": (
            not model.item_head or model.encoder == "causal"
        ),
        "model.codes false goes with model.item_head, item_embedding and tokens items, and with "
        "decoding.dense_share 1": (
            model.codes
            or (
                (model.item_head and model.item_embedding and model.tokens == "items")
                and decoding.dense_share == 1
            )
        ),
        "model.repeats goes with model.encoder causal, tokens items, and item_head or look_ahead": (
            not model.repeats
            or (
                (model.encoder == "causal" and model.tokens == "items")
                and (model.item_head or model.look_ahead)
            )
        ),
        "model.repeats goes without training.item_negatives": (
            not model.repeats or training.item_negatives is None
        ),
        "model.look_ahead goes with model.codes": model.codes or not model.look_ahead,
        "training.distillation goes with model.codes": training.distillation == 0 or model.codes,
        "training.accumulate must divide training.rows": (
            training.rows % max(training.accumulate, 1) == 0
        ),
        "training.row_length must be at least model.max_history": (
            training.row_length >= model.max_history
        ),
        "training.validation_beam must be at least 10": training.validation_beam >= 10,
        "tokenizer.cooccurrence must not be below 0": tokenizer.cooccurrence >= 0,
        "tokenizer.sinkhorn must not be below 0": tokenizer.sinkhorn >= 0,
        "tokenizer.commitment must not be below 0": tokenizer.commitment >= 0,
        "tokenizer.noise must not be below 0": tokenizer.noise >= 0,
        "tokenizer.ema_decay must lie between 0 and 1": 0 < tokenizer.ema_decay < 1,
        "tokenizer.collapse must lie in 0…1": 0 <= tokenizer.collapse <= 1,
        "tokenizer.gradient rotation goes with tokenizer.kind rqvae": (
            tokenizer.gradient == "straight-through" or tokenizer.kind == "rqvae"
        ),
        "tokenizer.codebooks ema and tokenizer.sinkhorn go with tokenizer.kind rqvae or rvq": (
            (tokenizer.codebooks == "gradient" and tokenizer.sinkhorn == 0)
            or tokenizer.kind in ("rqvae", "rvq")
        ),
        "decoding.dense_share must lie in 0…1": 0 <= decoding.dense_share <= 1,
        "decoding.dense_share goes with model.item_head": (
            decoding.dense_share == 0 or model.item_head
        ),
        "decoding.dense_share goes with decoding.normalise codes": (
            decoding.normalise == "codes" or decoding.dense_share == 0
        ),
        "decoding.temperature must name one temperature, or one for each level, all above 0": (
            decoding.temperature is None
            or (len(decoding.temperature) in (1, levels) and min(decoding.temperature) > 0)
        ),
        "decoding.unseen_share goes with model.codes": decoding.unseen_share == 0 or model.codes,
        "decoding.temperature goes without decoding.dense_share": (
            decoding.temperature is None or decoding.dense_share == 0
        ),
        "training.warmup must lie in 0…1": 0 <= training.warmup <= 1,
        "training.weight_decay must not be below 0": training.weight_decay >= 0,
        "training.item_loss must not be below 0": training.item_loss >= 0,
        "evaluation.top_k must name cut-offs from 1 on, one of them at most decoding.beam": (
            len(config.evaluation.top_k) > 0 and 1 <= min(config.evaluation.top_k) <= decoding.beam
        ),
    }
    shares = {
        "model.dropout": model.dropout,
        "model.attention_dropout": model.attention_dropout,
        "model.decoder_dropout": model.decoder_dropout or 0.0,
        "training.label_smoothing": training.label_smoothing,
        "training.average": training.average,
        "decoding.unseen_share": decoding.unseen_share,
    }
    distilled = training.distillation + training.label_smoothing
    rules |= {
        "training.distillation goes with model.item_head, without training.item_negatives": (
            training.distillation == 0
            or (model.item_head and training.item_loss > 0 and training.item_negatives is None)
        ),
        "training.distillation and training.label_smoothing must lie in 0…1 together": (
            training.distillation >= 0 and distilled <= 1
        ),
    }
    rules |= {
        f"{name} must lie in 0…1, 1 excluded": 0 <= value < 1 for name, value in shares.items()
    }
    positive = {
        "data.k_core": data.k_core,
        "data.max_interactions": 1 if data.max_interactions is None else data.max_interactions,
        "embedding.dim": embedding.dim,
        "tokenizer.latent_dim": tokenizer.latent_dim,
        "tokenizer.steps": tokenizer.steps,
        "tokenizer.batch_size": tokenizer.batch_size,
        "model.d_model": model.d_model,
        "model.encoder_layers": model.encoder_layers,
        "model.decoder_layers": model.decoder_layers,
        "model.heads": model.heads,
        "model.d_ff": model.d_ff,
        "model.max_history": model.max_history,
        "training.epochs": training.epochs,
        "training.rows": training.rows,
        "training.accumulate": training.accumulate,
        "training.fsdp": training.fsdp,
        "training.checkpoint_every": training.checkpoint_every,
        "training.patience": 1 if training.patience is None else training.patience,
        "training.item_negatives": (
            1 if training.item_negatives is None else training.item_negatives
        ),
        "data.memory_gib": data.memory_gib,
        "model.head_dim": 1 if model.head_dim is None else model.head_dim,
        "training.learning_rate": training.learning_rate,
        "training.clip": training.clip,
        "training.validate_every": training.validate_every,
        "training.validation_users": training.validation_users,
        "decoding.beam": decoding.beam,
        "decoding.batch_size": decoding.batch_size,
        "evaluation.neighbours": config.evaluation.neighbours,
    }
    rules |= {f"{name} must be above 0": value > 0 for name, value in positive.items()}
    for rule, kept in rules.items():
        if not kept:
            raise UserError(rule)
