"""`genrec serve` as a process: signals, limits, what it needs, and what it says."""

import contextlib
import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

import genrec
from small_serving import wait

PLAIN = [sys.executable, "-m", "genrec"]
BLOCKED = """
import sys
gone = {"flax", "optax", "orbax", "pyarrow", "duckdb", "faiss", "sklearn", "tensorboardX", "pandas"}
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in gone:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Finder())
from genrec.cli.main import main
main()
"""


@contextlib.contextmanager
def running(bundle, *flags, command=PLAIN):
    """A server, its port, and the lines that it has said so far."""
    line = [*command, "serve", str(bundle), "--port", "0", "--max-batch", "2", *flags]
    process: Any = subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    said: list[str] = []
    listening = threading.Thread(target=lambda: said.extend(iter(process.stderr.readline, "")))
    listening.start()
    try:
        wait(lambda: process.poll() is not None or any("http://" in each for each in said))
        assert process.poll() is None, said
        (told,) = [each for each in said if "http://" in each]
        yield process, int(told.partition("http://")[2].split(":")[1].split()[0]), said
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        listening.join()
        process.stdout.close()
        process.stderr.close()


def asked(port, path, request=None):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=600)) as asking:
        body = None if request is None else json.dumps(request)
        headers = {"content-type": "application/json"}
        asking.request("GET" if body is None else "POST", path, body, headers)
        answer = asking.getresponse()
        return answer.status, json.loads(answer.read())


def is_ready(port):
    return asked(port, "/ready")[0] == 200


def test_it_needs_neither_the_models_code_nor_what_makes_runs(bundle):
    with running(bundle, command=[sys.executable, "-c", BLOCKED]) as (process, port, said):
        wait(lambda: is_ready(port))
        status, answer = asked(port, "/recommend", {"history": ["Film 3"], "k": 5})
        expected = genrec.load_bundle(bundle).recommend([["Film 3"]], 5)[0][0]
        assert status == 200
        assert [each["item_id"] for each in answer["items"]] == expected
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        shown = process.stdout.read()
    assert '"POST /recommend HTTP/1.1" 200' in shown
    assert said[-1] == "genrec: stopped\n"
    assert all(line.startswith("genrec: ") for line in said), said


def test_sigterm_answers_what_waits_and_exits_with_0(bundle):
    """Three requests wait for a fourth that never comes while the server is told to stop."""
    with running(bundle, "--wait-ms", "3000", "--timeout", "600", "--max-batch", "4") as found:
        process, port, _ = found
        wait(lambda: is_ready(port))
        answers = []
        asks = [
            threading.Thread(
                target=lambda n=n: answers.append(
                    asked(port, "/recommend", {"history": [f"i{n:03}"]})
                )
            )
            for n in range(3)
        ]
        for each in asks:
            each.start()
        metrics = http.client.HTTPConnection("127.0.0.1", port)

        def waiting():
            metrics.request("GET", "/metrics")
            return "genrec_queue_length 3.0" in metrics.getresponse().read().decode()

        wait(waiting)
        metrics.close()
        process.send_signal(signal.SIGTERM)
        for each in asks:
            each.join(600)
        assert process.wait(600) == 0
    assert [status for status, _ in answers] == [200] * 3
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)


def test_sighup_takes_the_new_bundle(bundle, other_bundle, tmp_path):
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    with running(folder, "--watch", "0", "--no-access-log") as (process, port, said):
        wait(lambda: is_ready(port))
        before = asked(port, "/ready")[1]["bundle"]
        shutil.rmtree(folder)
        shutil.copytree(other_bundle, folder)
        process.send_signal(signal.SIGHUP)
        wait(lambda: asked(port, "/ready")[1]["bundle"] != before)
        _, answer = asked(port, "/recommend", {"history": ["i009"], "k": 20})
        assert not {"i001", "i002", "i003"} & {each["item_id"] for each in answer["items"]}
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stdout.read() == ""
    assert any("answers now" in line for line in said)


def test_what_clients_may_cost_is_bounded(bundle):
    head = b"POST /recommend HTTP/1.1\r\nhost: x\r\n"
    with running(bundle, "--read-timeout", "0.5", "--keep-alive", "2") as (_, port, _):
        with socket.create_connection(("127.0.0.1", port), 60) as slow:
            slow.sendall(head + b"content-length: 9\r\n\r\n{")
            assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
        with socket.create_connection(("127.0.0.1", port), 60) as endless:
            endless.sendall(head + b"x-more: y\r\n" * 2000)
            assert endless.recv(100).startswith(b"HTTP/1.1 400 ")
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as kept:
            for _ in range(2):  # one that has asked may take its time before it asks again
                kept.request("GET", "/health")
                assert kept.getresponse().read() == b'{"status":"alive"}'
                time.sleep(0.7)
            assert kept.sock.recv(1) == b""  # but not without end


def test_what_it_cannot_do_is_said_in_a_line(bundle, tmp_path, command):
    _, said = command("serve", str(tmp_path / "none"), "--port", "0", status=2)
    assert "manifest.json cannot be read as a bundle's manifest" in said[0]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        _, said = command("serve", str(bundle), "--port", port, status=2)
    assert said == [
        f"genrec: cannot listen at 127.0.0.1, port {port}: [Errno 98] Address already "
        f"in use (while attempting to bind on address ('127.0.0.1', {port}))"
    ]
    _, said = command("serve", str(bundle), "--max-batch", "0", status=2)
    assert said == ["genrec: --max-batch is 0, but must be above 0"]
    _, said = command("serve", str(bundle), "--watch", "-1", status=2)
    assert said == ["genrec: --watch is -1.0, but must be at least 0"]


def test_without_the_libraries_it_says_what_to_install(bundle, monkeypatch, command):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "genrec.serving.server", raising=False)
    _, said = command("serve", str(bundle), status=2)
    assert said == ["genrec: serving needs uvicorn: pip install 'genrec[serve]'"]
