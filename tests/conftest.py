"""Settings of every test: arrays are checked by shape and type, and nothing broadcasts by rank."""

import fcntl
import gc
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Workers fill the cores already: threads of Faiss and NumPy that wait for each other's take longer.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Most of the tests' time is LLVM's, for programs that run for milliseconds. What XLA makes of them
# before that, and so what genrec is answerable for, is as a user has it; 0 brings all of it back.
# The emitters of LLVM code are those that XLA had before its MLIR ones: three times as quick. And a
# program is compiled as a whole, by one thread, and its steps are not ordered for many.
if os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") == "1":
    quick = (
        "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1 "
        "--xla_cpu_enable_concurrency_optimized_scheduler=false"
    )
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {quick}".strip()


def pytest_configure(config: pytest.Config) -> None:
    from jaxtyping import install_import_hook

    # Before any test imports genrec: signatures are checked at every call, in the modules that
    # have arrays in them. To decorate all the others takes every process eight seconds more.
    root = Path(__file__).parent.parent
    files = [file for file in (root / "genrec").rglob("*.py") if "jaxtyping" in file.read_text()]
    names = [".".join(file.relative_to(root).with_suffix("").parts) for file in files]
    install_import_hook(names, "beartype.beartype")

    import jax
    from hypothesis import settings

    jax.config.update("jax_numpy_rank_promotion", "raise")
    # Tests compile the same small programs again and again; workers, and the commands that they
    # start, share what was compiled.
    cache = config.cache.mkdir("jax")
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(cache)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    # Tracing leaves millions of objects that live on; to look through them for what does not, as
    # often as Python would, is a tenth of the tests' time.
    gc.set_threshold(100_000, 50, 100)
    # How long a test takes depends on what else the machine does; it is not what is tested.
    settings.register_profile("genrec", deadline=None, max_examples=50)
    settings.load_profile("genrec")
    logging.getLogger("absl").setLevel(logging.CRITICAL)


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[str, list[str]]]:
    """Runs `genrec` in this process: what it prints, and the lines that it complains in."""
    from genrec.cli.main import main

    logger = logging.getLogger("genrec")

    def run(*arguments: str, status: int = 0, columns: str = "100") -> tuple[str, list[str]]:
        monkeypatch.setenv("COLUMNS", columns)
        monkeypatch.setattr(sys, "argv", ["genrec", *arguments])
        monkeypatch.setattr(logger, "handlers", [])
        monkeypatch.setattr(logger, "propagate", True)
        exited = 0
        try:
            main()
        except SystemExit as stop:
            exited = stop.code
        shown, complaints = capsys.readouterr()
        assert exited == status, complaints
        return shown, complaints.splitlines()

    return run


def made_once(
    factory: pytest.TempPathFactory, name: str, result: str, make: Callable[[Path], object]
) -> Path:
    """The file or folder `result` in the folder `name`, which `make` is given to make it in.

    The first worker that asks for it makes it for all of them, so nobody may change it.
    """
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / name
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            make(folder)
            (folder / "done").touch()
    return folder / result


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained for one epoch, and evaluated; log.csv and items.csv lie beside it.

    It is shared, so nobody may change it.
    """

    def make(folder: Path) -> None:
        import genrec
        from small_run import SETTINGS, write_log

        write_log(folder)
        (folder / "tiny.yaml").write_text(SETTINGS)
        paths = f"data.interactions={folder / 'log.csv'}", f"data.items={folder / 'items.csv'}"
        config = genrec.load_config(folder / "tiny.yaml", *paths, "training.epochs=1")
        genrec.run(config, folder / "run")

    return made_once(tmp_path_factory, "tiny", "run", make)


@pytest.fixture(scope="session")
def recipe_run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Evaluated runs of the recipes of `small_run`, by name, and shared as `tiny_run` is."""

    def run_of(name: str) -> Path:
        from small_run import RECIPES, trained

        return made_once(
            tmp_path_factory,
            name,
            "run",
            lambda folder: trained(tiny_run, folder / "run", *RECIPES[name]),
        )

    return run_of


@pytest.fixture(scope="session")
def tiny_bundle(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `tiny_run`, and shared as that is."""

    def make(folder: Path) -> None:
        from genrec.export import export_bundle
        from genrec.runs.loaded import load_run

        export_bundle(load_run(tiny_run), folder / "bundle")

    return made_once(tmp_path_factory, "tiny_bundle", "bundle", make)


@pytest.fixture(scope="session")
def experts_bundle(
    recipe_run: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The bundle of the run of the recipe "experts", and shared as that is."""

    def make(folder: Path) -> None:
        from genrec.export import export_bundle
        from genrec.runs.loaded import load_run

        export_bundle(load_run(recipe_run("experts")), folder / "bundle")

    return made_once(tmp_path_factory, "experts_bundle", "bundle", make)
