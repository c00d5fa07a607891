"""The tests' time by file, or by test, from what `pytest --junitxml=FILE` writes.

    pytest --junitxml=tests.xml && python tools/test_times.py tests.xml
    python tools/test_times.py tests.xml --tests --most 30 --json times.json

Seconds count a test's fixtures too; what several tests share is in the first one's.
"""

import argparse
import json
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("junit", type=Path, help="what pytest wrote")
    parser.add_argument("--tests", action="store_true", help="a row for each test")
    parser.add_argument("--most", type=int, help="number of rows; without it, all")
    parser.add_argument("--json", type=Path, help="file for the figures")
    arguments = parser.parse_args()
    rows = times(arguments.junit, arguments.tests)
    total = sum(seconds for _, seconds in rows.values())
    print(f"{'seconds':>8} {'share':>6} {'tests':>6}")
    for name, (count, seconds) in list(rows.items())[: arguments.most]:
        print(f"{seconds:8.1f} {seconds / total:6.1%} {count:6} {name}")
    print(f"{total:8.1f} {1:6.1%} {sum(count for count, _ in rows.values()):6} all")
    if arguments.json:
        figures = {name: {"tests": n, "seconds": round(s, 3)} for name, (n, s) in rows.items()}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def times(junit: Path, by_test: bool = False) -> dict[str, tuple[int, float]]:
    """By file or test, the slowest first: the number of tests, and their seconds together."""
    counts: dict[str, int] = defaultdict(int)
    seconds: dict[str, float] = defaultdict(float)
    for case in ET.parse(junit).iter("testcase"):
        name = case.get("classname", "").replace(".", "/") + ".py"
        if by_test:
            name += f"::{case.get('name')}"
        counts[name] += 1
        seconds[name] += float(case.get("time", 0))
    return {
        name: (counts[name], seconds[name]) for name in sorted(seconds, key=lambda n: -seconds[n])
    }


if __name__ == "__main__":
    main()
