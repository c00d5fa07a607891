"""What the README and docs/ tell people to type and to write is what there is."""

import argparse
import ast
import dataclasses
import functools
import importlib
import importlib.util
import inspect
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml

import docs_pages as pages
from docs_pages import EXTENDED, PAGES, ROOT, Block, name
from genrec.cli.arguments import RunCommand
from genrec.cli.commands import COMMANDS
from genrec.cli.parsing import parse, settings_under
from genrec.config import Config
from genrec.config.parsing import load_config
from genrec.config.validation import check
from genrec.errors import UserError
from genrec.serving.app import RecommendRequest, RecommendResponse

PROGRAMS = {"genrec", "python", "pip", "pytest", "ruff", "pyright", "lint-imports", "curl"}
THEIRS = re.compile(r"runs/[\w-]+|configs/shop\.yaml|bundle")
"""What a reader has that the repository has not: runs, bundles, a config of their own."""
SECTIONS = {field for field in Config.__dataclass_fields__ if field != "seed"}


@pytest.fixture(params=PAGES, ids=name)
def page(request) -> Path:
    return request.param


@pytest.fixture
def at_work(tmp_path, monkeypatch) -> Path:
    """An empty folder with the repository's configs, and the files that a page writes."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_are_understood(page, at_work):
    write_files(page, at_work)
    for block in pages.blocks(page):
        for words in block.commands():
            if " ".join(words) in EXTENDED:
                continue
            try:
                check_command(words)
            except Exception as error:
                raise AssertionError(f"{block.where}: {' '.join(words)}: {error}") from error


def test_blocks_are_what_they_say(page, at_work):
    for block in pages.blocks(page):
        try:
            check_block(block, at_work)
        except Exception as error:
            raise AssertionError(f"{block.where}: {error}") from error


def test_names_in_the_text_exist(page):
    text = pages.prose(page)
    for span in pages.spans(text):
        if span in complaints():
            continue
        try:
            check_span(span)
        except Exception as error:
            raise AssertionError(f"{name(page)}: `{span}`: {error}") from error
    for section, settings in pages.tables_of_sections(text):
        for setting in settings:
            check_setting(f"{section}.{setting}")


def test_links_lead_somewhere(page):
    for link in pages.links(page):
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{name(page)}: {link} is not there"
        if anchor:
            assert anchor in pages.anchors(file), f"{name(page)}: {link} has no such heading"


def test_complaints_are_ones_that_genrec_makes():
    texts = sources()
    assert len(complaints()) > 20
    for span in complaints():
        for piece in (piece.strip(" ;:,()") for piece in span.split("…")):
            assert any(piece in text for text in texts), f"nothing in genrec says {piece!r}"


@functools.cache
def complaints() -> frozenset[str]:
    """What the table of complaints quotes."""
    text = (ROOT / "docs/your-data.md").read_text(encoding="utf-8")
    table = text.split("| it says | what to do |")[1]
    rows = (row.split("|")[1] for row in table.splitlines() if row.startswith("| `"))
    return frozenset(span for row in rows for span in pages.spans(row))


def write_files(page: Path, folder: Path) -> None:
    """Writes the blocks that say what file they are, but for code."""
    for block in pages.blocks(page):
        if block.file and block.file.endswith(".yaml"):
            (folder / block.file).write_text(block.text)


def check_command(words: list[str]) -> None:
    program = words[0]
    assert program in PROGRAMS, f"{program} is none of {sorted(PROGRAMS)}"
    if program == "genrec":
        check_genrec(words[1:])
    elif program == "python":
        check_tool(words[1:])
    elif program == "pip":
        check_pip(words[1:])
    elif program == "curl":
        assert words[1].split("/", 1)[1] == "recommend"
        RecommendRequest(**json.loads(words[words.index("-d") + 1]))


def check_genrec(words: list[str]) -> None:
    if words[0] in ("--help", "--version") or "--help" in words:
        return
    kind = COMMANDS[words[0]].arguments
    given, named = parse(kind, words[1:], words[0])
    if not isinstance(given, RunCommand):
        return
    target, config = given.target, given.config
    if target is not None and not target.exists():
        assert THEIRS.fullmatch(str(target)), f"there is no {target}"
        return
    if target is not None:
        config = settings_under(target, config, named)
    check(config)


def check_tool(words: list[str]) -> None:
    """The arguments are ones that the script takes; it is stopped as soon as it has read them."""
    assert re.fullmatch(r"tools/\w+\.py", words[0]), f"{words[0]} is no tool"
    module = tool(words[0])
    original = argparse.ArgumentParser.parse_args

    def read(parser, *_: Any):
        original(parser, words[1:])
        raise _ReadError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", read)
        patch.setattr(argparse.ArgumentParser, "error", _complain)
        with pytest.raises(_ReadError):
            module.main()


class _ReadError(Exception):
    """The arguments were read, and that is all that was wanted."""


def _complain(parser: argparse.ArgumentParser, message: str):
    raise AssertionError(message)


def settings_of_jax() -> dict[str, str]:
    return {name: each for name, each in os.environ.items() if name.startswith(("JAX_", "XLA_"))}


@functools.cache
def tool(path: str) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        before = settings_of_jax()
        spec.loader.exec_module(module)
    assert settings_of_jax() == before, "importing it changes what later processes calculate with"
    return module


def check_pip(words: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert words[0] == "install"
    for word in words[1:]:
        if extra := re.fullmatch(r"(?:\.|genrec)\[(\w+)\]", word):
            assert extra[1] in project["optional-dependencies"], f"there is no extra {extra[1]}"


def check_block(block: Block, folder: Path) -> None:
    if block.language == "python":
        check_imports(ast.parse(block.text), new={each.file for each in all_blocks()})
    elif block.language == "yaml":
        file = folder / (block.file or "unnamed.yaml")
        file.write_text(block.text)
        check(load_config(file))
    elif block.language == "json":
        told = json.loads(block.text)
        if "bundle" in told:
            RecommendResponse(**told)
        else:
            assert set(told) <= {"user_id", "items", "timestamps", "exclude", "allow"}
    else:
        assert block.language in ("", "sh", "text", "diff"), f"what is {block.language!r}?"


def all_blocks() -> list[Block]:
    return [block for page in PAGES for block in pages.blocks(page)]


def check_imports(tree: ast.Module, new: set[str | None]) -> None:
    """Names from genrec are there, unless a page adds their module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("genrec"):
            module = node.module or ""
            if f"{module.replace('.', '/')}.py" not in new:
                there = importlib.import_module(module)
                for alias in node.names:
                    assert hasattr(there, alias.name), f"{module} has no {alias.name}"


