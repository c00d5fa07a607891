"""The stages in order: what each one depends on and leaves in the run folder; what is skipped."""

import contextlib
import dataclasses
import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from genrec import assembly, manifest, stages
from genrec.config import HOW, Config
from genrec.data.locations import absolute, fingerprints
from genrec.errors import UserError
from genrec.files import replacing, sha256, sweep
from genrec.lock import held, holder
from genrec.rules import check
from genrec.settings import differences, dump_config, load_config
from genrec.warm_start import fingerprint_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Attributes:
        make: writes its files, and returns the line that sums them up.
        sections: the parts of the settings that it depends on.
        after: the stages whose files it reads.
        outputs: the files that it writes.
    """

    make: Callable[[stages.Task], str]
    sections: tuple[str, ...]
    after: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of a stage: made anew, or skipped because it was done already."""

    stage: str
    skipped: bool
    seconds: float
    summary: str


def run(config: Config, folder: str | Path) -> list[Outcome]:
    """Runs every stage that is not done yet, in order.

    Raises:
        UserError: the folder or an input is not as it should be, or another process writes there.
    """
    check(config)
    with claimed(Path(folder), "genrec run"):
        return [run_stage(name, config, folder) for name in STAGES]


def run_stage(name: str, config: Config, folder: str | Path, *, leads: bool = True) -> Outcome:
    """Runs one stage, or skips it if its files are there and made from the same.

    Args:
        leads: whether this process has the run's lock, and writes its settings and manifest, which
            only one of several that train together should.

    Raises:
        UserError: a stage before it is not done, the folder or an input is not as it should be, or
            another process writes there.
    """
    folder = Path(folder)
    if not leads:
        return _run_stage(name, _with_absolute_paths(config), folder, leads=False, writable=True)
    check(config)
    with claimed(folder, f"genrec {name}") as writable:
        return _run_stage(name, open_run(config, folder), folder, leads=True, writable=writable)


def _run_stage(name: str, config: Config, folder: Path, *, leads: bool, writable: bool) -> Outcome:
    started = time.perf_counter()
    stage = STAGES[name]
    inputs = _inputs(name, config, folder)
    identity = manifest.identity(name, config, stage.sections, inputs)
    for file, digest in inputs.items():
        logger.debug("%s reads %s, sha256 %s", name, file, digest)
    entry = manifest.read_manifest(folder).get(name)
    reason = manifest.outdated(folder, entry, config, stage.sections, inputs)
    logger.debug("%s: %s", name, reason or "done before, from the same files and settings")
    if entry is not None and reason is None:
        return Outcome(name, True, time.perf_counter() - started, entry["summary"])
    if not writable:
        raise UserError(_unwritable(folder))
    summary = stage.make(stages.Task(config, folder, identity))
    if leads and not (folder / "config.yaml").exists():  # what was made has made the folder anew
        raise UserError(
            f"{folder} was deleted while {name} was at work: delete what is left, and begin again"
        )
    seconds = time.perf_counter() - started
    if leads:
        manifest.record(
            folder, name, config, stage.sections, inputs, stage.outputs, seconds, summary
        )
    return Outcome(name, False, seconds, summary)


