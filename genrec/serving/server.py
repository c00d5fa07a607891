"""The process: listens, stops and reloads when it is told to."""

import asyncio
import logging
import signal
import socket
import sys
import time
from pathlib import Path

import h11
import jax
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from genrec.errors import UserError
from genrec.serving.options import Options
from genrec.serving.service import Service

logger = logging.getLogger(__name__)


def serve(folder: Path, options: Options) -> None:
    """Answers over HTTP until SIGTERM or Ctrl-C; then answers what it has, and returns.

    SIGHUP reads the bundle again.

    Raises:
        UserError: the bundle cannot be read or does not work, or the address cannot be had.
    """
    began = time.perf_counter()
    _check(options)
    with _listen(options) as listener:
        _serve(folder, options, listener, began)


def _serve(folder: Path, options: Options, listener: socket.socket, began: float) -> None:
    if options.cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(options.cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    service = Service(folder, options)
    service.start()  # compiling begins while what HTTP needs is imported

    from genrec.serving.app import create_app

    async def look() -> None:
        server.should_exit |= service.broken

    server = uvicorn.Server(
        uvicorn.Config(
            create_app(service),
            http=protocol(options.read_timeout),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=options.access_log,
            server_header=False,
            limit_concurrency=options.connections,
            timeout_keep_alive=options.keep_alive,
            callback_notify=look,
            timeout_notify=0,
        )
    )
    _print_requests(options.access_log)
    # Uvicorn raises a signal again when it has stopped, which should be a success.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGHUP, lambda *_: service.reload())
    host, port = listener.getsockname()[:2]
    logger.info(
        "%s, %s items, at http://%s:%d after %.1f s; its page at /, its interface at /docs",
        folder,
        f"{len(service.engine.bundle.item_ids):,}",
        f"[{host}]" if ":" in host else host,
        port,
        time.perf_counter() - began,
    )
    server.run(sockets=[listener])
    service.close()
    if service.broken:
        raise UserError(f"{folder} does not work: see above")
    logger.info("stopped")


def _check(options: Options) -> None:
    for name, value in vars(options).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            least = 0 if name in ("port", "wait_ms", "watch") else 1e-3
            if not least <= value < float("inf"):
                flag = name.replace("_", "-")
                raise UserError(
                    f"--{flag} is {value}, but must be {'at least' * (not least)}"
                    f"{'above' * bool(least)} 0"
                )


def _listen(options: Options) -> socket.socket:
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        return socket.create_server(address, family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen at {options.host}, port {options.port}: {error}") from error


def protocol(read_timeout: float) -> type[asyncio.Protocol]:
    """Uvicorn's HTTP, but a client that takes too long over the head of a request is cut off."""

    class Protocol(H11Protocol):
        _overdue: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
            super().connection_made(transport)
            self._watch_head(begun=True)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch_head(begun=bool(self.conn.trailing_data[0]))

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch_head(begun=bool(self.conn.trailing_data[0]))

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._watch_head(begun=False)

        def _watch_head(self, *, begun: bool) -> None:
            """A head is waited for from its first byte on, however many follow."""
            waits = begun and self.conn.their_state is h11.IDLE
            if waits and self._overdue is None:
                self._overdue = self.loop.call_later(read_timeout, self.timeout_keep_alive_handler)
            elif not waits and self._overdue is not None:
                self._overdue.cancel()
                self._overdue = None

    return Protocol


def _print_requests(wanted: bool) -> None:
    """Uvicorn's line for each request goes to the standard output, its complaints where ours do."""
    access = logging.getLogger("uvicorn.access")
    access.propagate = False
    if wanted:
        lines = logging.StreamHandler(sys.stdout)
        lines.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        access.addHandler(lines)
        access.setLevel(logging.INFO)
