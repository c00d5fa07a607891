"""Some damaged checkpoints, bundles and official files; the thousands are for the script."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "fuzz_readers.py"
INPUTS = 30
READERS = [
    *("checkpoint", "tokenizer", "bundle", "exported parameters", "movielens archives", "amazon"),
    "amazon.gz",
]


@pytest.mark.soak
def test_damaged_files_are_read_or_refused_in_a_line(tmp_path):
    command = [sys.executable, str(TOOL), "--readers", *READERS, "--inputs", str(INPUTS)]
    command += ["--seed", "1", "--json", str(tmp_path / "found.json")]
    answer = subprocess.run(command, capture_output=True, text=True, errors="replace")
    assert answer.returncode == 0, answer.stdout + answer.stderr[-2000:]
    found = json.loads((tmp_path / "found.json").read_text())
    assert list(found) == READERS
    for each in found.values():
        assert each["inputs"] == INPUTS and each["refused"] > INPUTS / 4
        assert each["read"] > 0  # else what is damaged hides what is behind it
