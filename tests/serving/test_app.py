"""What the server answers is what the bundle recommends; and what it says to bad requests."""

import asyncio
import json
import threading

import numpy as np
import pytest

import genrec
from genrec.serving.app import create_app
from genrec.serving.options import ServingOptions
from genrec.serving.service import Service
from small_run import ITEMS
from small_serving import ask, ask_all, client, wait

IDS = [f"i{n:03}" for n in range(ITEMS)]


def drawn(count, most, seed):
    rng = np.random.default_rng(seed)
    return [rng.choice(IDS, rng.integers(1, most + 1)).tolist() for _ in range(count)]


def same(answer, expected):
    ids, scores = expected
    assert [item["item_id"] for item in answer["items"]] == ids[0]
    np.testing.assert_allclose([i["score"] for i in answer["items"]], scores[0], atol=1e-5)


def test_answers_are_the_bundles_own(app, bundle):
    direct = genrec.load_bundle(bundle)
    requests = [{"history": history, "k": 1 + n % 20} for n, history in enumerate(drawn(12, 20, 0))]
    requests += [
        {"history": ["Film 3", " film 7 "], "include_history": True},
        {"history": IDS[:3], "exclude": [*IDS[5:9], "Film 20"]},
        {"history": IDS[:3], "allow": IDS[2:9], "k": 4},
        {"history": IDS[:2], "timestamps": [5, 500], "user_id": "u1"},
        {"history": [], "k": 7},
        {"history": [], "allow": IDS[4:8], "exclude": IDS[4:5], "k": 2},
    ]

    answers = ask_all(app, requests)
    for request, answer in zip(requests, answers, strict=True):
        assert answer.status_code == 200, answer.text
        expected = direct.recommend(
            [request["history"]],
            request.get("k", 10),
            exclude_history=not request.get("include_history", False),
            exclude=[request.get("exclude", [])],
            allow=[request.get("allow")],
            timestamps=[request["timestamps"]] if "timestamps" in request else None,
            user_ids=[request["user_id"]] if "user_id" in request else None,
        )
        told = answer.json()
        same(told, expected)
        assert told["bundle"] == direct.manifest["checksum"]
        for item in told["items"]:
            assert item["title"] == direct.titles[item["item_id"]]
            assert item["codes"] == direct.codes[direct.item_ids.index(item["item_id"])].tolist()


def test_many_at_once_were_searched_together(app):
    """With answers that fit the requests, whatever else was in their batch."""
    before = metric(app, "genrec_batch_size_sum"), metric(app, "genrec_batch_size_count")
    requests = [{"history": [each], "k": 5} for each in IDS]

    together = [answer.json()["items"] for answer in ask_all(app, requests)]
    assert metric(app, "genrec_batch_size_sum") - before[0] == len(IDS)
    assert metric(app, "genrec_batch_size_count") - before[1] < len(IDS)
    for request, items in zip(requests[::9], together[::9], strict=True):
        alone = ask(app, "POST", "/recommend", json=request).json()["items"]
        assert [item["item_id"] for item in alone] == [item["item_id"] for item in items]


