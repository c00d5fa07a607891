"""The map of the commands, and the help of each one."""

import ast
import inspect
import os
import re
import shlex
import subprocess
import sys

import pytest

from genrec.cli import arguments
from genrec.cli.commands import COMMANDS, MAP
from genrec.cli.parsing import flags_of, parse
from genrec.config import schema
from genrec.runs.folder import STAGES
from genrec.serving import options

HEAVY = ("jax", "tyro", "rich", "numpy")


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_the_map_is_printed(command, words):
    assert command(*words) == (MAP + "\n", [])


def test_the_map_has_every_command_in_the_order_of_the_commands_and_fits_a_terminal():
    named = re.findall(r"^  ([a-z]+)  +\S", MAP, re.MULTILINE)
    assert named == list(COMMANDS)
    assert max(map(len, MAP.splitlines())) <= 80


def test_the_map_numbers_the_stages_and_names_what_they_write():
    for count, (name, stage) in enumerate(STAGES.items(), 1):
        (line,) = (line for line in MAP.splitlines() if line.startswith(f"  {name} "))
        number, _, written = re.split(r" · |→", line)
        assert int(number.split()[-1]) == count
        assert written.strip().rstrip("/") in stage.outputs


def test_the_map_is_printed_before_anything_heavy_is_imported():
    code = (
        "import sys; sys.argv = ['genrec', '--help']; from genrec.cli.main import main; main();"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert shown.splitlines()[-1] == "[]"


def test_who_reads_the_map_may_stop_at_its_head():
    code = "import sys; sys.argv = ['genrec', '--help']; from genrec.cli.main import main; main()"
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writes, stderr=subprocess.PIPE, check=False
    )
    os.close(writes)
    assert (done.returncode, done.stderr) == (1, b"")


def test_the_examples_of_the_map_are_commands():
    examples = re.findall(r"^  genrec (.*?)(?: +#.*)?$", MAP, re.MULTILINE)
    assert len(examples) == 3
    for example in examples:
        name, *words = shlex.split(example)
        parse(COMMANDS[name].arguments, words)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_an_example_that_it_takes(command, name):
    shown, _ = command(name, "--help", columns="80")
    assert max(map(len, shown.splitlines())) <= 80
    assert "\x1b" not in shown
    told = shown.partition("usage:")[0].partition("For example\n")[2]
    examples = [line.strip() for line in told.splitlines() if line]
    assert examples
    for example in examples:
        in_shell = re.match(r"echo 'source <\((.*)\)'", example)
        written = shlex.split(in_shell[1] if in_shell else example.partition(">")[0])
        assert written[:2] == ["genrec", name]
        if ">" not in example:
            parse(COMMANDS[name].arguments, written[2:])


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_tells_the_default_of_every_flag(command, name):
    shown, _ = command(name, "--help", columns="100")
    spaced = " ".join(shown.replace("│", " ").replace("|", " ").split())
    for flag, (_, kind) in flags_of(COMMANDS[name].arguments).items():
        assert kind is None or "--" + flag.replace("_", "-") in spaced, flag
    assert "{None}" not in spaced


def test_every_setting_has_a_help():
    """Tyro finds it in the source; so does this, by the string below each field."""
    for module in (arguments, schema, options):
        tree = ast.parse(inspect.getsource(module))
        for kind in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            for node, after in zip(kind.body, [*kind.body[1:], None], strict=True):
                if not isinstance(node, ast.AnnAssign) or "field(" in ast.unparse(node):
                    continue
                told = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                assert told, f"{kind.name}.{ast.unparse(node.target)} has no help"


def test_a_mistyped_command_is_told_the_nearest(command):
    _, (line,) = command("recomend", status=2)
    assert line == ("genrec: unknown command recomend; the nearest is recommend; see genrec --help")


def test_a_flag_before_the_command_is_told_where_it_belongs(command):
    _, said = command("--quiet", "run", status=2)
    assert said[-1] == "genrec: flags follow the command, as in genrec run CONFIG --quiet"
