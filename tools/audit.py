"""Looks up every installed package in the list of known vulnerabilities, with pip-audit.

    pip install -e '.[dev]' && python tools/audit.py

Exit status 1 says that one is vulnerable, and names it. PyPI gives the list; a mirror of it may
not: then it says what could not be looked up, which is no mistake of this code, and ends with
status 0, or with 1 under --strict.
"""

import argparse
import json
import subprocess
import sys

_COMMAND = ("-m", "pip_audit", "--local", "--skip-editable", "--format", "json")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--strict", action="store_true", help="all must have been looked up")
    given = parser.parse_args()
    found = subprocess.run([sys.executable, *_COMMAND], capture_output=True, text=True)
    try:
        packages = json.loads(found.stdout)["dependencies"]
    except ValueError:
        lines = found.stderr.strip().splitlines() or ["pip-audit said nothing"]
        print(f"the audit could not be made: {lines[-1]}")
        sys.exit(int(given.strict))
    known = [each for each in packages if "vulns" in each]
    vulnerable = [each for each in known if each["vulns"]]
    for each in vulnerable:
        for flaw in each["vulns"]:
            fixed = ", ".join(flaw["fix_versions"]) or "no version"
            print(f"{each['name']} {each['version']}: {flaw['id']}, mended by {fixed}")
    print(
        f"{len(known)} of {len(packages)} packages were looked up, {len(vulnerable)} of them are "
        "vulnerable" + ("; the index has no advisories for the others" * (known != packages))
    )
    sys.exit(bool(vulnerable) or (given.strict and known != packages))


if __name__ == "__main__":
    main()