def metric(app, name):
    lines = ask(app, "GET", "/metrics").text.splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name} ")]
    return float(line.split()[-1])


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"history": ["Film"]}, "no item has the id or title 'Film'; the nearest titles are"),
        ({"history": ["i001"], "exclude": ["nix"]}, "no item has the id or title 'nix'"),
        ({"history": ["i001"], "k": 21}, "k is 21, but must lie between 1 and the beam width, 20"),
        ({"history": ["i001"], "k": 0}, "k is 0, but must"),
        ({"history": ["i001"] * 31}, "the history has 31 items; 30 are allowed"),
        ({"history": ["i001"], "allow": ["i001"]}, "no item is left to recommend"),
        ({"history": [], "allow": []}, "no item is left to recommend"),
        ({"history": ["i001"], "timestamps": [1, 2]}, "history 1 has 1 items, but 2 timestamps"),
        ({"history": ["i001"], "timestamps": [2**70]}, "timestamps.0: "),
        ({"history": "i001"}, "history: input should be a valid list"),
        ({"history": [None]}, "history.0: input should be a valid string"),
        ({"history": [1.5]}, "history.0: input should be a valid string"),
        ({"history": ["i001"], "why": True}, "it ranks without experts, which could say why: fit"),
        ({"history": [], "why": True}, "it ranks without experts, which could say why: fit them"),
        ({"history": ["i001"], "why": 1}, "why: input should be a valid boolean"),
        ({"history": ["i001"], "k": "10"}, "k: input should be a valid integer"),
        ({"history": ["i001"], "blok": []}, "blok: extra inputs are not permitted"),
        ({}, "history: field required"),
        ([], "the body: input should be"),
        ({"history": ["\ud800"]}, "no item has the id or title '\\ud800'"),
        ({"history": ["a\nb"]}, "no item has the id or title 'a\\nb'"),
        ({"history": [12345]}, "no item has the id or title '12345'"),
    ],
)
def test_bad_requests_are_told_what_is_wrong_in_a_line(app, request_, says):
    how = {"content": json.dumps(request_), "headers": {"content-type": "application/json"}}
    answer = ask(app, "POST", "/recommend", **how)
    assert answer.status_code == 422
    (message,) = answer.json().values()
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 4000, b'{"k": ' + b"1" * 4500 + b"}"])
def test_what_is_no_json(app, content):
    answer = ask(
        app, "POST", "/recommend", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_bodies_are_bounded_whether_they_say_so_or_not(app):
    async def piecewise():
        for _ in range(100):
            yield b" " * 1000

    for content in (b" " * 5001, piecewise()):
        answer = ask(app, "POST", "/recommend", content=content)
        assert answer.status_code == 413
        assert "5,000" in answer.json()["error"]
        assert answer.headers["connection"] == "close"


def test_a_body_that_does_not_come_is_not_waited_for(app):
    async def never():
        yield b"{"
        await asyncio.sleep(60)

    assert ask(app, "POST", "/recommend", content=never()).status_code == 408


def test_warnings_are_told_to_whom_they_concern(app, caplog):
    def warnings(**request):
        return ask(app, "POST", "/recommend", json=request).json()["warnings"]

    assert warnings(history=["i001"]) == []
    (short,) = warnings(history=["i001"], allow=IDS[:4], k=9)
    assert short == "9 items are wanted, but as few as 3 are allowed for history 1"
    (popular,) = warnings(history=[], user_id="u9", k=3)
    assert popular == "nothing is known of user u9: the most popular items stand in"
    assert not caplog.messages


def test_names_that_a_bundle_skips_are_told(bundle, service, app, monkeypatch, caplog):
    monkeypatch.setattr(service.served.bundle, "_skips_unknown", True)
    answer = ask(app, "POST", "/recommend", json={"history": ["nix", "i001"]})
    assert answer.json()["warnings"] == ["skipped in histories, for no item has this name: nix"]
    same(answer.json(), genrec.load_bundle(bundle).recommend([["i001"]]))
    answer = ask(app, "POST", "/recommend", json={"history": ["nix"], "k": 3})
    assert answer.json()["warnings"] == [
        "skipped in histories, for no item has this name: nix",
        "nothing is known of history 1: the most popular items stand in",
    ]
    assert not caplog.messages


def test_names_are_looked_up_once_for_each_request(service, app, monkeypatch):
    names, asked = service.served.bundle.names, []
    find = names.find
    monkeypatch.setattr(names, "find", lambda some: asked.extend(some) or find(some))
    request = {"history": ["i001", "Film 2"], "exclude": ["i003"], "allow": IDS}
    assert ask(app, "POST", "/recommend", json=request).status_code == 200
    assert sorted(asked) == sorted(["i001", "Film 2", "i003", *IDS])


def test_one_unknown_name_at_a_time_is_told_what_is_like_it(service, app):
    """To look for that takes long, and the others are not to wait for it."""
    with service._suggesting:
        answer = ask(app, "POST", "/recommend", json={"history": ["Flim 3"]})
    assert answer.json() == {"error": "no item has the id or title 'Flim 3'"}
    answer = ask(app, "POST", "/recommend", json={"history": ["Flim 3"]})
    assert "the nearest titles are 'Film 3'" in answer.json()["error"]


def test_more_names_than_the_bundle_takes(service, app, monkeypatch):
    answers = service.served.bundle.manifest["answers"]
    monkeypatch.setitem(answers, "named", [9])
    answer = ask(app, "POST", "/recommend", json={"history": IDS[:12]})
    assert answer.status_code == 422
    assert "names 12 items to exclude or allow, its history included" in answer.json()["error"]


def test_too_much_to_do_is_503(bundle, monkeypatch):
    """One is searched, one waits, one is refused; and nobody waits for ever."""
    service = Service(bundle, ServingOptions(max_batch=1, queue=1, timeout=0.5))
    app = create_app(service)
    early = ask(app, "POST", "/recommend", json={"history": ["i001"]})
    assert (early.status_code, early.json()) == (503, {"error": "the server is starting"})
    assert ask(app, "GET", "/ready").status_code == 503
    assert ask(app, "GET", "/items?q=film").status_code == 503
    assert ask(app, "GET", "/health").status_code == 200
    service.start()
    wait(lambda: service.ready and not service.compiling)
    began, go, search = threading.Event(), threading.Event(), service.served.search

    def slow(*args):
        began.set()
        assert go.wait(30)
        return search(*args)

    monkeypatch.setattr(service.served, "search", slow)

    async def three():
        async with client(app) as asking:
            posts = [asking.post("/recommend", json={"history": [each]}) for each in IDS[:3]]
            first = asyncio.create_task(posts[0])
            await asyncio.to_thread(began.wait, 30)
            return await asyncio.gather(first, *posts[1:])

    answers = asyncio.run(three())
    assert [answer.status_code for answer in answers] == [503, 503, 503]
    assert [answer.json()["error"] for answer in answers] == [
        "no answer within 0.5 seconds",
        "no answer within 0.5 seconds",
        "the server has too much to do",
    ]
    assert answers[0].headers["retry-after"] == "1"
    go.set()
    # The one that gave up has its place in the queue until the next batch is taken.
    wait(lambda: ask(app, "POST", "/recommend", json={"history": ["i001"]}).status_code == 200)
    service.close()


def test_items_are_found_as_one_types(app):
    found = ask(app, "GET", "/items", params={"q": "film 1", "limit": 3}).json()["items"]
    assert len(found) == 3
    assert all(item["title"].startswith("Film 1") for item in found)
    assert ask(app, "GET", "/items?q=i007").json() == {
        "items": [{"item_id": "i007", "title": "Film 7"}]
    }
    assert ask(app, "GET", "/items?q=").json() == {"items": []}
    for query in ("/items", "/items?q=a&limit=0", "/items?q=a&limit=999", "/items?q=" + "a" * 201):
        assert ask(app, "GET", query).status_code == 422


def test_it_says_how_it_is(app, service):
    told = ask(app, "GET", "/ready").json()
    checksum = service.served.bundle.manifest["checksum"]
    expected = {"status": "ready", "bundle": checksum, "items": ITEMS, "beam": 20}
    assert told == expected | {"compiling": False}
    ask(app, "GET", "/made-up-path")
    text = ask(app, "GET", "/metrics").text
    assert f'genrec_bundle_info{{checksum="{checksum}",items="{ITEMS}"}} 1.0' in text
    assert 'genrec_requests_total{path="other",status="404"}' in text
    assert "made-up" not in text
    assert "genrec_queue_length 0.0" in text


def test_the_interface_is_described_and_its_page_asks_nobody_else(app):
    told = ask(app, "GET", "/openapi.json").json()
    assert set(told["paths"]) == {"/recommend", "/items", "/health", "/ready"}
    statuses = set(told["paths"]["/recommend"]["post"]["responses"])
    assert {"200", "400", "413", "422", "503"} <= statuses
    page = ask(app, "GET", "/docs").text
    links = [part.split('"')[0] for part in page.split('src="')[1:] + page.split('href="')[1:]]
    assert links
    for link in links:
        assert link.startswith("/"), link
        assert ask(app, "GET", link).status_code == 200


def test_the_page_may_run_nothing_but_its_own(app):
    answer = ask(app, "GET", "/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "http" not in answer.text.replace("http-equiv", "")
