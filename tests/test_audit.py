"""What `tools/audit.py` makes of what pip-audit says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).parent.parent / "tools" / "audit.py"
SOUND = {"name": "sound", "version": "1.0", "vulns": []}
SKIPPED = {"name": "private", "skip_reason": "not found on PyPI"}
FLAWED = {
    "name": "flawed",
    "version": "2.0",
    "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["2.1"], "aliases": [], "description": ""}],
}


@pytest.mark.parametrize(
    ("packages", "flags", "status", "says"),
    [
        ([SOUND], [], 0, "1 of 1 packages were looked up, 0 of them are vulnerable"),
        ([SOUND, FLAWED], [], 1, "flawed 2.0: PYSEC-2026-1, mended by 2.1"),
        ([SOUND, SKIPPED], [], 0, "1 of 2 packages were looked up"),
        ([SOUND, SKIPPED], ["--strict"], 1, "the index has no advisories for the others"),
        (None, [], 0, "the audit could not be made: no network"),
        (None, ["--strict"], 1, "the audit could not be made: no network"),
    ],
)
def test_a_known_flaw_fails_and_what_was_not_looked_up_is_said(
    tmp_path, packages, flags, status, says
):
    """Beside a pip-audit of our own."""
    told = "" if packages is None else json.dumps({"dependencies": packages, "fixes": []})
    line = f"import sys; print({told!r}); print('no network', file=sys.stderr); sys.exit(1)"
    (tmp_path / "pip_audit.py").write_text(line)
    found = subprocess.run(
        [sys.executable, AUDIT, *flags],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (found.returncode, says in found.stdout) == (status, True), found
