"""Bringing known files into the cache folder, over https only, verified where they are known."""

import http.client
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

from genrec.errors import UserError
from genrec.progress import progress
from genrec.storage.files import sha256

_SECONDS = 10.0  # without a byte
_TRIES = 10
MB = 1_000_000
_PIP_SECONDS = 300.0


class UnavailableError(Exception):
    """A source of a file did not answer; another may be tried."""


def cache_folder() -> Path:
    """$GENREC_CACHE, else $XDG_CACHE_HOME/genrec, else ~/.cache/genrec."""
    if chosen := os.environ.get("GENREC_CACHE"):
        return Path(chosen).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches).expanduser() if caches else Path.home() / ".cache") / "genrec"


def check_sha256(path: Path, expected: str, remedy: str = "delete it and run again") -> None:
    """UserError when a file is not the one with the expected checksum."""
    found = sha256(path)
    if found != expected:
        raise UserError(
            f"{path} is damaged or another file than expected (sha256 {found[:12]}…, expected "
            f"{expected[:12]}…); {remedy}"
        )


def fetch_https(url: str, path: Path, expected: str | None = None) -> None:
    """Downloads a file to `path`, going on where an earlier download stopped.

    What came so far lies beside `path`, in a file that ends in .part. It is gone on with only if
    the server says that its file is still the same (If-Range, RFC 9110 section 13.1.5).

    Args:
        url: where it is; anything but https is refused, in redirections too.
        path: where it goes; it appears only when whole and, with `expected`, verified.
        expected: its sha256.

    Raises:
        UnavailableError: the address does not answer, or not to the end.
        UserError: it answers with another file than expected.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    for left in reversed(range(_TRIES)):
        before = _size(part)
        try:
            _go_on(url, part)
            break
        except (OSError, http.client.HTTPException) as error:
            # Worth another try only if some of it came.
            if not left or _size(part) <= before:
                reason = str(error) or type(error).__name__
                raise UnavailableError(f"{url}: {reason}") from error
    if expected is not None:
        try:
            _verify(part, expected, url)
        except UserError:
            part.unlink()
            raise
    part.replace(path)
    _validator(part).unlink()


def _go_on(url: str, part: Path) -> None:
    """Adds to the file what it lacks, or writes it anew; OSError when the answer stops early."""
    validator, start = _validator(part), _size(part)
    request = urllib.request.Request(_https(url))
    if start and validator.exists() and (known := validator.read_text(encoding="ascii")):
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", known)
    with urllib.request.build_opener(_HttpsAlone).open(request, timeout=_SECONDS) as answer:
        if answer.status != 206:
            start = 0
        size = answer.headers["Content-Length"]
        whole = None if size is None else start + int(size)
        if not start:
            part.unlink(missing_ok=True)  # first, lest the new tag stand beside the old file
            # A weak tag does not say that the bytes are the same.
            tag = answer.headers["ETag"] or ""
            strong = tag if tag.startswith('"') else answer.headers["Last-Modified"] or ""
            validator.write_text(strong, encoding="ascii")
        bar = progress("download", (whole or 0) // MB, "MB", done=start // MB)
        with part.open("ab" if start else "wb") as file, bar as shown:
            while block := answer.read(MB):
                file.write(block)
                shown.advance(len(block) // MB)
    if whole is not None and _size(part) != whole:
        raise OSError(f"it ended after {_size(part):,} of {whole:,} bytes")


def _validator(part: Path) -> Path:
    """What says which file was begun: its ETag, or else the time of its last change."""
    return part.with_name(f"{part.name}.tag")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def fetch_wheel(requirement: str, expected: str, folder: Path) -> Path:
    """Downloads one wheel from the package index, with pip, and returns where it is in `folder`.

    Nothing of it is installed or run. Raises UnavailableError when pip or the index has it not,
    and UserError when it is another file.

    Args:
        requirement: such as "recbole==1.2.1".
        expected: its sha256, which pip checks too.
        folder: an existing folder without wheels.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{requirement} --hash=sha256:{expected}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:", "--require-hashes"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"{requirement} from the package index: {error}") from error
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        reason = (result.stderr.strip().splitlines() or ["pip brought no wheel"])[-1]
        raise UnavailableError(f"{requirement} from the package index: {reason}")
    _verify(wheels[0], expected, requirement)
    return wheels[0]


class _HttpsAlone(urllib.request.HTTPRedirectHandler):
    """Every step of a redirection is https: what comes over http may lead anywhere."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        try:
            _https(newurl)
        except UnavailableError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _https(url: str) -> str:
    if not url.startswith("https://"):
        raise UnavailableError(f"{url}: not https")
    return url


def _verify(path: Path, expected: str, source: str) -> None:
    found = sha256(path)
    if found != expected:
        raise UserError(
            f"{source} sent another file than expected (sha256 {found[:12]}…, expected "
            f"{expected[:12]}…): try again from a network without a proxy or sign-in page"
        )