@contextlib.contextmanager
def claimed(folder: Path, command: str) -> Iterator[bool]:
    """Makes the run's folder or checks the one that is there, and has it to itself for writing.

    What a killed process left half written is removed.

    Yields:
        Whether anything can be written: where all is done, the folder may be read-only.

    Raises:
        UserError: the folder holds something else, or another process writes there.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: choose a folder with --out")
    if not (folder / "config.yaml").exists() and folder.exists():
        # One that was killed in its first moment has left no more than these.
        begun = (_LOCK, ".config.yaml.")
        others = [path for path in folder.iterdir() if not path.name.startswith(begun)]
        if others:
            raise UserError(f"{folder} holds other files: choose a new folder with --out")
    with held(folder / _LOCK, folder, command, ", or name another --out") as writable:
        if writable:
            sweep(folder, _written())
        yield writable


@contextlib.contextmanager
def alone(folder: Path, command: str) -> Iterator[None]:
    """As `claimed`, for a command that has something to write in any case.

    Raises:
        UserError: it is not a run or cannot be written, or another process writes there.
    """
    config_of(folder)
    with claimed(folder, command) as writable:
        if not writable:
            raise UserError(_unwritable(folder))
        yield


def open_run(config: Config, folder: Path) -> Config:
    """Keeps the settings of a run in its folder, unless they are there.

    Returns:
        The settings with absolute paths, as they are kept in config.yaml.

    Raises:
        UserError: the folder holds something else, or a training with other settings, which
            would be lost; or it cannot be written, or another process writes there.
    """
    check(config)
    config = _with_absolute_paths(config)
    with claimed(folder, "genrec") as writable:
        _keep(config, folder, writable)
    return config


def _keep(config: Config, folder: Path, writable: bool) -> None:
    file, text = folder / "config.yaml", dump_config(config)
    if file.exists() and file.read_text(encoding="utf-8") == text:
        return
    if (folder / "checkpoints").exists():
        before, now = load_config(file), config
        differing = [
            f"{name} was {old}, now {new}"
            for name, old, new in differences(before, now)
            if name.split(".")[0] in _SHAPES_TRAINING and name not in HOW
        ]
        if differing:
            raise UserError(
                f"{folder} holds a training with other settings ({'; '.join(differing)}): "
                "choose another folder with --out, or delete its checkpoints"
            )
    if not writable:
        raise UserError(_unwritable(folder))
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _unwritable(folder: Path) -> str:
    return f"{folder} cannot be written: change its permissions, or name another --out"


def files(folder: Path) -> list[str]:
    """What a run has written, in the order of its stages."""
    return [
        "config.yaml",
        "manifest.json",
        *(name for stage in STAGES.values() for name in stage.outputs if (folder / name).exists()),
    ]


def _inputs(name: str, config: Config, folder: Path) -> dict[str, str]:
    """The sha256 of all that a stage reads.

    Raises:
        UserError: a stage before it is not done, or an input file is missing.
    """
    found: dict[str, str] = {}
    if name == "prepare":
        source = assembly.data_source(config.data)
        for location in (source.interactions, source.items):
            found |= {} if location is None else fingerprints(location)
    if name == "embed" and config.embedding.path is not None:
        path = Path(config.embedding.path)
        if not path.is_file():
            raise UserError(f"{path} does not exist")
        found[str(path)] = sha256(path)
    if name == "train" and config.training.init_from is not None:
        found |= fingerprint_of(Path(config.training.init_from))
    return found | require(folder, config, *STAGES[name].after)


def require(folder: Path, config: Config, *names: str) -> dict[str, str]:
    """The files of finished stages and their sha256.

    Args:
        config: as it was given to `run_stage`, or as config.yaml has it.

    Raises:
        UserError: one of them, or a stage that it builds on, is not done, or was done with other
            settings or from other files than those that are there.
    """
    config = _with_absolute_paths(config)
    wanted = set(names)
    for name in reversed(STAGES):
        if name in wanted:
            wanted.update(STAGES[name].after)
    entries = manifest.read_manifest(folder)
    files: dict[str, dict[str, str]] = {}
    for name in STAGES:
        if name not in wanted:
            continue
        entry = entries.get(name)
        if entry is None:
            raise UserError(f"{folder}: {name} is not done; {_remedy(folder, name, 'first')}")
        wrong = None
        if not manifest.made_with(entry, config, STAGES[name].sections):
            wrong = f"{name} was done with other settings"
        for earlier in STAGES[name].after:
            if not files[earlier].items() <= entry["inputs"].items():
                wrong = wrong or f"{earlier} was done again after {name}"
        wrong = wrong or manifest.disturbed(folder, entry)
        if wrong is not None:
            raise UserError(f"{folder}: {wrong}; {_remedy(folder, name, 'again')}")
        files[name] = entry["outputs"]
    return {file: digest for name in names for file, digest in files[name].items()}


def _remedy(folder: Path, name: str, when: str) -> str:
    """What to do where the files of a stage are not there, or not the right ones."""
    other = holder(folder / _LOCK)
    return f"run `genrec {name} {folder}` {when}" if other is None else f"wait for {other}"


def _written() -> str:
    """Pattern of the names that genrec writes in a run's folder; a user may have others there."""
    names = ["config.yaml", "manifest.json", "catalogue.parquet"]
    names += [name for stage in STAGES.values() for name in stage.outputs]
    return "|".join([*map(re.escape, names), r"spill\..+"])


def config_of(folder: Path) -> Config:
    if not (folder / "config.yaml").exists():
        raise UserError(f"{folder} is not a run: make one with `genrec run CONFIG --out {folder}`")
    return load_config(folder / "config.yaml")


def _with_absolute_paths(config: Config) -> Config:
    """Settings that mean the same from whatever folder a later command is called."""

    def everywhere(location: str | None) -> str | None:
        return None if location is None else absolute(location)

    data, embedding, training = config.data, config.embedding, config.training
    return dataclasses.replace(
        config,
        data=dataclasses.replace(
            data,
            interactions=everywhere(data.interactions),
            items=everywhere(data.items),
            raw=everywhere(data.raw),
        ),
        embedding=dataclasses.replace(embedding, path=everywhere(embedding.path)),
        training=dataclasses.replace(training, init_from=everywhere(training.init_from)),
    )


STAGES = {
    "prepare": Stage(
        stages.make_dataset,
        sections=("data",),
        after=(),
        outputs=("dataset",),
    ),
    "embed": Stage(
        stages.make_embeddings,
        sections=("embedding",),
        after=("prepare",),
        outputs=("embeddings.npy",),
    ),
    "tokenize": Stage(
        stages.make_semantic_ids,
        sections=("tokenizer",),
        after=("prepare", "embed"),
        outputs=("tokenizer",),
    ),
    "train": Stage(
        stages.make_checkpoints,
        sections=("model", "training"),
        after=("prepare", "embed", "tokenize"),
        outputs=("checkpoints", "metrics.jsonl"),
    ),
    "evaluate": Stage(
        stages.make_metrics,
        sections=("decoding", "evaluation"),
        after=("prepare", "embed", "tokenize", "train"),
        outputs=(
            "metrics.json",
            "decoding_cost.json",
            "recommendations.parquet",
            "recommendations_filtered.parquet",
        ),
    ),
    "report": Stage(
        stages.make_report,
        sections=("data", "embedding", "tokenizer", "model", "training", "decoding", "evaluation"),
        after=("prepare", "embed", "tokenize", "train", "evaluate"),
        outputs=("report.html",),
    ),
}
_LOCK = ".lock"
_SHAPES_TRAINING = ("data", "embedding", "tokenizer", "model", "training", "seed")