def check_span(span: str) -> None:
    if span.startswith("python tools/"):
        check_tool(span.split()[1:])
    elif span.startswith("genrec ") and not span.startswith("genrec --"):
        words = span.split()[1:]
        for word in words[1:]:
            known = not word.startswith("--") or knows(COMMANDS[words[0]].arguments, word)
            assert known, f"it has no flag {word}"
            check_path(word)
    elif span.startswith("--"):
        flag = span.split()[0].split("=")[0]
        of_command = any(knows(known.arguments, flag) for known in COMMANDS.values())
        assert of_command or flag in flags_of_tools(), f"no command and no tool has {flag}"
    elif re.match(rf"({'|'.join(SECTIONS)})\.[a-z_.]+", span):
        check_setting(span)
    elif re.fullmatch(r"genrec(\.\w+)+", span):
        check_dotted(span)
    else:
        check_path(span)


def check_setting(span: str) -> None:
    """A setting's name, and the value behind it if there is one."""
    match = re.fullmatch(r"([a-z_.]+)(?::? (.+))?", span)
    assert match, "it is no setting"
    assert match[1] in settings_of(Config), f"there is no setting {match[1]}"
    if match[2] and not re.fullmatch(r"[A-Z]+", match[2]):
        value = yaml.safe_load(match[2])
        if not isinstance(value, bool):
            parse(Config, [f"--{match[1]}={value}"])


@functools.cache
def settings_of(section: type, before: str = "") -> frozenset[str]:
    """The dotted names of all settings, those of sections too."""
    names: set[str] = set()
    for field, kind in get_type_hints(section).items():
        names.add(before + field)
        if dataclasses.is_dataclass(kind):
            names |= settings_of(kind, f"{before}{field}.")
    return frozenset(names)


def check_dotted(span: str) -> None:
    parts = span.split(".")
    for depth in range(len(parts), 0, -1):
        try:
            there: Any = importlib.import_module(".".join(parts[:depth]))
        except ModuleNotFoundError:
            continue
        for part in parts[depth:]:
            there = getattr(there, part)
        return


def check_path(word: str) -> None:
    if re.match(r"(genrec|configs|tools|docs|tests)/\S+$", word) and word != "configs/shop.yaml":
        added = {block.file for block in all_blocks()}
        assert any(ROOT.glob(word.rstrip("/"))) or word in added, "it is not in the repository"


@functools.cache
def knows(command: type, flag: str) -> bool:
    """Whether a command has a flag, whatever value that wants."""
    try:
        parse(command, [flag])
    except UserError as error:
        return not str(error).startswith("unknown setting")
    except SystemExit:  # --help, which is printed
        return True
    return True


@functools.cache
def flags_of_tools() -> frozenset[str]:
    flags: set[str] = set()
    for path in (ROOT / "tools").rglob("*.py"):
        flags |= set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', path.read_text()))
    return frozenset(flags)


@functools.cache
def sources() -> list[str]:
    """Every text in genrec's code, and the fixed parts of those that are put together."""
    import genrec

    texts = []
    for path in Path(inspect.getfile(genrec)).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("genrec run configs/quickstart.yaml --model.d-mode 96", "unknown setting"),
        ("genrec run configs/quickstart.yaml --model.heads 7", "model.heads must divide"),
        ("genrec run configs/quickstrat.yaml", "there is no configs/quickstrat.yaml"),
        ("genrec recomend runs/quickstart", "recomend"),
        ("genrec recommend runs/quickstart --histroy a", "unknown setting"),
        ("python tools/kill_stages.py --kills 5 --nothing", "unrecognized arguments: --nothing"),
        ("python tools/reproduce_all.py", "reproduce_all"),
        ("pip install 'genrec[server]'", "there is no extra server"),
        ("gnerec run", "gnerec is none of"),
    ],
)
def test_a_stale_command_is_found(at_work, words, complaint):
    (command,) = Block("here", "sh", words).commands()
    with pytest.raises(Exception, match=re.escape(complaint)):
        check_command(command)


@pytest.mark.parametrize(
    "span",
    [
        "model.item_heads",
        "decoding.dense_share: high",
        "--alow",
        "genrec tokenize --apend",
        "genrec/modell/trie.py",
        "genrec.bundle.add_item",
        "python tools/bench_training.py --round 5 --fast",
    ],
)
def test_a_stale_name_is_found(span):
    with pytest.raises(Exception, match=r".+"):
        check_span(span)
