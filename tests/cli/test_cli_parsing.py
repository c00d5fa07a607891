"""Flags: what they are taken for, over which settings of a file they win, and complaints."""

import pytest

from genrec.cli.arguments import Export, Recommend, Run
from genrec.cli.parsing import parse, settings_among, settings_under
from genrec.config import Config
from genrec.errors import UserError


def test_flags_win_over_a_file_even_where_they_say_the_default(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("model: {d_model: 96, heads: 2, item_embedding: false}\ndata: {raw: there}\n")
    flags = "--model.d-model=128 --model.item-embedding --tokenizer.hidden 8 4 --raw here -q"
    command, named = parse(Run, [str(file), *flags.split()])
    assert named == {"model.d_model", "model.item_embedding", "tokenizer.hidden", "data.raw"}
    config = settings_under(file, command.config, named)
    assert config.model.d_model == Config().model.d_model == 128
    assert (config.model.heads, config.model.item_embedding) == (2, True)
    assert (config.tokenizer.hidden, config.data.raw) == ((8, 4), "here")
    assert config.training == Config().training


def test_a_command_with_one_section_takes_that_one_from_the_file_too(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("decoding: {beam: 7, temperature: [0.5, 2], batch_size: 3}\n")
    command, named = parse(
        Recommend, ["run", "--k", "3", "--decoding.beam", "9", "--decoding.temperature", "None"]
    )
    assert settings_among(named) and "k" in named and "k" not in settings_among(named)
    decoding = settings_under(file, command, named).decoding
    assert (decoding.beam, decoding.batch_size, decoding.temperature) == (9, 3, None)
    file.write_text("model: {d_modle: 96}")
    with pytest.raises(UserError, match=r"x.yaml: unknown setting model\.d_modle"):
        settings_under(file, command, named)


@pytest.mark.parametrize(
    ("command", "words", "complaint"),
    [
        (Run, "--d-model 96", "unknown setting d_model; the nearest is model.d_model"),
        (Run, "--model 96", "model is a section; its settings are model.tokens"),
        (
            Run,
            "--model.no-d-model",
            "unknown setting model.no_d_model; the nearest is model.d_model",
        ),
        (Run, "--model.item-head=3", "model.item_head is true or false: write --model.item_head"),
        (Run, "--model.d-model wide", "model.d_model should be a whole number, but is 'wide'"),
        (Run, "--model.d-model=9.5", "model.d_model should be a whole number, but is '9.5'"),
        (Run, "--tokenizer.hidden 8 x", "tokenizer.hidden[1] should be a whole number"),
        (Run, "--training.clip nan", "training.clip should be a number, but is 'nan'"),
        (Run, "--data.split half", "data.split should be leave-one-out, temporal or cold-start"),
        (Run, "--model.d-model", "Missing value for argument"),
        (Recommend, "run --k many", "k should be a whole number, but is 'many'"),
        (Recommend, "run --k 1 2", "Unrecognized options: 2"),
        (Recommend, "", "Missing from genrec"),
        (Export, "run --out x --dtype int8", "dtype should be float32 or bfloat16, but is 'int8'"),
    ],
)
def test_a_wrong_flag_is_told_in_one_line(command, words, complaint):
    with pytest.raises(UserError) as error:
        parse(command, words.split())
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)
