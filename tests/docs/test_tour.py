"""The notebook: kept without outputs, written for the public interface, and run to its end."""

import ast
import json
from pathlib import Path

import pytest

import genrec
from genrec.data.known import known_source
from genrec.errors import UserError

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
TOUR = Path(__file__).parents[2] / "docs" / "tour.ipynb"
SETTINGS = "tokenizer.steps=200 training.epochs=1"
SAID_SO = f'TOUR_SETTINGS="{SETTINGS}"'


@pytest.fixture
def tour():
    notebook = nbformat.read(TOUR, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    return notebook


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_is_kept_without_outputs(tour):
    assert len(code(tour)) > 10
    for cell in code(tour):
        assert cell.outputs == []
        assert cell.execution_count is None
    assert all(cell.metadata == {} for cell in tour.cells)
    # Anything else, such as the version of Python, changes with whoever saves it.
    assert tour.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def test_it_uses_the_public_interface_alone(tour):
    tree = ast.parse("\n".join(cell.source for cell in code(tour)))
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] != "genrec"
        if isinstance(node, ast.Import):
            assert not any(name.name.startswith("genrec.") for name in node.names)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used |= {node.attr} if node.value.id == "genrec" else set()
            assert not node.attr.startswith("_")
    assert {"run_stage", "load_run", "load_bundle"} <= used <= set(genrec.__all__)
    assert all(getattr(genrec, name) is not None for name in genrec.__all__)


@pytest.mark.notebook
def test_it_runs_to_its_end(tour, tmp_path, monkeypatch):
    """At small settings, those that the notebook itself names for a look around."""
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")  # or jupyter_core warns of what it will do
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    for needed in ("ipykernel", "matplotlib"):
        pytest.importorskip(needed, reason=f"{needed} is not installed")
    try:
        known_source("movielens-100k")
    except UserError as error:
        if "cannot be fetched" not in str(error):
            raise
        pytest.skip(str(error))
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    assert SAID_SO in "".join(cell.source for cell in tour.cells)
    monkeypatch.setenv("TOUR_SETTINGS", SETTINGS)
    monkeypatch.setenv("TOUR_FOLDER", str(tmp_path / "tour"))

    place = {"metadata": {"path": str(TOUR.parent)}}
    nbclient.NotebookClient(tour, timeout=600, resources=place).execute()

    outputs = [output for cell in code(tour) for output in cell.outputs]
    said = [output.text for output in outputs if output.get("name") == "stderr"]
    assert said == [], "warnings, and what else people should not see"
    shown = "".join(output.text for output in outputs if output.get("name") == "stdout")
    assert f"not as in the README, but with {SETTINGS.split()}" in shown
    assert "943 users, 1,349 items, 99,287 interactions" in shown
    assert "the same list: True" in shown
    results = json.loads((tmp_path / "tour" / "metrics.json").read_text())
    rich = "".join(output.data.get("text/plain", "") for output in outputs if "data" in output)
    assert f"{results['test']['filtered']['ndcg@10']:.4f}" in rich
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 3
    assert outputs[-1].data["text/html"].count("<iframe srcdoc=") == 1
    report = (tmp_path / "tour" / "report.html").read_text()
    assert len(outputs[-1].data["text/html"]) > len(report)
