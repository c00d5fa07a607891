"""A client that keeps some requests under way, one to a connection: asks, waits, asks again.

It shares the machine with the server that it measures, so it does as little as it can: requests are
bytes from the start, and of an answer only status and length are read.
"""

import asyncio
import json
import sys
import time
from pathlib import Path


def request_bytes(body: str) -> bytes:
    content = body.encode()
    head = (
        "POST /recommend HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
    """The status of the answer."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length))
    return int(head[9:12])


async def load(port: int, requests: list[bytes], concurrency: int, seconds: float) -> dict:
    """Latencies in seconds of all requests answered 200, how many others there were, and so on."""
    latencies: list[float] = []
    failed: dict[str, int] = {}
    until = time.perf_counter() + seconds

    async def one(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        next_request = number * len(requests) // concurrency
        while (began := time.perf_counter()) < until:
            try:
                status = str(await ask(reader, writer, requests[next_request % len(requests)]))
            except (OSError, EOFError) as error:
                status = type(error).__name__
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            if status == "200":
                latencies.append(time.perf_counter() - began)
            else:
                failed[status] = failed.get(status, 0) + 1
            next_request += 1
        writer.close()

    began, worked = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one(number) for number in range(concurrency)))
    took = time.perf_counter() - began
    return {
        "latencies": latencies,
        "failed": failed,
        "seconds": took,
        "client_cpu": (time.process_time() - worked) / took,
    }


def main() -> None:
    port, file, concurrency, seconds = sys.argv[1:]
    requests = [request_bytes(line) for line in Path(file).read_text().splitlines()]
    print(json.dumps(asyncio.run(load(int(port), requests, int(concurrency), float(seconds)))))


if __name__ == "__main__":
    main()
