"""The README and docs/ taken apart: fenced blocks, commands, names between backticks, links."""

import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

EXTENDED = {
    "genrec run runs/quickstart --experts.users 100",
    "genrec run configs/quickstart.yaml --training.confidence-penalty 0.1 --out runs/penalised",
    "genrec tokenize configs/quickstart.yaml --tokenizer.kind drawn --out runs/drawn",
}
"""Commands that there are only with the changes of docs/extend.md, where a test runs them."""

_FENCE = re.compile(r"^( *)```(.*)$")
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_LINK = re.compile(r"\[[^\[\]]*\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.*)$", re.MULTILINE)
_FILE = re.compile(r"# ([\w./-]+\.(?:py|yaml))\n")


@dataclass(frozen=True)
class Block:
    """What stands between two fences.

    Attributes:
        where: page and line, for people.
        language: the word behind the first fence; "" for none.
        file: the file that its first line says it is, as in `# shop.yaml`; None for no file.
    """

    where: str
    language: str
    text: str

    @property
    def file(self) -> str | None:
        named = _FILE.match(self.text)
        return named[1] if named and self.language in ("python", "yaml") else None

    def commands(self) -> Iterator[list[str]]:
        """The words of every command, without comments and the variables set before it."""
        if self.language not in ("", "sh"):
            return
        for line in self.text.replace("\\\n", " ").splitlines():
            if self.language != "sh" and not line.startswith(("genrec ", "python tools/")):
                continue
            for part in line.split("&&"):
                words = shlex.split(part, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words.pop(0)
                if words:
                    yield words


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    fenced, lines, start = [], page.read_text(encoding="utf-8").splitlines(), None
    for number, line in enumerate(lines):
        if not (fence := _FENCE.match(line)):
            continue
        if start is None:
            start, language = number, fence[2].strip()
        else:
            text = textwrap.dedent("\n".join(lines[start + 1 : number])) + "\n"
            fenced.append(Block(f"{name(page)}:{start + 1}", language, text))
            start = None
    assert start is None, f"{name(page)}: the fence of line {start} is never closed"
    return fenced


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    kept, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def spans(text: str) -> list[str]:
    """What stands between backticks; a line's end in it is a space."""
    return [" ".join(span.split()) for span in _SPAN.findall(text)]


def links(page: Path) -> list[str]:
    return [link for link in _LINK.findall(prose(page)) if "://" not in link]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = (re.sub(r"[^\w\- ]", "", words.lower()) for words in _HEADING.findall(prose(page)))
    return {heading.strip().replace(" ", "-") for heading in headings}


def tables_of_sections(text: str) -> Iterator[tuple[str, list[str]]]:
    """The sections of tables headed "setting under `model:`", and the names in the first column."""
    rows = re.compile(r"^\| setting under `(\w+):` \|.*\n\|[ |-]*\n((?:\|.*\n?)*)", re.MULTILINE)
    for section, body in rows.findall(text):
        yield section, [span for row in body.splitlines() for span in spans(row.split("|")[1])]


def apply(difference: str, folder: Path) -> None:
    """Changes files as a unified difference says; what is there must be there once."""
    for part in re.split(r"^--- .*\n", difference, flags=re.MULTILINE)[1:]:
        target, *hunks = re.split(r"^@@.*\n", part, flags=re.MULTILINE)
        file = folder / target.split()[1].removeprefix("b/")
        text = file.read_text(encoding="utf-8")
        for hunk in hunks:
            lines = [line or " " for line in hunk.splitlines()]
            before, after = (
                "".join(f"{line[1:]}\n" for line in lines if line[0] in signs)
                for signs in (" -", " +")
            )
            assert text.count(before) == 1, f"{file.name} has not once:\n{before}"
            text = text.replace(before, after)
        file.write_text(text, encoding="utf-8")


def run(
    page: Path,
    command: Callable[..., Any],
    quick: Callable[[list[str]], bool],
    stand_ins: dict[str, str],
) -> list[list[str]]:
    """Runs a page's Python and its quick commands, in order, in the present folder.

    Args:
        command: what `genrec` is, of the words after it.
        quick: which commands to run, by their words.
        stand_ins: what to put for names of the page.

    Returns:
        The commands that were run.
    """
    names: dict[str, Any] = {"__name__": "__docs__"}
    done = []
    for block in blocks(page):
        text = block.text
        for old, new in stand_ins.items():
            text = text.replace(old, new)
        block = Block(block.where, block.language, text)
        try:
            if (
                block.language == "python"
                and not block.file
                and "sentence_transformers" not in text
            ):
                exec(compile(text, block.where, "exec"), names)
            for words in block.commands():
                if quick(words):
                    command(*words[1:])
                    done.append(words)
        except Exception as error:
            raise AssertionError(f"{block.where}: {error}") from error
    return done


def run_alone(page: str, quick: set[str], stand_ins: dict[str, str]) -> None:
    """As `run`, for a process that has its own copy of genrec; `quick` are whole commands."""
    from genrec.cli.main import main

    def command(*words: str) -> None:
        sys.argv = ["genrec", *words]
        main()

    def wanted(words: list[str]) -> bool:
        return " ".join(words) in quick

    done = run(ROOT / page, command, wanted, stand_ins)
    assert len(done) == len(quick), f"run were {done}"
