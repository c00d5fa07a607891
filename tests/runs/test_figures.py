"""Files of figures that are damaged are refused in one line."""

import json
import shutil

import pytest

from genrec.errors import UserError
from genrec.runs.figures import read_figures, read_training_log


@pytest.fixture
def run(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "run")


def test_figures_of_another_form_are_refused_by_the_name_of_what_is_wrong(run):
    path = run / "metrics.json"
    metrics = json.loads(path.read_text())
    for name, value, complaint in (
        ("users", "150", "test.users is '150'"),
        ("users", 10**40, "test.users is 1000"),
        ("unfiltered", {"recall@x": 1.0}, "test.unfiltered has the name 'recall@x'"),
        ("filtered", {"recall@10": None}, "test.filtered.recall@10 is a NoneType"),
    ):
        test = {**metrics["test"], name: value}
        path.write_text(json.dumps({**metrics, "test": test}))
        with pytest.raises(UserError) as error:
            read_figures(run, "metrics.json")
        assert complaint in str(error.value)
        assert str(error.value).endswith("; run genrec evaluate again")


def test_lines_of_metrics_that_are_none_are_refused(run):
    for line, complaint in (
        ('{"step": "x", "epoch": 1}', r"\[1\].step is 'x'"),
        ('{"step": 2, "loss": 0.5}', r"\[1\] has no epoch"),
    ):
        (run / "metrics.jsonl").write_text(f'{{"step": 1, "epoch": 1}}\n{line}\n')
        with pytest.raises(UserError, match=f"{complaint}; run genrec train again"):
            read_training_log(run)
