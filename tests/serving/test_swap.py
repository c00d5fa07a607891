"""Another bundle takes the place of the one that answers, and no request is lost."""

import asyncio
import gc
import shutil
import weakref

import numpy as np
import pytest

import genrec
from genrec.serving.app import create_app
from genrec.serving.options import ServingOptions
from genrec.serving.service import Service
from small_run import ITEMS
from small_serving import ask, client, wait

IDS = [f"i{n:03}" for n in range(ITEMS)]


@pytest.fixture
def folder(bundle, tmp_path):
    return shutil.copytree(bundle, tmp_path / "bundle")


@pytest.fixture
def swapping(folder):
    service = Service(folder, ServingOptions(max_batch=2, watch=0.05))
    service.start()
    wait(lambda: service.ready and not service.compiling)
    yield service
    service.close()


def put(new, folder):
    """As `genrec export` does it."""
    copied = shutil.copytree(new, folder.with_name("new"))
    shutil.rmtree(folder)
    copied.rename(folder)


def swaps(app, outcome):
    text = ask(app, "GET", "/metrics").text
    name = f'genrec_bundle_swaps_total{{outcome="{outcome}"}} '
    return float(text.partition(name)[2].split()[0])


def test_under_load_every_answer_is_that_of_the_bundle_it_names(
    swapping, folder, bundle, other_bundle
):
    app = create_app(swapping)
    direct = {}
    for each in map(genrec.load_bundle, (bundle, other_bundle)):
        lists = each.recommend([[item] for item in IDS], 8)
        direct[each.manifest["checksum"]] = dict(zip(IDS, zip(*lists, strict=True), strict=True))
    first, second = direct
    answers = []

    async def load():
        async def one(number):
            while not answers or sum(a["bundle"] == second for _, a in answers) < 40:
                item = IDS[number % ITEMS]
                answer = await asking.post("/recommend", json={"history": [item], "k": 8})
                assert answer.status_code == 200, answer.text
                answers.append((item, answer.json()))
                number += 7
                if len(answers) == 40:
                    await asyncio.to_thread(put, other_bundle, folder)

        async with client(app) as asking:
            await asyncio.gather(*map(one, range(6)))

    asyncio.run(load())
    named = [answer["bundle"] for _, answer in answers]
    assert set(named) == {first, second}
    assert named[:40] == [first] * 40
    for item, answer in answers:
        ids, scores = direct[answer["bundle"]][item]
        assert [each["item_id"] for each in answer["items"]] == ids
        np.testing.assert_allclose([each["score"] for each in answer["items"]], scores, atol=1e-5)
    assert swaps(app, "taken") == 1
    assert f'checksum="{first}"' not in ask(app, "GET", "/metrics").text


def test_programs_that_are_the_same_are_not_compiled_again(swapping, folder, other_bundle):
    before = dict(swapping.served.programs._compiled)
    old = weakref.ref(swapping.served), weakref.ref(swapping.served.bundle)
    put(other_bundle, folder)
    wait(lambda: swapping.served.checksum == genrec.load_bundle(other_bundle).manifest["checksum"])
    assert swapping.served.programs._compiled
    for key, program in swapping.served.programs._compiled.items():
        assert before[key] is program

    def gone():
        gc.collect()
        return [each() for each in old] == [None, None]

    wait(gone)  # or memory would grow with every swap


def test_a_damaged_bundle_is_refused_and_the_old_one_goes_on(
    swapping, folder, bundle, other_bundle, tmp_path, caplog
):
    app, first = create_app(swapping), swapping.served.checksum
    damaged = shutil.copytree(other_bundle, tmp_path / "damaged")
    weights = bytearray((damaged / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (damaged / "weights.safetensors").write_bytes(weights)
    put(damaged, folder)
    wait(lambda: swaps(app, "refused") == 1)
    assert "the new bundle is refused, the old one goes on: " in caplog.text
    assert "weights.safetensors is damaged" in caplog.text
    answer = ask(app, "POST", "/recommend", json={"history": ["i001"]})
    assert answer.json()["bundle"] == first
    shutil.rmtree(folder)  # gone is not new
    put_back = shutil.copytree(other_bundle, folder.with_name("later"))
    put_back.rename(folder)
    wait(lambda: swapping.served.checksum != first)
    assert swaps(app, "refused") == 1


def test_only_when_told(folder, other_bundle):
    service = Service(folder, ServingOptions(max_batch=1, watch=0))
    service.start()
    wait(lambda: service.ready and not service.compiling)
    first = service.served.checksum
    put(other_bundle, folder)
    assert service.served.checksum == first
    service.reload()
    wait(lambda: service.served.checksum != first)
    service.close()
