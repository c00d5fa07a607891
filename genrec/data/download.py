"""Bringing known files into the cache folder, over https only and never unverified."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from genrec.errors import UserError
from genrec.files import replacing, sha256

_CONNECT_SECONDS = 5.0
_PIP_SECONDS = 300.0


class UnavailableError(Exception):
    """A source of a file did not answer; another may be tried."""


def cache_folder() -> Path:
    """$GENREC_CACHE, else $XDG_CACHE_HOME/genrec, else ~/.cache/genrec."""
    if chosen := os.environ.get("GENREC_CACHE"):
        return Path(chosen).expanduser()
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches).expanduser() if caches else Path.home() / ".cache") / "genrec"


def check_sha256(path: Path, expected: str) -> None:
    """UserError when a file is not the one with the expected checksum."""
    found = sha256(path)
    if found != expected:
        raise UserError(
            f"{path} is damaged or another file than expected (sha256 {found[:12]}…, expected "
            f"{expected[:12]}…); delete it and run again"
        )


def fetch_https(url: str, path: Path, expected: str, limit: int) -> None:
    """Downloads the file with the expected sha256 to `path`.

    Args:
        url: where it is; anything but https is refused, in redirections too.
        path: where it goes; it appears only when whole and verified.
        expected: its sha256.
        limit: bytes after which the answer cannot be the file.

    Raises UnavailableError when the address does not answer, and UserError when it answers with
    another file.
    """
    try:
        with urllib.request.urlopen(_https(url), timeout=_CONNECT_SECONDS) as answer:
            _https(answer.geturl())
            contents = answer.read(limit + 1)
    except (OSError, urllib.error.URLError) as error:
        raise UnavailableError(f"{url}: {getattr(error, 'reason', error)}") from error
    with replacing(path) as temporary:
        temporary.write_bytes(contents)
        _verify(temporary, expected, url)


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
