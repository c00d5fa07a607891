"""Asks whether a known vulnerability is in any package that is installed beside this Python.

    pip install pip-audit
    python tools/audit.py

pip-audit asks PyPI. It skips packages that the index does not know, and reports no vulnerability
where the index has no advisories at all. So a release that is known to be vulnerable is asked about
first. If the index does not report that one, nothing could be asked: a line says so, and the exit
status is 0 (3 with --strict). Exit status 1 says that there are vulnerabilities.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

KNOWN = "pyyaml==5.3"
"""Runs code from a file (CVE-2020-14343). It is asked about, not installed."""
SECONDS = 900


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--strict", action="store_true", help="fail where it could not be asked")
    strict = parser.parse_args().strict
    try:
        if not any(each.get("vulns") for each in known_release()):
            raise ConnectionError(f"the index does not know that {KNOWN} is vulnerable")
        installed = audited("--skip-editable")
    except ConnectionError as error:
        print(f"audit: NOT DONE, vulnerabilities could not be asked for: {error}")
        sys.exit(3 if strict else 0)
    lines, vulnerable, skipped = findings(installed)
    print("\n".join(lines))
    sys.exit(1 if vulnerable else 3 if skipped and strict else 0)


def findings(installed: list[dict[str, Any]]) -> tuple[list[str], int, int]:
    """What to say of packages as pip-audit tells them; how many are vulnerable, and not asked."""
    lines = []
    for each in installed:
        for one in each.get("vulns", ()):
            mended = ", ".join(one["fix_versions"]) or "none"
            lines.append(f"{each['name']} {each['version']}: {one['id']}, mended in {mended}")
    vulnerable = sum(bool(each.get("vulns")) for each in installed)
    skipped = [
        f"{each['name']} ({each['skip_reason']})" for each in installed if "skip_reason" in each
    ]
    lines += [f"not asked: {each}" for each in skipped]
    asked = len(installed) - len(skipped)
    lines.append(
        f"audit: {asked} packages asked, {vulnerable} vulnerable, {len(skipped)} not asked"
    )
    return lines, vulnerable, len(skipped)


def known_release() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requirements.txt"
        path.write_text(f"{KNOWN}\n")
        return audited("--no-deps", "--disable-pip", "--requirement", str(path))


def audited(*flags: str) -> list[dict[str, Any]]:
    """The packages that pip-audit tells of; ConnectionError where it tells of none."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
    try:
        result = subprocess.run(
            [*command, *flags], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        return json.loads(result.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        raise ConnectionError(f"no answer in {SECONDS} s") from None
    except ValueError:
        reason = (result.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
        raise ConnectionError(reason) from None


if __name__ == "__main__":
    main()
