"""`genrec run`, called in this process: what it does once."""

import importlib
import shutil
from collections import Counter
from pathlib import Path

import pytest


@pytest.fixture
def calls(monkeypatch):
    """How often some functions are called, by name, and with files by the names of these."""
    counts = Counter()

    def count(target):
        module, name = target.rsplit(".", 1)
        function = getattr(importlib.import_module(module), name)

        def counted(*arguments, **options):
            counts[name] += 1
            counts.update([("sha256", arguments[0].name)] if name == "sha256" else [])
            return function(*arguments, **options)

        monkeypatch.setattr(target, counted)

    for target in (
        *("tyro.cli", "genrec.cli.parsing.read_settings"),
        *("genrec.pipeline.runner.check", "genrec.pipeline.runner.claimed"),
        *("genrec.pipeline.runner.keep_settings", "genrec.runs.digests.sha256"),
    ):
        count(target)
    return counts


def test_one_run_parses_checks_claims_and_hashes_once(command, tiny_run, tmp_path, calls):
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    shown, _ = command("run", str(run), "--evaluation.neighbours", "3")
    assert shown.count("(done before)") == 6
    for name in ("cli", "read_settings", "check", "claimed", "keep_settings"):
        assert calls[name] == 1, name
    for name in ("dataset", "embeddings.npy", "tokenizer", "checkpoints"):
        assert calls["sha256", name] == 1, name
    assert calls["sha256", "report.html"] == 1  # once it was made anew
    # Another command looks again.
    (run / "embeddings.npy").write_bytes(b"")
    _, (line,) = command("evaluate", str(run), "--evaluation.neighbours", "3", status=2)
    assert "embeddings.npy was changed since" in line
    assert calls["sha256", "dataset"] == 2
