"""Which settings go together. What each may be alone stands with it, in the schema."""

from genrec.config.bounds import check_bounds
from genrec.config.schema import Columns, Config
from genrec.errors import UserError


def check(config: Config) -> None:
    """Refuses settings that are well typed and make no sense.

    Raises:
        UserError: which setting, and what it must be.
    """
    check_bounds(config)
    for rules_of in (_data_rules, _tokenizer_rules, _model_rules, _list_rules):
        for rule, kept in rules_of(config).items():
            if not kept:
                raise UserError(rule)


def _data_rules(config: Config) -> dict[str, bool]:
    data, embedding = config.data, config.embedding
    known = data.dataset is not None
    how_read = (data.items, data.columns, data.delimiter, data.timestamp_unit)
    return {
        "give one of data.dataset and data.interactions": known == (data.interactions is None),
        "data.raw goes with data.dataset": known or data.raw is None,
        "data.dataset says itself how its files are read: leave out data.items, data.columns, "
        "data.delimiter and data.timestamp_unit": (
            not known or how_read == (None, Columns(), None, "seconds")
        ),
        "data.min_rating goes with data.columns.rating": (
            known or (data.min_rating is None) == (data.columns.rating is None)
        ),
        "embedding.path goes with embedding.kind file, and only with it": (
            (embedding.path is not None) == (embedding.kind == "file")
        ),
    }


def _tokenizer_rules(config: Config) -> dict[str, bool]:
    tokenizer = config.tokenizer
    return {
        "tokenizer.codebook_sizes must name at least one size": bool(tokenizer.codebook_sizes),
        "tokenizer.gradient rotation goes with tokenizer.kind rqvae": (
            tokenizer.gradient == "straight-through" or tokenizer.kind == "rqvae"
        ),
        "tokenizer.codebooks ema and tokenizer.sinkhorn go with tokenizer.kind rqvae or rvq": (
            tokenizer.kind in ("rqvae", "rvq")
            or (tokenizer.codebooks == "gradient" and tokenizer.sinkhorn == 0)
        ),
    }


def _model_rules(config: Config) -> dict[str, bool]:
    model, training = config.model, config.training
    causal, of_items = model.encoder == "causal", model.tokens == "items"
    sasrec = model.item_head and model.item_embedding and of_items
    all_items = training.item_negatives is None
    return {
        "model.heads must divide model.d_model, or give model.head_dim": (
            model.head_dim is not None or model.d_model % model.heads == 0
        ),
        "model.user_tokens goes with model.encoder bidirectional, where a row is one user's": (
            model.user_tokens == 0 or not causal
        ),
        "model.item_embedding, content and time_gaps go with model.tokens items": (
            of_items or not (model.item_embedding or model.content or model.time_gaps)
        ),
        "model.item_head goes with model.encoder causal": causal or not model.item_head,
        "model.codes false goes with model.item_head, item_embedding and tokens items, and with "
        "no decoding.dense_share but 1": (
            model.codes or (sasrec and config.decoding.dense_share in (None, 1))
        ),
        "model.repeats goes with model.encoder causal, tokens items, and item_head or look_ahead": (
            not model.repeats or (causal and of_items and (model.item_head or model.look_ahead))
        ),
        "model.repeats goes without training.item_negatives": all_items or not model.repeats,
        "model.look_ahead goes with model.codes": model.codes or not model.look_ahead,
        "training.distillation goes with model.codes": model.codes or training.distillation == 0,
        "training.distillation goes with model.item_head, without training.item_negatives": (
            training.distillation == 0 or (model.item_head and training.item_loss > 0 and all_items)
        ),
        "training.distillation and training.label_smoothing must not be above 1 together": (
            training.distillation + training.label_smoothing <= 1
        ),
        "training.accumulate must divide training.rows": training.rows % training.accumulate == 0,
        "training.row_length must be at least model.max_history": (
            training.row_length >= model.max_history
        ),
    }


def _list_rules(config: Config) -> dict[str, bool]:
    decoding, top_k = config.decoding, config.evaluation.top_k
    levels = len(config.tokenizer.codebook_sizes) + (config.tokenizer.collisions == "code")
    codes_alone = not decoding.dense_share
    return {
        "decoding.dense_share goes with model.item_head": codes_alone or config.model.item_head,
        "decoding.dense_share goes with decoding.normalise codes": (
            codes_alone or decoding.normalise == "codes"
        ),
        "decoding.temperature must name one temperature, or one for each level": (
            decoding.temperature is None or len(decoding.temperature) in (1, levels)
        ),
        "decoding.temperature goes without decoding.dense_share": (
            codes_alone or decoding.temperature is None
        ),
        "decoding.unseen_share goes with model.codes": (
            decoding.unseen_share == 0 or config.model.codes
        ),
        "evaluation.top_k must name a cut-off of at most decoding.beam": (
            bool(top_k) and min(top_k) <= decoding.beam
        ),
    }
