"""A run folder: its stages and their files, its lock, its settings, and which stages are done."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genrec.config import HOW, Config
from genrec.config.parsing import differences, dump_config, load_config, setting, with_settings
from genrec.data.locations import absolute
from genrec.errors import UserError
from genrec.runs import manifest
from genrec.storage.files import replacing, sweep
from genrec.storage.lock import held, holder


@dataclass(frozen=True)
class Stage:
    """One step of a run: the sections of the settings that it depends on, and what it writes."""

    sections: tuple[str, ...]
    outputs: tuple[str, ...]


_LISTS = ("recommendations.parquet", "recommendations_filtered.parquet")
STAGES = {
    "prepare": Stage(("data",), ("dataset",)),
    "embed": Stage(("embedding",), ("embeddings.npy",)),
    "tokenize": Stage(("tokenizer",), ("tokenizer",)),
    "train": Stage(("model", "training"), ("checkpoints", "metrics.jsonl")),
    # Training reads neither; behind it they leave runs that had none as they are.
    "graph": Stage(("experts",), ("graph",)),
    "fuse": Stage(("experts",), ("fusion.json",)),
    "evaluate": Stage(("decoding", "evaluation"), ("metrics.json", "decoding_cost.json", *_LISTS)),
    "report": Stage(
        (
            "data",
            "embedding",
            "tokenizer",
            "model",
            "training",
            "experts",
            "decoding",
            "evaluation",
        ),
        ("report.html",),
    ),
}
"""By name, in order: each reads the files of all before it."""
_OUTPUTS = [name for stage in STAGES.values() for name in stage.outputs]
_NAMES = ["config.yaml", "manifest.json", "catalogue.parquet", *_OUTPUTS]
_WRITTEN = "|".join([*map(re.escape, _NAMES), r"spill\..+"])
"""Pattern of the names that genrec writes in a run's folder; a user may have others there."""
LOCK = ".lock"
_PATHS = ("data.interactions", "data.items", "data.raw", "embedding.path", "training.init_from")
"""The settings that are paths."""
_SHAPES_TRAINING = ("data", "embedding", "tokenizer", "model", "training", "seed")


@contextlib.contextmanager
def claimed(folder: Path, command: str) -> Iterator[bool]:
    """Makes the run's folder or checks an existing one, and holds its lock meanwhile.

    Files that a killed process left half written are removed.

    Yields:
        Whether anything can be written: where all is done, the folder may be read-only.

    Raises:
        UserError: the folder holds something else, or another process writes there.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: choose a folder with --out")
    if not (folder / "config.yaml").exists() and folder.exists():
        # A run that was killed in its first moment has left no more than these.
        first = (LOCK, ".config.yaml.")
        if not all(path.name.startswith(first) for path in folder.iterdir()):
            raise UserError(f"{folder} holds other files: choose a new folder with --out")
    with held(folder / LOCK, folder, command, ", or name another --out") as writable:
        if writable:
            sweep(folder, _WRITTEN)
        yield writable


@contextlib.contextmanager
def alone(folder: Path, command: str) -> Iterator[None]:
    """As `claimed`, for a command that cannot do without writing.

    Raises:
        UserError: it is not a run or cannot be written, or another process writes there.
    """
    config_of(folder)
    with claimed(folder, command) as writable:
        refuse_unwritable(folder, writable)
        yield


def keep_settings(config: Config, folder: Path, *, writable: bool) -> None:
    """Writes the settings of a run to its config.yaml, unless they are there.

    Args:
        config: with absolute paths.
        writable: whether anything can be written, as `claimed` yields it.

    Raises:
        UserError: the folder holds a training with other settings, which would be lost; or it
            cannot be written.
    """
    file, text = folder / "config.yaml", dump_config(config)
    if file.exists() and file.read_text(encoding="utf-8") == text:
        return
    if (folder / "checkpoints").exists():
        differing = [
            f"{name} was {old}, now {new}"
            for name, old, new in differences(load_config(file), config)
            if name.split(".")[0] in _SHAPES_TRAINING and name not in HOW
        ]
        if differing:
            raise UserError(
                f"{folder} holds a training with other settings ({'; '.join(differing)}): "
                "choose another folder with --out, or delete its checkpoints"
            )
    refuse_unwritable(folder, writable)
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def refuse_unwritable(folder: Path, writable: bool) -> None:
    if not writable:
        raise UserError(
            f"{folder} cannot be written: change its permissions, or name another --out"
        )


def files(folder: Path) -> list[str]:
    """The files and folders that a run has written, in the order of its stages."""
    outputs = [name for name in _OUTPUTS if (folder / name).exists()]
    return ["config.yaml", "manifest.json", *outputs]


def stages_before(name: str) -> list[str]:
    return list(STAGES)[: list(STAGES).index(name)]


def require(folder: Path, config: Config, *names: str) -> dict[str, str]:
    """The files of finished stages and their SHA-256.

    Args:
        config: as it was given to `run_stage`, or as config.yaml has it.

    Raises:
        UserError: one of them, or a stage that it builds on, is not done, or was done with other
            settings or from other files than those that are there.
    """
    config = with_absolute_paths(config)
    entries = manifest.read_manifest(folder)
    files: dict[str, dict[str, str]] = {}
    last = max(map(list(STAGES).index, names), default=-1)
    for name in list(STAGES)[: last + 1]:
        entry = entries.get(name)
        if entry is None:
            raise UserError(f"{folder}: {name} is not done; {_remedy(folder, name, 'first')}")
        newer = [stage for stage in files if not files[stage].items() <= entry["inputs"].items()]
        if not manifest.made_with(entry, config, STAGES[name].sections):
            problem = f"{name} was done with other settings"
        elif newer:
            problem = f"{newer[0]} was done again after {name}"
        else:
            problem = manifest.disturbed(folder, entry)
        if problem is not None:
            raise UserError(f"{folder}: {problem}; {_remedy(folder, name, 'again')}")
        files[name] = entry["outputs"]
    return {file: digest for name in names for file, digest in files[name].items()}


def _remedy(folder: Path, name: str, when: str) -> str:
    """What to do where the files of a stage are not there, or not the right ones."""
    other = holder(folder / LOCK)
    return f"run `genrec {name} {folder}` {when}" if other is None else f"wait for {other}"


def config_of(folder: Path) -> Config:
    """The settings that a run keeps; UserError where there is no run."""
    if not (folder / "config.yaml").exists():
        raise UserError(f"{folder} is not a run: make one with `genrec run CONFIG --out {folder}`")
    return load_config(folder / "config.yaml")


def with_absolute_paths(config: Config) -> Config:
    """Settings that mean the same from whatever folder a later command is called."""
    paths = {name: setting(config, name) for name in _PATHS}
    paths = {name: absolute(path) for name, path in paths.items() if path is not None}
    return with_settings(config, paths)
