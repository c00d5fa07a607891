"""`tools/import_graph.py` counts what is there, and finds what should not be."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def figures_of(package: Path, folder: Path) -> dict:
    command = [sys.executable, str(ROOT / "tools/import_graph.py"), "--package", str(package)]
    done = subprocess.run(
        [*command, "--json", str(folder / "figures.json")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (figures,) = json.loads((folder / "figures.json").read_text()).values()
    return figures


def test_a_circle_and_the_import_that_closes_it_are_named(tmp_path):
    package = tmp_path / "shop"
    files = {
        "__init__.py": "from shop.top import main\n",
        "ground.py": "",
        "low/__init__.py": "",
        "low/a.py": "import shop.ground\n",
        "low/b.py": "def late():\n    from shop.top import main\n",
        "top.py": "import shop.low.a\nimport shop.low.b\nmain = None\n",
    }
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    assert figures_of(package, tmp_path) == {
        "folders": 1,
        "loose_modules": 2,
        "modules": 6,
        "lines": 7,
        "imports_between_rooms": 4,
        "arrows": 3,
        "floors": 3,
        "imports_upwards": ["shop.low.b -> shop.top"],
        "circles": [["low", "top"]],
    }


def test_genrec_has_none(tmp_path):
    figures = figures_of(ROOT / "genrec", tmp_path)
    assert figures["imports_upwards"] == figures["circles"] == []
    assert figures["loose_modules"] == 2
