"""Reading a file of an archive, without unpacking anything to the disk."""

import contextlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from genrec.errors import UserError, reason

_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_WRONG = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error)
"""What `zipfile` raises of an archive that is none, or is damaged."""


def read_member(archive: Path, name: str, most: int) -> bytes:
    """What a zip archive holds under a name; no other name in it is looked at.

    Args:
        most: bytes that it may have, whatever the archive says of it.

    Raises:
        UserError: it is no archive, or the file is missing, there twice, locked, damaged or larger.
    """
    try:
        with zipfile.ZipFile(archive) as members:
            found = [member for member in members.infolist() if member.filename == name]
            if len(found) != 1:
                raise ValueError(f"it holds {len(found)} files {name}")
            if found[0].flag_bits & 1 or found[0].compress_type not in _PLAIN:
                raise ValueError(f"{name} is locked, or packed in another way")
            with members.open(found[0]) as file:
                contents = file.read(most + 1)
        if len(contents) > most:
            raise ValueError(f"{name} has more than {most:,} bytes")
        return contents
    except _WRONG as error:
        raise _unreadable(archive, error) from error


@contextlib.contextmanager
def as_expected(archive: Path) -> Iterator[None]:
    """Turns what a text of another form comes to into UserError."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise _unreadable(archive, error) from error


def _unreadable(archive: Path, error: Exception) -> UserError:
    return UserError(f"{archive} is not the archive that it should be: {reason(error)}")
