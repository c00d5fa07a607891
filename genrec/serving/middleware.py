"""What every request passes: limits of its body's size and of the time it takes; and metrics."""

import asyncio
import time

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genrec.serving.options import ServingOptions
from genrec.serving.prometheus import Metrics

_COUNTED = ("/recommend", "/items", "/health", "/ready", "/metrics", "/")
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class RequestMiddleware:
    """ASGI middleware: reads the body within limits before the application is asked, adds headers
    to the answer, and counts it."""

    def __init__(self, app: ASGIApp, options: ServingOptions, metrics: Metrics):
        self._app, self._options, self._metrics = app, options, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
            await send(message)

        try:
            body = await self._body(scope, receive)
            if isinstance(body, JSONResponse):
                await body(scope, receive, answer)
            elif body is not None:
                await self._app(scope, _again(body, receive), answer)
        finally:
            # Paths are made up by clients; only the server's own are worth a time series.
            path = scope["path"] if scope["path"] in _COUNTED else "other"
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - began)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | JSONResponse | None:
        """The body, or a refusal of it; None where the client has gone."""
        most = self._options.max_body
        too_large = f"the body has more than the {most:,} bytes that are allowed"
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > most:
            return refusal(413, too_large, last=True)
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(self._options.read_timeout):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > most:
                        return refusal(413, too_large, last=True)
        except TimeoutError:
            return refusal(408, "the body took too long to arrive", last=True)
        return bytes(body)


def refusal(status: int, message: str, *, last: bool = False) -> JSONResponse:
    """An answer that says what is wrong.

    Args:
        last: closes the connection, as what else the client sends is not read.
    """
    headers = {"connection": "close"} if last else {}
    if status == 503:
        headers["retry-after"] = "1"
    return JSONResponse({"error": message}, status, headers)


def _again(body: bytes, receive: Receive) -> Receive:
    """Receives a body that has been read already, then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def first() -> Message:
        return messages.pop() if messages else await receive()

    return first
