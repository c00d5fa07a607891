"""The process: listens, stops and reloads when it is told to."""

import logging
import signal
import socket
import sys
import time
from pathlib import Path

import jax
import uvicorn

from genrec.errors import UserError
from genrec.serving.options import ServingOptions
from genrec.serving.service import Service

logger = logging.getLogger(__name__)


def serve(folder: Path, options: ServingOptions) -> None:
    """Answers over HTTP until SIGTERM or Ctrl-C; then answers what it has, and returns.

    SIGHUP reads the bundle again.

    Raises:
        UserError: the bundle cannot be read or does not work, or the address cannot be had.
    """
    began = time.perf_counter()
    _check(options)
    listener = _listen(options)
    if options.cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(options.cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    with listener:
        service = Service(folder, options)
        service.start()  # compiling begins while what HTTP needs is imported

        from genrec.serving.app import create_app

        async def look() -> None:
            server.should_exit |= service.broken

        server = uvicorn.Server(
            uvicorn.Config(
                create_app(service),
                http="h11",  # which takes heads of requests up to 16 KiB
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
        # Its line for each request goes to the standard output, its complaints where ours do.
        access = logging.getLogger("uvicorn.access")
        access.propagate = False
        if options.access_log:
            lines = logging.StreamHandler(sys.stdout)
            lines.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
            access.addHandler(lines)
            access.setLevel(logging.INFO)
        # Uvicorn raises a signal again when it has stopped, which should be a success.
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGHUP, lambda *_: service.reload())
        host, port = listener.getsockname()[:2]
        logger.info(
            "%s, %s items, at http://%s:%d after %.1f s; its page at /, its interface at /docs",
            folder,
            f"{len(service.served.bundle.item_ids):,}",
            f"[{host}]" if ":" in host else host,
            port,
            time.perf_counter() - began,
        )
        server.run(sockets=[listener])
        service.close()
        if service.broken:
            raise UserError(f"{folder} does not work: see above")
        logger.info("stopped")


def _check(options: ServingOptions) -> None:
    for name, value in vars(options).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            least = 0 if name in ("port", "wait_ms", "watch") else 1e-3
            if not least <= value < float("inf"):
                flag = name.replace("_", "-")
                raise UserError(
                    f"--{flag} is {value}, but must be {'at least' * (not least)}"
                    f"{'above' * bool(least)} 0"
                )


def _listen(options: ServingOptions) -> socket.socket:
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        return socket.create_server(address, family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise UserError(f"cannot listen at {options.host}, port {options.port}: {error}") from error
