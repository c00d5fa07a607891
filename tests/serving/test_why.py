"""Why an item is recommended, over HTTP."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI

import genrec
from genrec.serving.app import create_app
from genrec.serving.compiled import CompiledPrograms
from genrec.serving.options import ServingOptions
from genrec.serving.service import Service
from small_serving import ask, ask_all, wait


@pytest.fixture(scope="module")
def why_app(experts_bundle) -> Iterator[FastAPI]:
    service = Service(experts_bundle, ServingOptions(max_batch=2))
    service.start()
    wait(lambda: service.ready)
    yield create_app(service)
    service.close()


def test_who_asks_is_told_and_nobody_else_is(why_app, experts_bundle):
    requests = [
        {"history": ["i001", "Film 7"], "k": 5, "why": True},
        {"history": ["i003"], "k": 4},
        {"history": ["i009", "i003"], "k": 20, "why": True, "allow": ["i001", "i002"]},
        {"history": [], "k": 3, "why": True},
    ]
    direct = genrec.load_bundle(experts_bundle)
    for request, answer in zip(requests, ask_all(why_app, requests), strict=True):
        assert answer.status_code == 200, answer.text
        items = answer.json()["items"]
        ids, scores, expected = direct.explain(
            [request["history"]], request["k"], allow=[request.get("allow")]
        )
        assert [item["item_id"] for item in items] == ids[0]
        if "why" not in request:
            assert not any("why" in item for item in items)
            continue
        for item, score, wanted in zip(items, scores[0], expected[0], strict=True):
            assert item["why"]["words"] == wanted.words
            told = item["why"]["contributions"]
            assert told == pytest.approx(wanted.contributions, abs=1e-4)
            assert sum(told.values()) == pytest.approx(item["score"], abs=1e-6)
            assert item["score"] == pytest.approx(score, abs=1e-5)


def test_what_nobody_asks_for_is_not_copied(why_app, monkeypatch):
    """What is measured meanwhile doesn't ask either."""
    asked, search = [], CompiledPrograms.__call__

    def noting(self, shape, request, why=False):
        found = search(self, shape, request, why)
        assert len(found) == 2 + why
        asked.append(why)
        return found

    monkeypatch.setattr(CompiledPrograms, "__call__", noting)
    for why in (False, True, False):
        ask(why_app, "POST", "/recommend", json={"history": ["i001"], "why": why})
    assert sum(asked) == 1 and len(asked) >= 3


def test_the_interface_describes_it(why_app):
    schemas = ask(why_app, "GET", "/openapi.json").json()["components"]["schemas"]
    assert schemas["RecommendRequest"]["properties"]["why"]["default"] is False
    assert set(schemas["Why"]["properties"]) == {"contributions", "words"}
