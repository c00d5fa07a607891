from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.config import (
    Config,
    DataConfig,
    DecodingConfig,
    ModelConfig,
    TokenizerConfig,
    TrainingConfig,
)
from genrec.config.parsing import dump_config, file_arguments, load_config
from genrec.config.validation import check
from genrec.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"


def write(folder, text):
    path = folder / "config.yaml"
    path.write_text(text)
    return path


@given(
    interactions=st.sampled_from(["log.csv", "-odd name.csv", None]),
    text=st.sampled_from(["{title}. {brand}", "--{x}=1", "a: #b", "5", "null", None]),
    sizes=st.lists(st.integers(2, 999), min_size=1, max_size=5),
    rate=st.floats(1e-9, 1e9) | st.sampled_from([3e-4, 1.0, 1e-10]),
    item_embedding=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_dumped_settings_read_back_the_same(
    tmp_path_factory, interactions, text, sizes, rate, item_embedding, seed
):
    config = Config(
        data=DataConfig(interactions=interactions, text=text),
        tokenizer=TokenizerConfig(codebook_sizes=tuple(sizes), learning_rate=rate),
        model=ModelConfig(item_embedding=item_embedding),
        seed=seed,
    )
    path = write(tmp_path_factory.mktemp("round"), dump_config(config))
    assert load_config(path) == config


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_packaged_config_is_valid(path):
    check(load_config(path))


def test_an_override_may_be_a_list(tmp_path):
    path = write(tmp_path, "tokenizer: {hidden: [9]}")
    config = load_config(path, "tokenizer.hidden=[8, 4]", "tokenizer.codebook_sizes=[16]")
    assert (config.tokenizer.hidden, config.tokenizer.codebook_sizes) == ((8, 4), (16,))


def test_a_file_says_only_what_differs_and_overrides_win(tmp_path):
    path = write(tmp_path, "model: {d_model: 96, item_embedding: false}\nseed: 3\n")
    config = load_config(path, "seed=4", "training.learning-rate=3e-4", "model.item_embedding")
    assert config.model == ModelConfig(d_model=96, item_embedding=True)
    assert config.seed == 4
    assert config.training.learning_rate == 3e-4
    assert config.tokenizer == TokenizerConfig()
    for value in ("true", "false"):
        config = load_config(path, f"model.item_head={value}", f"model.content={value}")
        assert config.model.item_head is config.model.content is (value == "true")
    assert load_config(write(tmp_path, "")) == Config()
    # PyYAML takes 3e-4 for text
    assert load_config(write(tmp_path, "training: {learning_rate: 3e-4}")).training == (
        TrainingConfig(learning_rate=3e-4)
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("model: {d_modle: 96}", "unknown setting model.d_modle; the nearest is model.d_model"),
        ("modell: {d_model: 96}", "the nearest is model.d_model"),
        ("sed: 1", "unknown setting sed; the nearest is seed"),
        ("model: {d_model: wide}", "config.yaml: model.d-model: invalid literal for int"),
        ("model: {item_embedding: 3}", "model.item_embedding is true or false"),
        ("embedding: {kind: bert}", "invalid choice 'bert'"),
        ("tokenizer: {codebook_sizes: [64, big]}", "tokenizer.codebook-sizes"),
        ("model: 3", "model is a section; its settings are model.tokens"),
        ("model: {no_d_model: true}", "can be negated"),
        ("- model", "settings by name"),
        ("model: {d_model: 96", "can't be read"),
        ("x: !!python/object/apply:os.system ['true']", "can't be read"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_file_and_setting(tmp_path, text, complaint):
    path = write(tmp_path, text)
    with pytest.raises(UserError) as error:
        load_config(path)
    message = str(error.value)
    assert message.startswith(str(path))
    assert complaint in message
    assert "\n" not in message


def test_one_section_of_a_file_is_had_alone_and_the_rest_is_checked_all_the_same(tmp_path):
    path = write(tmp_path, "decoding: {beam: 7, temperature: [0.5, 2]}\nmodel: {d_model: 96}\n")
    assert file_arguments(path, "decoding") == [
        "--decoding.beam=7",
        "--decoding.temperature",
        "0.5",
        "2",
    ]
    assert file_arguments(path, "model") == ["--model.d_model=96"]
    assert file_arguments(path, "data") == []
    assert file_arguments(write(tmp_path, ""), "decoding") == []
    with pytest.raises(UserError, match=r"unknown setting model\.d_modle"):
        file_arguments(write(tmp_path, "model: {d_modle: 96}"), "decoding")


def test_a_missing_file_is_named():
    with pytest.raises(UserError, match=r"nowhere\.yaml does not exist"):
        load_config("nowhere.yaml")


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("data.interactions=x.csv", "one of data.dataset and data.interactions"),
        ("model.heads=3", "model.heads must divide"),
        ("training.row-length=20", "training.row_length"),
        ("evaluation.top-k=60", "evaluation.top_k must name cut-offs from 1 on"),
        ("training.epochs=0", "training.epochs must be above 0"),
        ("data.k_core=0", "data.k_core must be above 0"),
        ("embedding.kind=file", "embedding.path"),
        ("model.user_tokens=9", "model.user_tokens goes with model.encoder bidirectional"),
        ("model.tokens=codes", "item_embedding, content and time_gaps go with model.tokens items"),
        ("model.encoder=bidirectional", "model.item_head goes with model.encoder causal"),
        ("model.attention_dropout=1", "model.attention_dropout must lie in 0…1, 1 excluded"),
        ("training.accumulate=3", "training.accumulate must divide training.rows"),
        ("training.average=1.0", "training.average must lie in 0…1"),
        ("training.patience=0", "training.patience must be above 0"),
        ("decoding.batch_size=0", "decoding.batch_size must be above 0"),
        ("decoding.dense_share=1.1", "decoding.dense_share must lie in 0…1"),
        ("decoding.unseen_share=-0.1", "decoding.unseen_share must lie in 0…1, 1 excluded"),
        (
            "decoding.dense_share=0.5 model.item_head=false",
            "decoding.dense_share goes with model.item_head",
        ),
        (
            "decoding.dense_share=0.5 decoding.normalise=allowed",
            "decoding.dense_share goes with decoding.normalise codes",
        ),
        ("decoding.dense_share=0.5 decoding.temperature=1.0", "goes without decoding.dense_share"),
        ("tokenizer.noise=-0.1", "tokenizer.noise must not be below 0"),
        ("tokenizer.ema-decay=1.0", "tokenizer.ema_decay must lie between 0 and 1"),
        ("tokenizer.kind=opq tokenizer.gradient=rotation", "gradient rotation goes with"),
        ("tokenizer.kind=rqkmeans tokenizer.codebooks=ema", "codebooks ema and tokenizer.sinkhorn"),
        ("tokenizer.kind=rqkmeans tokenizer.sinkhorn=0.1", "codebooks ema and tokenizer.sinkhorn"),
        ("model.codes=false", "model.codes false goes with model.item_head"),
        (
            "model.codes=false model.item_head=true decoding.dense_share=1 training.distillation=1",
            "distillation goes with model.codes",
        ),
        (
            "model.repeats=true model.item_head=false decoding.dense_share=0",
            "model.repeats goes with model.encoder causal",
        ),
        ("model.repeats=true training.item_negatives=9", "goes without training.item_negatives"),
        ("decoding.temperature=0.0", "decoding.temperature must name one temperature"),
    ],
)
def test_settings_that_make_no_sense_are_refused(override, complaint):
    with pytest.raises(UserError, match=complaint):
        check(load_config(CONFIGS / "quickstart.yaml", *override.split()))


@pytest.mark.parametrize(
    ("collisions", "count", "sound"),
    [
        ("code", 1, True),
        ("code", 3, False),
        ("code", 4, True),
        ("none", 3, True),
        ("none", 4, False),
    ],
)
def test_there_is_one_temperature_or_one_for_each_level(collisions, count, sound):
    """Of three codebooks; the code that tells items apart makes a fourth level."""
    config = replace(
        load_config(CONFIGS / "quickstart.yaml", f"tokenizer.collisions={collisions}"),
        decoding=DecodingConfig(temperature=(0.7,) * count),
    )
    if sound:
        check(config)
    else:
        with pytest.raises(UserError, match="one for each level"):
            check(config)
