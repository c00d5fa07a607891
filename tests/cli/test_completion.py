"""The scripts of `genrec completion`, run by the shells that they are for."""

import shutil
import subprocess

import pytest

from genrec.cli.commands import COMMANDS
from genrec.cli.completion import flag_values, script

ASKED = [
    (["genrec", "re"], ["report", "recommend"]),
    (["genrec", "run", "--data.sp"], ["--data.split", "--data.spark-master"]),
    (["genrec", "train", "x.yaml", "--data.split", "t"], ["temporal"]),
    (["genrec", "train", "x.yaml", "--data.on_bad_rows", ""], ["error", "drop"]),
    (["genrec", "evaluate", "--no-model.item"], []),
    (["genrec", "evaluate", "--model.no-item-h"], ["--model.no-item-head"]),
    (["genrec", "export", "runs/x", "--format", ""], ["bundle", "safetensors", "huggingface"]),
    (["genrec", "completion", "z"], ["zsh"]),
    (["genrec", "serve", "--acc"], ["--access-log"]),
    (["genrec", "compare", "--jso"], ["--json"]),
    (["genrec", "compare", "--no-js"], []),
]  # fmt: skip


def by_bash(words):
    spelt = " ".join(f"'{word}'" for word in words)
    program = script("bash") + (
        f"COMP_WORDS=({spelt}); COMP_CWORD={len(words) - 1}; _genrec\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    shell = ["bash", "--norc", "-u", "-c", program]
    done = subprocess.run(shell, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(("words", "expected"), ASKED)
def test_bash_completes_commands_flags_and_values(words, expected):
    assert sorted(by_bash(words)) == sorted(expected)


def test_bash_gives_a_value_behind_an_equals_sign_which_it_takes_for_a_word():
    assert by_bash(["genrec", "run", "--data.split", "=", "co"]) == ["cold-start"]
    assert len(by_bash(["genrec", "run", "--data.split", "="])) == 3


def test_bash_offers_files_where_nothing_of_genrec_fits():
    assert by_bash(["genrec", "run", "conf"]) == []
    assert "complete -o bashdefault -o default -F _genrec genrec" in script("bash")


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
@pytest.mark.parametrize(("words", "expected"), ASKED)
def test_fish_completes_commands_flags_and_values(tmp_path, words, expected):
    (tmp_path / "genrec.fish").write_text(script("fish"))
    line = " ".join(words).replace("on_bad_rows", "on-bad-rows")
    program = f"source {tmp_path}/genrec.fish; complete -C '{line}'"
    shell = ["fish", "--no-config", "-c", program]
    done = subprocess.run(shell, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stderr == ""
    found = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert sorted(found) == sorted(expected)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_zsh_takes_the_script(tmp_path):
    (tmp_path / "genrec.zsh").write_text(script("zsh"))
    told = 'source "$1"; print -r -- $_comps[genrec]'
    shell = ["zsh", "-f", "-c", told, "zsh", str(tmp_path / "genrec.zsh")]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TERM": "dumb"}
    done = subprocess.run(
        shell, capture_output=True, text=True, check=True, env=environment, timeout=60
    )
    assert (done.stdout, done.stderr) == (
        "_bash_complete -o bashdefault -o default -F _genrec\n",
        "",
    )


def test_a_flag_has_the_same_values_in_every_command():
    """For the script asks for the flag alone."""
    known = {}
    for command in COMMANDS.values():
        for flag, words in flag_values(command.arguments).items():
            assert known.setdefault(flag, words) == words


def test_the_command_prints_the_script(command):
    assert command("completion", "bash") == (script("bash"), [])
    _, (line,) = command("completion", "tcsh", status=2)
    assert "tcsh" in line
