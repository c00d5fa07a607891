"""Requests over HTTP, damaged: their first line, headers and bodies.

They are given, over a pair of sockets, to what `genrec serve` gives its connections to: uvicorn's
protocol and the application over a bundle. The answer must be the one of a client's mistake, or of
a request that was understood. A client whose request has no end of its head closes the connection,
as the server would wait for it.
"""

import asyncio
import functools
import json
import logging
import random
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.server import ServerState

from fuzz.finished_run import finished_run
from fuzz.mutations import blindly
from fuzz.text_mutations import HOSTILE, damaged_json
from fuzz.workers import LONGEST, Reader
from genrec.errors import UserError
from genrec.serving.app import create_app
from genrec.serving.options import ServingOptions
from genrec.serving.service import Service

READ_TIMEOUT = 0.2
"""A body that never ends is waited for so long, which is most of the time that all takes."""
SECONDS = 30.0
MISTAKES = (307, 400, 404, 405, 408, 413, 415, 422)
"""Besides 503, whose answer says that the server is busy."""
_HEAD_ENDS = re.compile(rb"\n\r?\n|\A\r?\n")
_TEXTS = [each for each in HOSTILE if isinstance(each, str)]
_HEADERS = (
    "host", "content-type", "content-length", "transfer-encoding", "content-encoding", "expect",
    "connection", "upgrade", "accept", "cookie", "x-forwarded-for", "range", "origin",
)  # fmt: skip
_VALUES = (
    "chunked", "gzip", "gzip, chunked", "100-continue", "websocket", "h2c", "-1", "+5", "0x10",
    "5, 5", "99999999999999999999", "1e3", "text/plain", "application/json; charset=utf-7",
    "application/xml", "multipart/form-data; boundary=x", "bytes=0-1", "close", "keep-alive",
)  # fmt: skip


class Answers:
    """Serves one bundle to one connection after another.

    Args:
        app: an ASGI application.
    """

    def __init__(self, app: Any):
        self._config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
        )
        self._config.load()
        self._failures: list[str] = []
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # not that a request is no HTTP

    def ask(self, contents: bytes) -> tuple[int, bytes] | None:
        """Status and body of the first answer; None where the connection was closed without one.

        Raises:
            RuntimeError: the server logged a failure, or did not answer and did not close.
            h11.RemoteProtocolError: the answer is not HTTP.
        """
        self._failures.clear()
        watching = _Watching(self._failures)
        logging.getLogger().addHandler(watching)
        try:
            answer = asyncio.run(self._ask(contents))
        finally:
            logging.getLogger().removeHandler(watching)
        if self._failures:
            raise RuntimeError(f"the server logged: {self._failures[0]}")
        return answer

    async def _ask(self, contents: bytes) -> tuple[int, bytes] | None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, about: self._failures.append(str(about)))
        state = ServerState()
        ours, theirs = socket.socketpair()
        kind: Any = self._config.http_protocol_class
        await loop.connect_accepted_socket(
            lambda: kind(config=self._config, server_state=state, app_state={}), theirs
        )
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            async with asyncio.timeout(SECONDS):
                sending = asyncio.ensure_future(_send(writer, contents))
                answer = await _receive(reader, contents.startswith(b"HEAD "))
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
        except TimeoutError:
            raise RuntimeError(f"neither an answer nor an end in {SECONDS:g} s") from None
        finally:
            writer.close()
            while state.connections or state.tasks:
                await asyncio.sleep(0)
        return answer


class _Watching(logging.Handler):
    """Notes what would be a traceback in the server's log."""

    def __init__(self, seen: list[str]):
        super().__init__(logging.ERROR)
        self._seen = seen

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else ""
        self._seen.append(f"{record.getMessage()} {error!r}")


async def _send(writer: asyncio.StreamWriter, contents: bytes) -> None:
    writer.write(contents)
    if not _HEAD_ENDS.search(contents):
        writer.write_eof()
    await writer.drain()


