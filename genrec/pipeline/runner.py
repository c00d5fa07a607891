"""Runs the stages in order; skips what is done already from the same files and settings."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from genrec.config import Config
from genrec.config.validation import check
from genrec.data.known import data_source
from genrec.data.locations import fingerprints
from genrec.errors import UserError
from genrec.pipeline import stages
from genrec.pipeline.warm_start import fingerprint_of
from genrec.runs import manifest
from genrec.runs.digests import forget_digest, remembered_digests
from genrec.runs.folder import (
    STAGES,
    claimed,
    keep_settings,
    refuse_unwritable,
    require,
    stages_before,
    with_absolute_paths,
)
from genrec.storage.files import sha256

logger = logging.getLogger(__name__)

MAKE: dict[str, Callable[[Config, Path, stages.Identity], str]] = {
    "prepare": stages.make_dataset,
    "embed": stages.make_embeddings,
    "tokenize": stages.make_semantic_ids,
    "train": stages.make_checkpoints,
    "graph": stages.make_graph,
    "fuse": stages.make_fusion,
    "evaluate": stages.make_metrics,
    "report": stages.make_report,
}
"""The function that writes the files of each stage, and returns the line that sums them up."""


@dataclass(frozen=True)
class Outcome:
    """The result of a stage: it was made anew, or skipped because it was done already."""

    stage: str
    skipped: bool
    seconds: float
    summary: str


def run(config: Config, folder: str | Path) -> list[Outcome]:
    """Runs every stage that is not done yet, in order.

    Raises:
        UserError: the folder or an input is not as it should be, or another process writes there.
    """
    with open_run(config, folder, "genrec run") as opened:
        return [opened.make(name) for name in STAGES]


def run_stage(name: str, config: Config, folder: str | Path, *, leads: bool = True) -> Outcome:
    """Opens a run for one stage; see `open_run` and `OpenRun.make`.

    Raises:
        UserError: a stage before it is not done, the folder or an input is not as it should be, or
            another process writes there.
    """
    with open_run(config, folder, f"genrec {name}", leads=leads) as opened:
        return opened.make(name)


@dataclass(frozen=True)
class OpenRun:
    """A run whose settings are sound and kept, and whose folder is this process's own.

    Its settings have absolute paths. For `writable` see `claimed`, for `leads` see `open_run`.
    """

    config: Config
    folder: Path
    writable: bool
    leads: bool

    def make(self, name: str) -> Outcome:
        """Runs one stage, or skips it if its files are there and made from the same.

        Raises:
            UserError: a stage before it is not done, or an input is not as it should be.
        """
        started = time.perf_counter()
        config, folder, stage = self.config, self.folder, STAGES[name]
        inputs = _inputs(name, config, folder)
        identity = manifest.identity(name, config, stage.sections, inputs)
        for file, digest in inputs.items():
            logger.debug("%s reads %s, sha256 %s", name, file, digest)
        entry = manifest.read_manifest(folder).get(name)
        reason = manifest.outdated(folder, entry, config, stage.sections, inputs)
        logger.debug("%s: %s", name, reason or "done before, from the same files and settings")
        if entry is not None and reason is None:
            return Outcome(name, True, time.perf_counter() - started, entry["summary"])
        refuse_unwritable(folder, self.writable)
        for output in stage.outputs:
            forget_digest(folder / output)
        summary = MAKE[name](config, folder, identity)
        seconds = time.perf_counter() - started
        if self.leads:
            if not (folder / "config.yaml").exists():  # what was made has made the folder anew
                advice = "delete what is left, and begin again"
                raise UserError(f"{folder} was deleted while {name} was at work: {advice}")
            manifest.record(
                folder, name, config, stage.sections, inputs, stage.outputs, seconds, summary
            )
        return Outcome(name, False, seconds, summary)


@contextlib.contextmanager
def open_run(
    config: Config, folder: str | Path, command: str, *, leads: bool = True
) -> Iterator[OpenRun]:
    """Checks the settings, claims the folder for writing, and keeps the settings in it.

    Args:
        command: who has the folder, for those that are refused meanwhile.
        leads: whether this process takes the run's lock, and writes its settings and manifest,
            which only one of several that train together should.

    Raises:
        UserError: the settings make no sense; the folder holds something else, or a training with
            other settings; or another process writes there.
    """
    check(config)
    config, folder = with_absolute_paths(config), Path(folder)
    if not leads:
        yield OpenRun(config, folder, writable=True, leads=False)
        return
    with claimed(folder, command) as writable, remembered_digests():
        keep_settings(config, folder, writable=writable)
        yield OpenRun(config, folder, writable=writable, leads=True)


def _inputs(name: str, config: Config, folder: Path) -> dict[str, str]:
    """The sha256 of all that a stage reads.

    Raises:
        UserError: a stage before it is not done, or an input file is missing.
    """
    digests: dict[str, str] = {}
    if name == "prepare":
        source = data_source(config.data)
        for location in (source.interactions, source.items):
            digests |= {} if location is None else fingerprints(location)
    if name == "embed" and config.embedding.path is not None:
        path = Path(config.embedding.path)
        if not path.is_file():
            raise UserError(f"{path} does not exist")
        digests[str(path)] = sha256(path)
    if name == "train" and config.training.init_from is not None:
        digests |= fingerprint_of(Path(config.training.init_from))
    return digests | require(folder, config, *stages_before(name))
