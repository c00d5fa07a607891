"""Asking a server, in this process or over the network."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx

UNSAFE = "<img src=x onerror=\"document.title='owned'\">"
"""A title that does harm where it is taken for HTML."""


def wait(until: Callable[[], Any], seconds: float = 1200.0) -> None:
    """Waits for what comes sooner or later; never is a failure."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def ask(app: Any, method: str, path: str, **how: Any) -> httpx.Response:
    """One request to an ASGI application, and its answer."""

    async def once() -> httpx.Response:
        async with client(app) as asking:
            return await asking.request(method, path, **how)

    return asyncio.run(once())


def ask_all(app: Any, requests: list[dict[str, Any]]) -> list[httpx.Response]:
    """The answers to some requests for recommendations that are made at once."""

    async def all_at_once() -> list[httpx.Response]:
        async with client(app) as asking:
            return await asyncio.gather(*(asking.post("/recommend", json=r) for r in requests))

    return asyncio.run(all_at_once())


def client(app: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60)
