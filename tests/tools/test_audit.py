"""The audit of dependencies tells what is vulnerable, and when nothing could be asked."""

import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[2] / "tools" / "audit.py"
SAYS = """
import json, sys
known, rest = {known!r}, {rest!r}
sys.stdout.write(known if "--requirement" in sys.argv else rest)
sys.exit(1)
"""
KNOWN = '{"dependencies": [{"name": "pyyaml", "version": "5.3", "vulns": [{"id": "x"}]}]}'
SKIPPED = '{"dependencies": [{"name": "pyyaml", "skip_reason": "not found"}]}'
CLEAN = '{"dependencies": [{"name": "jax", "version": "1.0", "vulns": []}]}'
VULNERABLE = (
    '{"dependencies": [{"name": "jax", "version": "1.0", "vulns": '
    '[{"id": "PYSEC-1", "fix_versions": ["2.0"]}]}]}'
)


@pytest.mark.parametrize(
    ("known", "rest", "status", "strict", "says"),
    [
        (KNOWN, CLEAN, 0, 0, "audit: 1 packages asked, 0 vulnerable, 0 not asked"),
        (KNOWN, VULNERABLE, 1, 1, "jax 1.0: PYSEC-1, mended in 2.0"),
        (KNOWN, SKIPPED, 0, 3, "not asked: pyyaml (not found)"),
        (SKIPPED, CLEAN, 0, 3, "NOT DONE"),
        (KNOWN, "", 0, 3, "NOT DONE"),
        ("", VULNERABLE, 0, 3, "NOT DONE"),
    ],
)
def test_what_pip_audit_tells(tmp_path, known, rest, status, strict, says):
    (tmp_path / "pip_audit.py").write_text(SAYS.format(known=known, rest=rest))
    for flags, expected in (([], status), (["--strict"], strict)):
        told = subprocess.run(
            [sys.executable, str(AUDIT), *flags],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(tmp_path)},
        )
        assert told.returncode == expected, told.stderr
        assert says in told.stdout
