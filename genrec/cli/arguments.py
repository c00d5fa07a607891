"""The arguments of each command, as dataclasses whose docstrings are its help."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from genrec.config import Config, DecodingConfig
from genrec.serving.options import ServingOptions


@dataclass(frozen=True, kw_only=True)
class CommonFlags:
    """What every command but `completion` takes."""

    quiet: Annotated[bool, tyro.conf.arg(aliases=("-q",)), tyro.conf.FlagCreatePairsOff] = False
    """Print errors only: no results for people, no progress, no warnings."""
    verbose: Annotated[bool, tyro.conf.arg(aliases=("-v",)), tyro.conf.FlagCreatePairsOff] = False
    """Say more on stderr: what is read, why a stage is done or skipped, what is compiled and for
    how many seconds; and the traceback of an error."""


@dataclass(frozen=True, kw_only=True)
class ResultFlags(CommonFlags):
    """What every command with a result takes."""

    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the result as one JSON document on stdout, and everything else on stderr."""


@dataclass(frozen=True)
class RunCommand(ResultFlags):
    """What every command that makes a run, or a part of it, takes."""

    target: tyro.conf.Positional[Path | None] = None
    """A config (YAML), or the folder of a run that was made from one; or neither, and a known data
    set with --dataset."""
    out: Path | None = None
    """Folder of the run; without it, runs/ and the name of the config or data set."""
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


class Run(RunCommand):
    """All stages in order, then what came of it; stages that are done are skipped.

    Example: genrec run configs/quickstart.yaml --model.d-model 96 --out runs/wide
    """


class Prepare(RunCommand):
    """Stage 1: read interactions and items; clean, order and number them.

    Example: genrec prepare --dataset movielens-100k
    """


class Embed(RunCommand):
    """Stage 2: turn each item's text into a vector.

    Example: genrec embed runs/quickstart
    """


@dataclass(frozen=True)
class Tokenize(RunCommand):
    """Stage 3: turn each item's vector into a semantic ID; or, in a run that has them, show them
    (--show), and let items come (--append) and go (--remove) without changing one.

    Example: genrec tokenize runs/quickstart --show --prefix 12
    """

    show: bool = False
    """Print the branches of the tree of semantic IDs, with their words and examples."""
    prefix: str | None = None
    """show: codes to begin with, such as 12,7."""
    top: int = 20
    """show: the largest branches, so many."""
    append: Path | None = None
    """File of new items, with the columns that the run's items have; they get codes, and are
    recommended from now on. Items that are there already stay as they are."""
    vectors: Path | None = None
    """append: .npy file of their vectors, where those of the run came from a file too."""
    remove: tuple[str, ...] = ()
    """Ids or titles of items that are recommended no more; --append brings them back."""


@dataclass(frozen=True)
class Train(RunCommand):
    """Stage 4: train the encoder-decoder; goes on where it was interrupted.

    Example: genrec train runs/quickstart
    """

    distributed: bool = False
    """This is one of several processes that train together, each with devices of its own: found by
    SLURM, GKE, TPU pods and Open MPI, or by the environment variables JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID. All of them must see the run's folder."""


class Graph(RunCommand):
    """Stage 5: what followed what in training, what was had together, and what is like it.

    Example: genrec graph runs/quickstart
    """


class Fuse(RunCommand):
    """Stage 6: fit on validation users how much the model counts, and all that is looked up.

    Example: genrec fuse runs/quickstart
    """


class Evaluate(RunCommand):
    """Stage 7: measure it on the held-out items, beside baselines.

    Example: genrec evaluate runs/quickstart --decoding.beam 100
    """


@dataclass(frozen=True)
class Report(ResultFlags):
    """Stage 8: one HTML page of an evaluated run, to read anywhere; or of several, side by side.

    Example: genrec report runs/quickstart --out quickstart.html
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs; of several, those that differ in their seed only count as one recommender,
    and the others are compared with the first."""
    out: Path | None = None
    """File of the page; without it, report.html in the run's folder, which is skipped if it is done
    already, or comparison.html here for several runs."""


