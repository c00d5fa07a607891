"""Reading one file of a zip archive, without unpacking anything to the disk."""

import contextlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from genrec.errors import UserError, reason

_SUPPORTED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)
"""What `zipfile` raises when a file is damaged or no archive."""


def read_member(archive: Path, name: str, most: int) -> bytes:
    """The contents of the file with the given name in a zip archive.

    Args:
        most: bytes that the file may have, whatever size the archive claims.

    Raises:
        UserError: there is no archive, or the file in it is missing, there twice, encrypted,
            damaged or too large.
    """
    try:
        with zipfile.ZipFile(archive) as members:
            named = [member for member in members.infolist() if member.filename == name]
            if len(named) != 1:
                raise ValueError(f"it holds {len(named)} files {name}")
            if named[0].flag_bits & 1 or named[0].compress_type not in _SUPPORTED:
                raise ValueError(f"{name} is locked, or packed in another way")
            with members.open(named[0]) as file:
                contents = file.read(most + 1)
        if len(contents) > most:
            raise ValueError(f"{name} has more than {most:,} bytes")
        return contents
    except _ERRORS as error:
        raise _unreadable(archive, error) from error


@contextlib.contextmanager
def as_expected(archive: Path) -> Iterator[None]:
    """Within this context errors from parsing the archive's contents become UserError."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise _unreadable(archive, error) from error


def _unreadable(archive: Path, error: Exception) -> UserError:
    return UserError(f"{archive} is not the archive that it should be: {reason(error)}")
