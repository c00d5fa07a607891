"""`manifest.json` of a run folder: an entry for each finished stage, and what is out of date.

An entry is written last and atomically, so a stage without one did not finish. It holds all that
made the stage's files (settings, seed, sha256 of inputs, versions, commit) and their sha256.
"""

import dataclasses
import datetime
import functools
import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from genrec.config import HOW, Config
from genrec.errors import UserError, reason
from genrec.runs.digests import digest
from genrec.storage.files import leads_outside, read_json, write_json
from genrec.storage.json_schema import ANY, expect

SCHEMA = 1
_STAGES = {
    ANY: {
        "config": {ANY: {}},
        "seed": int,
        "inputs": {ANY: str},
        "outputs": {ANY: str},
        "finished": str,
        "seconds": float,
        "summary": str,
        "git_commit": (str, None),
        "versions": {ANY: str},
    }
}
_PACKAGES = ("genrec", "jax", "flax", "optax", "orbax-checkpoint", "numpy", "faiss-cpu")


def read_manifest(run: Path) -> dict[str, Any]:
    """The entries of the finished stages of a run, by stage; empty where there are none.

    Raises:
        UserError: the manifest can't be read, or a newer genrec wrote it.
    """
    path = run / "manifest.json"
    if not path.exists():
        return {}
    try:
        manifest = read_json(path)
        expect(manifest, {"schema": int, "stages": {}})
        if manifest["schema"] != SCHEMA:
            raise UserError(f"{path} has schema {manifest['schema']}, this genrec reads {SCHEMA}")
        expect(manifest["stages"], _STAGES)
        for name in (name for entry in manifest["stages"].values() for name in entry["outputs"]):
            if leads_outside(name):
                raise ValueError(f"it names a file outside of the run: {name!r:.100}")
    except ValueError as error:
        raise UserError(f"{path} is not a manifest of genrec: {reason(error)}") from error
    return manifest["stages"]


def fingerprint(identity: dict[str, Any]) -> str:
    """Identifies what a stage will make, in few characters."""
    return hashlib.sha256(json.dumps([SCHEMA, identity], sort_keys=True).encode()).hexdigest()


def identity(
    stage: str, config: Config, sections: Iterable[str], inputs: dict[str, str]
) -> dict[str, Any]:
    """All that a stage's files are made from, by name: settings, seed, and the inputs' sha256."""
    settings = _flat(settings_of(config, sections))
    return {"stage": stage, "seed": config.seed, **settings, **inputs}


def settings_of(config: Config, sections: Iterable[str]) -> dict[str, Any]:
    """Some sections of the settings, as they come back from JSON, but for those of `HOW`."""
    settings = {section: dataclasses.asdict(getattr(config, section)) for section in sections}
    for name in HOW:
        section, _, setting = name.partition(".")
        settings.get(section, {}).pop(setting, None)
    return json.loads(json.dumps(settings))


def made_with(entry: dict[str, Any], config: Config, sections: Iterable[str]) -> bool:
    """Whether a stage was made with these settings and this seed.

    A setting that genrec did not have then counts as its default, which changes nothing; one whose
    default has changed since counts as what it was.
    """
    sections = list(sections)
    before = _filled(entry["config"], settings_of(Config(), sections))
    return (before, entry["seed"]) == (settings_of(config, sections), config.seed)


def disturbed(run: Path, entry: dict[str, Any]) -> str | None:
    """Which file of a stage is not as it left it, in a few words; None if all are."""
    for name, recorded in entry["outputs"].items():
        try:
            if digest(run / name) != recorded:
                return f"{name} was changed since"
        except FileNotFoundError:  # or it goes while it is read, for the stage is done again
            return f"{name} is missing"
    return None


def outdated(
    run: Path,
    entry: dict[str, Any] | None,
    config: Config,
    sections: Iterable[str],
    inputs: dict[str, str],
) -> str | None:
    """Why a stage has to be done, in a few words; None if it is done, and would be the same."""
    if entry is None:
        return "not done yet"
    if changed := [name for name in inputs if entry["inputs"].get(name) != inputs[name]]:
        return f"{', '.join(changed)} changed"
    if entry["inputs"] != inputs:
        return "it was made from more files than now"
    if entry["seed"] != config.seed:
        return f"seed was {entry['seed']}, now {config.seed}"
    if not made_with(entry, config, sections):
        before, now = _flat(entry["config"]), _flat(settings_of(config, sections))
        unlike = [f"{name} was {before.get(name)}" for name in now if before.get(name) != now[name]]
        return f"other settings: {', '.join(unlike) or 'some that are no longer there'}"
    return disturbed(run, entry)


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{section}.{name}": value
        for section, values in settings.items()
        for name, value in values.items()
    }


def _filled(given: Any, default: Any) -> Any:
    """A tree with what it lacks of another."""
    if not isinstance(given, dict) or not isinstance(default, dict):
        return given
    return default | {name: _filled(value, default.get(name)) for name, value in given.items()}


def record(
    run: Path,
    stage: str,
    config: Config,
    sections: Iterable[str],
    inputs: dict[str, str],
    outputs: Iterable[str],
    seconds: float,
    summary: str,
) -> None:
    """Writes the entry of a stage that has just finished."""
    entry = {
        "fingerprint": fingerprint(identity(stage, config, sections, inputs)),
        "config": settings_of(config, sections),
        "seed": config.seed,
        "inputs": inputs,
        "outputs": {name: digest(run / name) for name in outputs},
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "summary": summary,
        **provenance(),
    }
    write_json(
        run / "manifest.json", {"schema": SCHEMA, "stages": {**read_manifest(run), stage: entry}}
    )


@functools.cache
def provenance() -> dict[str, Any]:
    """Which code made a file: genrec's git commit, and the versions of the packages below it."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    python = platform.python_version()
    return {"git_commit": _git_commit(), "versions": {"python": python, **versions}}


def _git_commit() -> str | None:
    """The commit of genrec's own checkout, "+" behind it if files differ; None outside of one."""
    here = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != here.parent:
            return None
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
