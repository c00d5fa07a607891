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
from genrec.config.parsing import dump_config, load_config, read_settings, with_settings
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
        ("modell: {d_model: 96}", "unknown setting modell; the nearest is model"),
        ("d_model: 96", "unknown setting d_model; the nearest is model.d_model"),
        ("sed: 1", "unknown setting sed; the nearest is seed"),
        (
            "model: {d_model: wide}",
            "config.yaml: model.d_model should be a whole number, but is 'wide'",
        ),
        ("model: {item_embedding: 3}", "model.item_embedding should be true or false, but is 3"),
        ("embedding: {kind: bert}", "embedding.kind should be tfidf or file, but is 'bert'"),
        ("tokenizer: {codebook_sizes: [64, big]}", "tokenizer.codebook_sizes[1] should be a whole"),
        ("model: 3", "model is a section; its settings are model.tokens"),
        ("model: {d_model: 96.5}", "model.d_model should be a whole number, but is 96.5"),
        ("model: {d_model: true}", "model.d_model should be a whole number, but is true"),
        ("model: {d_model: null}", "model.d_model should be a whole number, but is null"),
        ("model: {d_model: {wide: 96}}", "a whole number, but is several settings by name"),
        ("model: {d_model: [96]}", "model.d_model should be a whole number, but is a list"),
        ("training: {learning_rate: fast}", "learning_rate should be a number, but is 'fast'"),
        ("training: {learning_rate: .inf}", "learning_rate should be a number, but is inf"),
        ("data: {text: true}", "data.text should be text, but is true"),
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


def test_a_file_tells_which_settings_it_names_and_others_may_go_over_them(tmp_path):
    path = write(tmp_path, "decoding: {beam: 50, temperature: [0.5, 2]}\nmodel:\nseed: 3\n")
    settings = read_settings(path)
    assert settings == {"decoding.beam": 50, "decoding.temperature": (0.5, 2.0), "seed": 3}
    config = with_settings(Config(), settings | {"decoding.beam": 7, "data.columns.user": "who"})
    assert config.decoding == DecodingConfig(beam=7, temperature=(0.5, 2.0))
    assert config.data.columns.user == "who"
    assert config.seed == 3


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("training: {learning_rate: 1}", "training.learning_rate", 1.0),
        ("training: {learning-rate: '1e-2'}", "training.learning_rate", 0.01),
        ("training: {patience: null}", "training.patience", None),
        ("training: {patience: None}", "training.patience", None),
        ("decoding: {temperature: 2}", "decoding.temperature", (2.0,)),
        ("tokenizer: {hidden: []}", "tokenizer.hidden", ()),
        ("data: {columns: {user: 0}}", "data.columns.user", "0"),
    ],
)
def test_a_value_becomes_what_its_setting_takes(tmp_path, text, name, value):
    settings = read_settings(write(tmp_path, text))
    assert settings == {name: value}
    assert type(settings[name]) is type(value)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("model.d_model", "model.d_model needs a value"),
        ("model=3", "model is a section; its settings are model.tokens"),
        ("model.item_head=yes", "model.item_head should be true or false, but is 'yes'"),
        ("modle.d_model=3", "unknown setting modle.d_model; the nearest is model.d_model"),
    ],
)
def test_a_wrong_override_is_named(tmp_path, override, complaint):
    with pytest.raises(UserError) as error:
        load_config(write(tmp_path, ""), override)
    assert str(error.value).startswith(complaint)


def test_an_override_of_text_is_taken_as_it_stands_and_null_is_nothing(tmp_path):
    path = write(tmp_path, "training: {patience: 3}")
    config = load_config(path, "data.text=[{title}]: a=b", "training.patience=null")
    assert config.data.text == "[{title}]: a=b"
    assert config.training.patience is None


def test_a_missing_file_is_named():
    with pytest.raises(UserError, match=r"nowhere\.yaml does not exist"):
        load_config("nowhere.yaml")


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("data.interactions=x.csv", "one of data.dataset and data.interactions"),
        ("model.heads=3", "model.heads must divide"),
        ("training.row-length=20", "training.row_length"),
        ("evaluation.top-k=60", "evaluation.top_k must name a cut-off of at most decoding.beam"),
        ("evaluation.top-k=[5,0]", r"evaluation.top_k\[1\] must be at least 1, but is 0"),
        ("seed=-1", "seed must be at least 0 and below"),
        ("data.held_out=0.5", "data.held_out must be above 0 and below 0.5, but is 0.5"),
        ("tokenizer.codebook_sizes=[64,1]", r"codebook_sizes\[1\] must be at least 2, but is 1"),
        ("training.epochs=0", "training.epochs must be at least 1, but is 0"),
        ("data.k_core=0", "data.k_core must be at least 1, but is 0"),
        ("embedding.kind=file", "embedding.path"),
        ("model.user_tokens=9", "model.user_tokens goes with model.encoder bidirectional"),
        ("model.tokens=codes", "item_embedding, content and time_gaps go with model.tokens items"),
        ("model.encoder=bidirectional", "model.item_head goes with model.encoder causal"),
        (
            "model.attention_dropout=1",
            "model.attention_dropout must be at least 0 and below 1, but",
        ),
        ("training.accumulate=3", "training.accumulate must divide training.rows"),
        ("training.average=1.0", "training.average must be at least 0 and below 1, but is 1.0"),
        ("training.patience=0", "training.patience must be at least 1"),
        ("decoding.batch_size=0", "decoding.batch_size must be at least 1"),
        ("decoding.dense_share=1.1", "decoding.dense_share must be at least 0 and at most 1"),
        ("decoding.unseen_share=-0.1", "decoding.unseen_share must be at least 0 and below 1"),
        (
            "decoding.dense_share=0.5 model.item_head=false",
            "decoding.dense_share goes with model.item_head",
        ),
        (
            "decoding.dense_share=0.5 decoding.normalise=allowed",
            "decoding.dense_share goes with decoding.normalise codes",
        ),
        ("decoding.dense_share=0.5 decoding.temperature=1.0", "goes without decoding.dense_share"),
        ("tokenizer.noise=-0.1", "tokenizer.noise must be at least 0, but is -0.1"),
        ("tokenizer.ema-decay=1.0", "tokenizer.ema_decay must be above 0 and below 1"),
        ("tokenizer.kind=opq tokenizer.gradient=rotation", "gradient rotation goes with"),
        ("tokenizer.kind=rqkmeans tokenizer.codebooks=ema", "codebooks ema and tokenizer.sinkhorn"),
        ("tokenizer.kind=rqkmeans tokenizer.sinkhorn=0.1", "codebooks ema and tokenizer.sinkhorn"),
        (
            "model.codes=false decoding.dense_share=0.5",
            "model.codes false goes with model.item_head",
        ),
        (
            "model.codes=false model.item_head=true decoding.dense_share=1 training.distillation=1",
            "distillation goes with model.codes",
        ),
        (
            "model.repeats=true model.item_head=false decoding.dense_share=0",
            "model.repeats goes with model.encoder causal",
        ),
        ("model.repeats=true training.item_negatives=9", "goes without training.item_negatives"),
        ("decoding.temperature=0.0", r"decoding.temperature\[0\] must be above 0, but is 0.0"),
        ("decoding.temperature=[1,1]", "decoding.temperature must name one temperature"),
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
