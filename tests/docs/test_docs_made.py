"""The parts of docs/ that scripts write are as these would write them now."""

import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from docs_pages import ROOT
from genrec.config import Config
from genrec.config.parsing import dump_config

TOOLS = ROOT / "tools"
PICTURES = ROOT / "docs/pictures"


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))


def test_settings_are_up_to_date(tools, tmp_path, monkeypatch):
    import write_settings

    monkeypatch.setattr(sys, "argv", ["write_settings.py", "--out", str(tmp_path / "new.md")])
    write_settings.main()
    new = (tmp_path / "new.md").read_text(encoding="utf-8")
    assert new == (ROOT / "docs/settings.md").read_text(encoding="utf-8"), (
        "run python tools/write_settings.py"
    )
    helpless = [row for row in new.splitlines() if re.match(r"\| `.*\|  \|$", row)]
    assert not helpless, "these have no help"


def test_every_setting_is_in_the_page(tools):
    import write_settings

    def leaves(tree: dict, before: str = "") -> Iterator[str]:
        for key, value in tree.items():
            below = isinstance(value, dict)
            yield from leaves(value, f"{before}{key}.") if below else [before + key]

    page, every = write_settings.page(), list(leaves(yaml.safe_load(dump_config(Config()))))
    assert "data.columns.user" in every and "seed" in every
    assert [name for name in every if f"| `{name}`" not in page] == []


def test_pictures_are_up_to_date(tools, tmp_path, monkeypatch):
    import draw_docs

    monkeypatch.setattr(sys, "argv", ["draw_docs.py", "--out", str(tmp_path)])
    draw_docs.main()
    drawn = {path.name: path.read_text() for path in tmp_path.glob("*.svg")}
    there = {path.name: path.read_text() for path in PICTURES.glob("*.svg")}
    assert drawn == there, "run python tools/draw_docs.py"
    shown = re.findall(r"\(pictures/([\w-]+\.svg)\)", (ROOT / "docs/how-it-works.md").read_text())
    assert sorted(shown) == sorted(there)


@pytest.mark.parametrize("path", sorted(PICTURES.glob("*.svg")), ids=lambda path: path.name)
def test_a_picture_is_small_and_says_what_it_shows(path: Path):
    root = ET.parse(path).getroot()
    width, height = (float(root.attrib[side]) for side in ("width", "height"))
    assert path.stat().st_size < 40_000 and root.attrib["aria-label"]
    assert "prefers-color-scheme: dark" in path.read_text()
    for element in root.iter():
        x, y = (float(element.attrib.get(side, 0)) for side in ("x", "y"))
        assert 0 <= x <= width and 0 <= y <= height
