"""Damaged requests, as bytes on a connection: what is answered is never the server's failure."""

import json
import random
from pathlib import Path

import pytest
from fastapi import FastAPI

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="module")
def http():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        from fuzz import http_readers

        yield http_readers


@pytest.fixture(scope="module")
def answers(http, app):
    """They answer at once; those of the service that take long are tested elsewhere."""
    return http.Answers(app)


def test_valid_requests_are_answered(http, answers):
    for contents in http.VALID:
        status, body = answers.ask(contents)
        assert status == 200, body


def test_damaged_requests_are_answered_as_a_clients_mistake_or_as_valid(http, answers):
    rng, refused = random.Random(0), 0
    for _ in range(400):
        contents = http.damaged_request(rng, rng.choice(http.VALID))
        try:
            http.check(answers.ask(contents))
        except http.UserError as error:
            refused += 1
            assert len(str(error)) < 2000, contents[:200]
            assert not set("\r\n") & set(str(error)), contents[:200]
    assert 100 < refused < 390


@pytest.mark.parametrize(
    "name",
    ["../../../../etc/passwd", "a" * 4000, "\x00", "\ud800", "${jndi:ldap://x}", "{0.__class__}"],
)
def test_hostile_names_are_items_that_are_not_there(http, answers, name):
    status, body = answers.ask(http.request("POST", "/recommend", {"history": [name]}))
    assert status == 422
    said = json.loads(body)["error"]
    assert said.startswith("no item has the id or title '")
    assert "\n" not in said
    assert len(said) < 2000


def test_what_fails_in_the_server_is_seen(http):
    """The check that the other tests rely on."""
    broken = FastAPI()

    @broken.get("/health")
    async def health() -> None:
        raise ZeroDivisionError

    with pytest.raises(RuntimeError, match="the server logged: Exception in ASGI application"):
        http.Answers(broken).ask(http.request("GET", "/health"))
    with pytest.raises(RuntimeError, match="status 500"):
        http.check((500, b"Internal Server Error"))


def test_a_request_that_never_ends_is_cut_off(http, answers):
    assert answers.ask(b"") is None
    assert answers.ask(b"POST /recommend HTTP/1.1\r\nhost: x\r\n") is None
    status, _ = answers.ask(b"POST /recommend HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
    assert status == 408
