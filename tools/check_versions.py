"""The tests with the oldest, or the newest, versions that genrec allows, in a fresh environment.

    python tools/check_versions.py --python python3.11 --resolution lowest-direct -- tests/sequences
    python tools/check_versions.py --python python3.13 --resolution highest --json newest.json

`lowest-direct` takes the oldest allowed version of what pyproject.toml names, and the newest of
what those need; `highest` takes the newest of all. Nothing is built from source: a version without
a wheel for that Python is passed over. It needs `uv`, from PyPI. The environment is
removed in the end, unless --keep names a folder for it. What stands after -- goes to pytest;
without any, `QUICK` is run: every stage from raw files to lists and a bundle, and the units that
touch the libraries.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
EXTRA = "test"
QUICK = [
    "tests/semantic_ids/test_collisions.py",
    "tests/semantic_ids/test_trie.py",
    "tests/sequences/test_histories.py",
    "tests/sequences/test_inputs.py",
    "tests/recommend/test_catalog.py",
    "tests/storage/test_safetensors.py",
    "tests/embedding",
    "tests/tokenizer/test_kmeans.py",
    "tests/semantic_ids/test_parquet.py",
    "tests/pipeline/test_runner.py::test_the_run_folder_keeps_its_contract",
    "tests/pipeline/test_small_catalogues.py",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--python", default=sys.executable, help="interpreter, by name or path")
    parser.add_argument("--resolution", choices=["highest", "lowest-direct"], default="highest")
    parser.add_argument("--keep", type=Path, help="folder for the environment, which then stays")
    parser.add_argument("--json", type=Path, help="file for what was found")
    parser.add_argument("tests", nargs="*", metavar="PYTEST", help="after --: for pytest")
    arguments = parser.parse_args()
    uv = shutil.which(
        "uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    if uv is None:
        raise SystemExit("there is no uv: pip install uv")
    with tempfile.TemporaryDirectory(prefix="genrec-versions-") as work:
        folder = arguments.keep or Path(work) / "venv"
        python = environment(uv, folder, arguments.python, arguments.resolution)
        results = {
            "python": version_of(python),
            "resolution": arguments.resolution,
            "versions": versions(uv, python),
            "tests": arguments.tests or QUICK,
        }
        show(results)
        results |= tested(python, results["tests"], Path(work))
    print(f"{results['outcome']} in {results['seconds']:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    raise SystemExit(results["status"])


def environment(uv: str, folder: Path, interpreter: str, resolution: str) -> Path:
    """Makes a virtual environment with genrec in it, and returns its interpreter."""
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", interpreter, folder], check=True)
    python = folder / "bin/python"
    how = ["--quiet", "--python", python, "--resolution", resolution, "--only-binary", ":all:"]
    subprocess.run([uv, "pip", "install", *how, "-e", f"{ROOT}[{EXTRA}]"], check=True)
    return python


def version_of(python: Path) -> str:
    answer = subprocess.run([python, "--version"], check=True, capture_output=True, text=True)
    return answer.stdout.split()[1]


def versions(uv: str, python: Path) -> dict[str, str]:
    """Of what pyproject.toml names, with the extras that the tests take: what was installed."""
    command = [uv, "pip", "list", "--quiet", "--python", str(python), "--format", "json"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    installed = {name_of(entry["name"]): entry["version"] for entry in json.loads(listed)}
    named = requirements(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"], EXTRA)
    return {name: installed[name] for name in named} | {"jaxlib": installed["jaxlib"]}


def requirements(project: dict[str, Any], extra: str) -> list[str]:
    """Names of the dependencies, and of an extra's with those of the extras that it names."""
    names = list(map(name_of, project["dependencies"]))
    left, seen = [extra], set()
    while left:
        seen.add(current := left.pop())
        for wanted in project["optional-dependencies"][current]:
            if others := re.fullmatch(rf"{project['name']}\[(.*)\]", wanted):
                left += [other for other in others[1].split(",") if other not in seen]
            else:
                names.append(name_of(wanted))
    return names


def name_of(requirement: str) -> str:
    """A distribution's normalised name."""
    name = re.match(r"[\w.-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def tested(python: Path, tests: list[str], work: Path) -> dict[str, Any]:
    """Runs pytest with a cache of its own, so that it finds nothing that others compiled."""
    began = time.monotonic()
    command = [python, "-m", "pytest", "-q", "-o", f"cache_dir={work / 'cache'}", *tests]
    path = os.pathsep.join([str(python.parent), os.environ["PATH"]])
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        command, cwd=ROOT, env={**environ, "PATH": path}, stdout=subprocess.PIPE, text=True
    )
    last = ""
    for line in process.stdout or ():
        print(line, end="", flush=True)
        last = line.strip() or last
    status = process.wait()
    return {"outcome": last, "status": status, "seconds": time.monotonic() - began}


def show(outcome: dict[str, Any]) -> None:
    print(f"Python {outcome['python']}, {outcome['resolution']}")
    for name, version in outcome["versions"].items():
        print(f"  {name:22}{version}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
