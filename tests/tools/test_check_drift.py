"""`tools/check_drift.py` compares what it says, and can fail."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "check_drift.py"


@pytest.mark.soak
def test_rows_and_devices_change_the_last_digits_alone_and_the_least_drift_is_noticed(tmp_path):
    out = tmp_path / "drift.json"
    flags = ["--steps", "60", "--nudged", "1", "--factor", "0", "--json", str(out)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, str(TOOL), *flags], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 1, done.stderr  # for nothing is allowed here
    figures = json.loads(out.read_text())
    assert figures["rows"].keys() == {"eight devices", "unpacked", "nudged 0"}
    for name in ("eight devices", "unpacked"):
        assert 0 < figures["rows"][name]["early"] < 1e-5
        assert f"{name}: late is " in done.stderr
    assert all("first losses" not in each for each in figures["faults"])
