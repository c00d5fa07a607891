"""A bundle of the tiny run, another one, and a service that answers from the first."""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from genrec.bundle.storage import pack_names, read_bundle, unpack_names, write_bundle
from genrec.export import export_bundle
from genrec.runs.loaded import load_run
from genrec.serving.app import create_app
from genrec.serving.options import ServingOptions
from genrec.serving.service import Service
from small_serving import UNSAFE, wait


@pytest.fixture(scope="session")
def bundle(tiny_bundle: Path) -> Path:
    """Nobody may change it."""
    return tiny_bundle


@pytest.fixture(scope="session")
def other_bundle(tiny_run: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same programs, but some items may not be recommended, and one has a bad title."""
    folder = shutil.copytree(bundle, tmp_path_factory.mktemp("other") / "bundle")
    run = load_run(tiny_run).restricted(exclude=["i001", "i002", "i003"])
    export_bundle(run, folder, update=True)
    manifest, contents = read_bundle(folder)
    item_ids, titles = unpack_names(contents["items.json.gz"])
    titles[item_ids.index("i007")] = UNSAFE
    write_bundle(folder, manifest, contents | {"items.json.gz": pack_names(item_ids, titles)})
    return folder


@pytest.fixture(scope="session")
def service(bundle: Path) -> Iterator[Service]:
    """Everything compiled, and a batch costs what one request does: whatever else is going on."""
    service = Service(
        bundle, ServingOptions(max_batch=4, max_history=30, max_body=5000, read_timeout=0.5)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genrec.serving.compiled._PAYS", math.inf)
        service.start()
        wait(lambda: service.ready and not service.compiling)
    seconds = service.served.programs.seconds
    seconds.update(dict.fromkeys(seconds, 1.0))
    yield service
    service.close()


@pytest.fixture(scope="session")
def app(service: Service) -> FastAPI:
    return create_app(service)
