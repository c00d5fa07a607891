"""Downloads into the cache folder: over https only, resumed, and verified by checksum."""

import http.client
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

from genrec.errors import UserError
from genrec.progress import progress
from genrec.storage.files import sha256

_SECONDS = 10.0
"""After so long without a byte a connection is given up."""
_TRIES = 10
MB = 1_000_000
_PIP_SECONDS = 300.0
_REMEDY = "try again from a network without a proxy or sign-in page"


class UnavailableError(Exception):
    """An address did not answer; another one may have the file."""


def cache_folder() -> Path:
    """$GENREC_CACHE, else $XDG_CACHE_HOME/genrec, else ~/.cache/genrec."""
    if chosen := os.environ.get("GENREC_CACHE"):
        return Path(chosen).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches).expanduser() if caches else Path.home() / ".cache") / "genrec"


def check_sha256(
    path: Path, expected: str, remedy: str = "delete it and run again", sender: str | None = None
) -> None:
    """UserError when a file has another checksum than expected.

    Args:
        sender: the address that the file has just come from, to be blamed instead of the file.
    """
    actual = sha256(path)
    if actual != expected:
        blame = f"{path} is damaged or" if sender is None else f"{sender} sent"
        raise UserError(
            f"{blame} another file than expected (sha256 {actual[:12]}…, expected "
            f"{expected[:12]}…); {remedy}"
        )


def fetch_https(url: str, path: Path, expected: str | None = None) -> None:
    """Downloads a file to `path`, resuming an interrupted download.

    The part that has come lies beside `path`, in a file that ends in .part. A download is resumed
    only if the server says that its file has not changed (If-Range, RFC 9110 section 13.1.5).

    Args:
        url: the address; anything but https is refused, in redirections too.
        path: where the file goes; it appears only when whole and, with `expected`, verified.
        expected: the file's sha256.

    Raises:
        UnavailableError: the address does not answer, or breaks off again and again.
        UserError: it answers with another file than expected.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    for left in reversed(range(_TRIES)):
        before = _size(part)
        try:
            _resume(url, part)
            break
        except (OSError, http.client.HTTPException) as error:
            # Worth another try only if some of it came.
            if not left or _size(part) <= before:
                reason = str(error) or type(error).__name__
                raise UnavailableError(f"{url}: {reason}") from error
    if expected is not None:
        try:
            check_sha256(part, expected, _REMEDY, url)
        except UserError:
            part.unlink()
            raise
    part.replace(path)
    _validator(part).unlink()


def _resume(url: str, part: Path) -> None:
    """Downloads the rest of the file, or all of it; OSError when the answer stops early."""
    validator, start = _validator(part), _size(part)
    request = urllib.request.Request(_https(url))
    if start and validator.exists() and (tag := validator.read_text(encoding="ascii")):
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", tag)
    with urllib.request.build_opener(_HttpsOnly).open(request, timeout=_SECONDS) as answer:
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
    """The file with the server's ETag of the part, or else the time of its last change."""
    return part.with_name(f"{part.name}.tag")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def fetch_wheel(requirement: str, expected: str, folder: Path) -> Path:
    """Downloads one wheel from the package index, with pip, and returns where it is in `folder`.

    Nothing in it is installed or run.

    Args:
        requirement: such as "recbole==1.2.1".
        expected: the wheel's sha256, which pip checks too.
        folder: an existing folder without wheels.

    Raises:
        UnavailableError: pip is not there, or the index does not have the wheel.
        UserError: it is another file than expected.
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
    check_sha256(wheels[0], expected, _REMEDY, requirement)
    return wheels[0]


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
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
