"""Downloads: whole or not at all, gone on with where they stopped, over https only.

The server is a real one on the loopback address, so these tests let http pass.
"""

import hashlib
import http.client
import http.server
import random
import threading

import pytest

from genrec.data.known import download
from genrec.errors import UserError

CONTENTS = random.Random(0).randbytes(3_500_000)
SHA256 = hashlib.sha256(CONTENTS).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves one file at any path; it may break off after some bytes, or change."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents, self.tag, self.status = CONTENTS, '"one"', 200
        self.breaks: list[int] = []  # after so many bytes, one for each answer
        self.ranges: list[tuple[str | None, str | None]] = []
        self.tells_size = True

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/file.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        asked, condition = self.headers["Range"], self.headers["If-Range"]
        self.server.ranges.append((asked, condition))
        if self.server.status != 200:
            return self.send_error(self.server.status)
        start = 0
        if asked is not None and condition == self.server.tag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        body = self.server.contents[start:]
        self.send_response(206 if start else 200)
        if self.server.tag:
            self.send_header("ETag", self.server.tag)
        if self.server.tells_size:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.breaks.pop(0)] if self.server.breaks else body)

    def log_message(self, format, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "_https", lambda url: url)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_whole(tmp_path, server):
    download.fetch_https(server.url, tmp_path / "x" / "file.bin", SHA256)
    assert (tmp_path / "x" / "file.bin").read_bytes() == CONTENTS
    assert names(tmp_path / "x") == ["file.bin"]


def test_an_answer_that_breaks_off_is_gone_on_with(tmp_path, server):
    server.breaks = [1_200_000, 900_000]
    download.fetch_https(server.url, tmp_path / "file.bin", SHA256)
    assert (tmp_path / "file.bin").read_bytes() == CONTENTS
    assert server.ranges == [
        (None, None),
        ("bytes=1200000-", '"one"'),
        ("bytes=2100000-", '"one"'),
    ]


def test_a_later_call_goes_on_with_what_came(tmp_path, server):
    server.breaks = [1_200_000, 0]
    with pytest.raises(download.UnavailableError, match="1,200,000 of 3,500,000 bytes"):
        download.fetch_https(server.url, tmp_path / "file.bin", SHA256)
    assert names(tmp_path) == ["file.bin.part", "file.bin.part.tag"]
    download.fetch_https(server.url, tmp_path / "file.bin", SHA256)
    assert server.ranges[-1] == ("bytes=1200000-", '"one"')
    assert (tmp_path / "file.bin").read_bytes() == CONTENTS
    assert names(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("tag", ['"two"', 'W/"one"', ""])
def test_a_file_that_may_have_changed_is_fetched_anew(tmp_path, server, tag):
    server.tag = tag if tag != '"two"' else '"one"'
    server.breaks = [1_200_000, 0]
    with pytest.raises(download.UnavailableError):
        download.fetch_https(server.url, tmp_path / "file.bin")
    server.tag, server.contents = tag, CONTENTS[::-1]
    download.fetch_https(server.url, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENTS[::-1]


def test_another_file_is_not_kept(tmp_path, server):
    server.contents = b"<html>sign in</html>"
    with pytest.raises(UserError, match="sent another file than expected"):
        download.fetch_https(server.url, tmp_path / "file.bin", SHA256)
    assert "file.bin" not in names(tmp_path)
    server.contents = CONTENTS
    download.fetch_https(server.url, tmp_path / "file.bin", SHA256)
    assert (tmp_path / "file.bin").read_bytes() == CONTENTS


def test_a_server_that_tells_no_size_is_believed(tmp_path, server):
    server.tells_size = False
    download.fetch_https(server.url, tmp_path / "file.bin", SHA256)
    assert (tmp_path / "file.bin").read_bytes() == CONTENTS


@pytest.mark.parametrize("status", [404, 503])
def test_an_address_that_refuses_is_asked_once(tmp_path, server, status):
    server.status = status
    with pytest.raises(download.UnavailableError, match=rf"file\.bin: .*{status}"):
        download.fetch_https(server.url, tmp_path / "file.bin")
    assert len(server.ranges) == 1


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/x", "file:///etc/hostname", "ftp://example.org/x"]
)
def test_only_https_is_fetched(tmp_path, url):
    with pytest.raises(download.UnavailableError, match="not https"):
        download.fetch_https(url, tmp_path / "x")
    assert names(tmp_path) == []


@pytest.mark.parametrize("last", ["", "https"])
@pytest.mark.parametrize("scheme", ["http", "ftp", "file"])
def test_a_redirection_over_anything_but_https_is_refused(tmp_path, redirecting, scheme, last):
    """Before that address is asked, also where it would lead back to https."""
    place = f"127.0.0.1:{redirecting.server_address[1]}"
    redirecting.leads = {"/x": f"{scheme}://{place}/plain"}
    if last:
        redirecting.leads["/plain"] = f"https://{place}/end"
    with pytest.raises(download.UnavailableError, match=rf"{scheme}://.*not (https|allowed)"):
        download.fetch_https(f"https://{place}/x", tmp_path / "x")
    assert redirecting.asked == ["/x"]
    assert names(tmp_path) == []


def test_a_redirection_over_https_is_followed(tmp_path, redirecting):
    place = f"https://127.0.0.1:{redirecting.server_address[1]}"
    redirecting.leads = {"/x": f"{place}/y", "/y": "/end"}
    download.fetch_https(f"{place}/x", tmp_path / "x")
    assert redirecting.asked == ["/x", "/y", "/end"]
    assert (tmp_path / "x").read_bytes() == b"end"


class Redirecting(http.server.ThreadingHTTPServer):
    """Sends each path elsewhere that is in `leads`."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), RedirectingHandler)
        self.leads: dict[str, str] = {}
        self.asked: list[str] = []


class RedirectingHandler(http.server.BaseHTTPRequestHandler):
    server: Redirecting

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path in self.server.leads:
            self.send_response(302)
            self.send_header("Location", self.server.leads[self.path])
            self.end_headers()
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"end")

    def log_message(self, format, *arguments):
        pass


@pytest.fixture
def redirecting(monkeypatch):
    """A server whose https has no encryption, so that the addresses are what a user's would be."""
    plain = http.client.HTTPConnection
    opened = download.urllib.request.HTTPSHandler
    monkeypatch.setattr(opened, "https_open", lambda self, asked: self.do_open(plain, asked))
    with Redirecting() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"GENREC_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/genrec"),
        ({"HOME": "/c"}, "/c/.cache/genrec"),
        ({"GENREC_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/genrec"),
        ({"GENREC_CACHE": "~/d", "HOME": "/c"}, "/c/d"),
    ],
)
def test_where_the_cache_is(monkeypatch, environment, expected):
    for name in ("GENREC_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(download.cache_folder()) == expected