async def _receive(reader: asyncio.StreamReader, head: bool) -> tuple[int, bytes] | None:
    """The first answer that is not a mere "go on"."""
    client, status, body = h11.Connection(h11.CLIENT), None, b""
    client.send(h11.Request(method="HEAD" if head else "GET", target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    while True:
        event = client.next_event()
        if event is h11.NEED_DATA:
            try:
                piece = await reader.read(1 << 16)
            except ConnectionError:  # closed with some of the request not read
                piece = b""
            if not piece and status is None:
                return None
            client.receive_data(piece)
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert status is not None
            return status, body


def check(answer: tuple[int, bytes] | None) -> None:
    """UserError for an answer to a client's mistake; RuntimeError for one that should not be."""
    if answer is None:
        raise UserError("the connection was closed")
    status, body = answer
    if status == 200:
        return
    if status not in (*MISTAKES, 503):
        raise RuntimeError(f"status {status}: {body[:200]!r}")
    # Uvicorn and Starlette say in plain text what is no HTTP or another address.
    message = body.decode()
    if message.startswith("{"):
        (message,) = json.loads(message).values()
    if len(message) > LONGEST or set("\r\n") & set(message):
        raise RuntimeError(f"no short line, but {len(message)} characters: {message[:200]!r}")
    raise UserError(message or f"status {status}")


def request(method: str, target: str, body: Any = None, **headers: str) -> bytes:
    """A request as a client writes it; the body is turned into JSON."""
    contents = b"" if body is None else json.dumps(body).encode()
    fields = {"host": "localhost", "content-type": "application/json", **headers}
    return whole(f"{method} {target} HTTP/1.1", list(fields.items()), contents)


def whole(first: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """The bytes of a request; one with a body says how long it is, unless the headers do."""
    names = {name for name, _ in headers}
    if body and not names & {"content-length", "transfer-encoding"}:
        headers = [*headers, ("content-length", str(len(body)))]
    lines = [first, *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + body


FULL = {
    "history": ["i003", "Film 7", "i012"],
    "k": 5,
    "include_history": False,
    "exclude": ["i001", "i002"],
    "allow": None,
    "user_id": "u1",
    "timestamps": [1_000_000_000, 1_000_000_060, 1_000_000_120],
}
VALID: tuple[bytes, ...] = (
    request("POST", "/recommend", FULL),
    request("POST", "/recommend", {"history": [], "allow": ["i004", "Film 9"], "k": 2}),
    request("GET", "/items?q=film&limit=5"),
    request("GET", "/health"),
    request("GET", "/ready"),
    request("GET", "/metrics"),
    request("GET", "/openapi.json"),
    request("GET", "/docs"),
    request("GET", "/"),
)
"""One for each address, and two where there is most to go wrong."""


def damaged_request(rng: random.Random, contents: bytes) -> bytes:
    """A damaged request: its body as JSON, its first line, its headers, or any of its bytes."""
    kind = rng.random()
    head, _, body = contents.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    headers = [each for each in headers if each[0] != "content-length"]
    if kind < 0.1:
        return blindly(rng, contents)
    if body and kind < 0.75:
        body = blindly(rng, body) if kind < 0.15 else damaged_json(rng, body)
    if (not body and kind < 0.6) or rng.random() < 0.1:
        first = _damaged_line(rng, first)
    if kind > 0.75 or rng.random() < 0.05:
        headers = _damaged_headers(rng, headers)
    if body and rng.random() < 0.05:
        headers.append(("transfer-encoding", "chunked"))
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return whole(first, headers, body)


def _damaged_line(rng: random.Random, first: str) -> str:
    method, target, version = first.split(" ")
    path, _, query = target.partition("?")
    hostile = rng.choice(_TEXTS)
    quoted = "".join(f"%{byte:02x}" for byte in hostile.encode("utf-8", "surrogatepass"))[:20_000]
    change = rng.randrange(5)
    if change == 0:
        method = rng.choice(("PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "post", "X"))
    elif change == 1:
        path = rng.choice((f"{path}/{quoted}", f"/{quoted}", f"{path}//", f"{path}/../..", "*"))
    elif change == 2:
        version = rng.choice(("HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/9.9", "", "http/1.1"))
    else:
        pairs = [f"q={quoted}", f"limit={quoted}", f"{quoted}={quoted}", "q", "=", "&" * 50, "%zz"]
        query = "&".join([query, *rng.choices(pairs, k=rng.randrange(1, 4))])
    return f"{method} {path}{'?' * bool(query)}{query} {version}"


def _damaged_headers(rng: random.Random, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    changed = list(headers)
    for _ in range(rng.choice((1, 1, 2, 5))):
        name = rng.choice(_HEADERS)
        value = rng.choice(_VALUES) if rng.random() < 0.8 else rng.choice(_TEXTS)
        change = rng.random()
        if change < 0.6:
            changed.append((name, value))
        elif change < 0.75:
            changed = [(n, value if n == name else v) for n, v in changed]
        elif change < 0.85:
            changed = changed[1:]
        elif change < 0.95:
            changed += [(f"x-{number}", value[:100]) for number in range(rng.choice((10, 2000)))]
        else:
            changed.append((value[:100], name))
    return changed


def _make(folder: Path) -> None:
    shutil.copytree(_bundle(), folder / "bundle")
    for number, contents in enumerate(VALID):
        (folder / f"{number}.http").write_bytes(contents)


@functools.cache
def _bundle() -> Path:
    # In a process of its own, because JAX starts threads, which would not live on in a fork.
    run = finished_run()
    folder = run.parent / f"{run.name}_served"
    if not folder.exists():
        command = ["export", str(run), "--out", str(folder), "--quiet"]
        subprocess.run([sys.executable, "-m", "genrec", *command], check=True)
    return folder


@functools.cache
def _answers(bundle: Path) -> Answers:
    """Once for each worker, which ends with it."""
    service = Service(
        bundle, ServingOptions(max_batch=1, watch=0, max_body=500_000, read_timeout=READ_TIMEOUT)
    )
    service.start()
    until = time.monotonic() + 60
    while not service.ready or service.compiling:
        if time.monotonic() > until:
            raise RuntimeError("the bundle was never ready")
        time.sleep(0.01)
    return Answers(create_app(service))


def _read(folder: Path) -> None:
    """Asks what differs from the valid requests; all of them where nothing does."""
    answers = _answers(folder / "bundle")
    requests = [(folder / f"{number}.http").read_bytes() for number in range(len(VALID))]
    asked = [each for each, valid in zip(requests, VALID, strict=True) if each != valid]
    for contents in asked or requests:
        check(answers.ask(contents))


def _mutate(rng: random.Random, name: str, contents: bytes) -> bytes:
    return damaged_request(rng, contents)


READERS = (
    Reader(
        "http bodies",
        _make,
        _read,
        # Most are requests for recommendations, which are read further than others.
        tuple(f"{number}.http" for number in range(len(VALID))),
        mutate=_mutate,
        batch=5000,
    ),
)