@dataclass(frozen=True)
class Recommend(ResultFlags):
    """Recommend items to go on with: after a history, for a file of them, or for all users.

    Example: genrec recommend runs/quickstart --history "Star Wars (1977)" --k 5
    """

    run: tyro.conf.Positional[Path]
    """Folder of a trained run."""
    history: tuple[str, ...] | None = None
    """Item ids or titles, oldest first; none of them for somebody of whom nothing is known."""
    histories: Path | None = None
    """File of histories, JSON lines or Parquet: user_id; items, a list of ids or titles; and, if
    wanted, timestamps, a list of seconds since 1970; exclude and allow, lists of items for this
    user alone."""
    all: bool = False
    """Recommend to every user of the log, after all that they had."""
    k: int = 10
    """Number of items to recommend."""
    include_history: bool = False
    """Recommend items of the history again."""
    exclude: Path | None = None
    """File of items that nobody may get: an id or title on each line, or Parquet with item_id."""
    allow: Path | None = None
    """File of the only items that anybody may get."""
    unconstrained: bool = False
    """Search all codes, also those that no item has, and rank by them alone; the nearest item
    stands in for codes that no item has."""
    codes: bool = False
    """Give the items' codes too."""
    why: bool = False
    """history: say why each item is recommended, for a run that ranks by experts; with --json also
    what each of them adds to its score."""
    out: Path | None = None
    """Parquet file for the result: user_id, item_id (list), score (list) and, if asked for, codes
    (list of lists)."""
    decoding: DecodingConfig = field(default_factory=DecodingConfig)


@dataclass(frozen=True)
class Export(ResultFlags):
    """Make a folder of a trained run: a bundle with all that answering needs, to deploy; or its
    weights, for other programs.

    Example: genrec export runs/quickstart --out bundle
    """

    run: tyro.conf.Positional[Path]
    """Folder of a trained run."""
    out: Path
    """Folder to write."""
    format: Literal["bundle", "safetensors", "huggingface"] = "bundle"
    """bundle: what genrec.load_bundle reads. safetensors: the parameters under plain names, and
    what the model knows of the items. huggingface: for T5ForConditionalGeneration of Hugging Face,
    from runs of TIGER's recipe. The last two take --dtype; huggingface, decoding.beam and
    decoding.normalise too; all else goes with a bundle only."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Of weights and computations; without it, the run's own (model.dtype), and float32 where
    weights are all there is."""
    allow: Path | None = None
    """File of the only items that the bundle may recommend: an id or title on each line, or Parquet
    with item_id."""
    room: float = 0.25
    """Share of items that may come later, beside those that there are."""
    newcomers: bool = True
    """Put in what `genrec update --append` needs: the tokenizer, and an index of the items'
    content."""
    update: bool = False
    """Put the run's catalogue of now, with items that came (genrec tokenize --append) or went, into
    a bundle that is there, and change nothing else."""
    decoding: DecodingConfig = field(default_factory=DecodingConfig)


@dataclass(frozen=True)
class Update(ResultFlags):
    """Change which items a bundle has, without the run that it was made from.

    Example: genrec update bundle --allow in_stock.txt
    """

    bundle: tyro.conf.Positional[Path]
    """Folder of the bundle."""
    append: Path | None = None
    """File of new items, with the columns that the run's items have; they get codes, and may be
    recommended."""
    vectors: Path | None = None
    """append: .npy file of their vectors, row by row, by the encoder of the others."""
    remove: tuple[str, ...] = ()
    """Items to recommend no more, by id or title; they may still stand in histories."""
    allow: Path | None = None
    """File of the only items that may be recommended from now on, such as those in stock: an id or
    title on each line, or Parquet with item_id."""


@dataclass(frozen=True)
class Serve(CommonFlags):
    """Answer over HTTP from a bundle: POST /recommend, a page to try it at /, its interface at
    /docs, GET /health, /ready and /metrics. A new bundle in the folder's place is taken over
    without losing a request; SIGTERM stops when all that waits is answered.

    Example: genrec serve bundle --port 8000
    """

    bundle: tyro.conf.Positional[Path]
    """Folder of a bundle, made by `genrec export`."""
    options: Annotated[ServingOptions, tyro.conf.arg(name="")] = field(
        default_factory=ServingOptions
    )


@dataclass(frozen=True)
class Compare(ResultFlags):
    """Compare evaluated runs on their test users: over seeds, and with the first one.

    Example: genrec compare runs/a-seed0 runs/a-seed1 runs/b-seed0 --plot compare.svg
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs; those that differ in their seed only count as one recommender."""
    unfiltered: bool = False
    """Compare the lists that may hold items of the history."""
    plot: Path | None = None
    """Image file to draw (.svg, .png, .pdf); needs matplotlib."""


@dataclass(frozen=True)
class Doctor(ResultFlags):
    """Look at what genrec stands on: versions, devices, memory, disk, extras; and say what is
    missing. Exit status 2 if something that is needed is broken.

    Example: genrec doctor
    """


@dataclass(frozen=True)
class Completion:
    """Print a script that completes commands, flags and their values in your shell.

    Example: genrec completion bash > ~/.local/share/bash-completion/completions/genrec

    Example: genrec completion fish > ~/.config/fish/completions/genrec.fish

    Example: echo 'source <(genrec completion zsh)' >> ~/.zshrc
    """

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """Yours; `echo $SHELL` names it."""
