"""Which files a user means: one, a folder or a pattern; here or in a bucket; plain or packed."""

import csv
import glob
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from genrec.errors import UserError
from genrec.storage.files import sha256

FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_LONGEST_LINE = 1 << 21
"""Bytes; DuckDB takes no longer ones either."""
_COMPRESSED = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True)
class Files:
    """Files of one format, to be read one after the other.

    Attributes:
        location: as the user wrote it.
        paths: of the files, in the order of their names; with their protocol if they are remote.
        ending: which of the formats they have.
        compression: "gzip" or "zstd"; None for plain files.
        remote: what reads them (an fsspec file system) if they are not on this machine.
    """

    location: str
    paths: tuple[str, ...]
    ending: str
    compression: str | None
    remote: Any = None

    @contextmanager
    def opened(self, path: str) -> Iterator[pa.NativeFile]:
        """One of the files, decompressed."""
        stream = (
            pa.OSFile(path) if self.remote is None else pa.PythonFile(self.remote.open(path), "r")
        )
        with stream:
            yield pa.CompressedInputStream(stream, self.compression) if self.compression else stream

    def header(self, path: str, delimiter: str) -> list[str]:
        """The first row of a file of delimited text; UserError where there is none."""
        try:
            with self.opened(path) as stream:
                text = _lines(stream)
                return next(csv.reader(text, delimiter=delimiter))
        except (UnicodeDecodeError, csv.Error, StopIteration, OSError) as error:
            reason = str(error).splitlines()[0] if str(error) else "there is none"
            raise UserError(
                f"{path}: the header cannot be read ({reason}); save it as UTF-8"
            ) from error


def check_whole(files: Files) -> None:
    """UserError where a compressed file ends before its time: read to the end, and forgotten."""
    for path in files.paths:
        try:
            with files.opened(path) as stream:
                while stream.read(1 << 22):
                    pass
        except OSError as error:
            raise UserError(
                f"{path} is cut off or damaged: {str(error).splitlines()[0]}"
            ) from error


def find_files(location: str | Path) -> Files:
    """The files that a location names.

    It is the path of a file, of a folder of files of one format, or a pattern such as
    "log/2014-*.csv.gz"; or any of these behind "s3://", "gs://" or another protocol of fsspec. What
    exists by its name is no pattern. Files whose names begin with a dot or an underscore are passed
    over in folders, as writers leave them there.

    Raises:
        UserError: there is no such file, it is empty, or the format is unknown or not the same.
    """
    location = str(location)
    remote = _filesystem(location) if "://" in location else None
    paths = _local(location) if remote is None else _remote(remote, location)
    kinds = {_kind(path) for path in paths}
    if len(kinds) > 1:
        shown = ", ".join(sorted(ending + packed for ending, packed in kinds))
        raise UserError(f"{location} holds files of several formats: {shown}; name one, as *.csv")
    ((ending, packed),) = kinds
    return Files(location, tuple(paths), ending, _COMPRESSED.get(packed), remote)


def absolute(location: str) -> str:
    """The location as it is called from every folder."""
    return location if "://" in location else str(Path(location).expanduser().absolute())


def fingerprints(location: str | Path) -> dict[str, str]:
    """What tells whether a file has changed, by path: its sha256, or what its bucket says of it."""
    files = find_files(location)
    if files.remote is None:
        return {path: sha256(Path(path)) for path in files.paths}
    return {path: str(files.remote.ukey(path)) for path in files.paths}


def _local(location: str) -> list[str]:
    path = Path(location)
    if path.is_file():
        found = [location]
    elif path.is_dir():
        found = [str(each) for each in path.iterdir() if each.is_file() and _counts(each.name)]
        if not found:
            raise UserError(f"{location} is a folder without files")
    else:
        # Not Path.glob, for a pattern may be absolute.
        matches = glob.glob(location, recursive=True)  # noqa: PTH207
        found = [each for each in matches if Path(each).is_file()]
        if not found:
            named = "matches no file" if glob.has_magic(location) else "does not exist"
            raise UserError(f"{location} {named}")
    for each in found:
        if Path(each).stat().st_size == 0:
            raise UserError(f"{each} is empty")
    return sorted(found)


def _remote(remote: Any, location: str) -> list[str]:
    protocol = location.split("://")[0]
    try:
        if remote.isfile(location):
            found = [location]
        elif remote.isdir(location):
            names = remote.find(location, maxdepth=1)
            found = [name for name in names if _counts(name.rsplit("/", 1)[-1])]
        else:
            found = [name for name in remote.glob(location) if remote.isfile(name)]
    except Exception as error:  # whatever the protocol's library raises: no network, no rights, …
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{location} cannot be listed: {reason[:300]}") from error
    if not found:
        raise UserError(f"{location} does not exist, or matches no file")
    return sorted(name if "://" in name else f"{protocol}://{name.lstrip('/')}" for name in found)


def _filesystem(location: str) -> Any:
    protocol = location.split("://")[0]
    if protocol.lower() in ("http", "ftp"):
        raise UserError(f"{location} can be changed by anybody on its way: use https:// instead")
    try:
        import fsspec

        return fsspec.filesystem(protocol)
    except ImportError as error:
        raise UserError(
            f"{location} needs a library for {protocol}://: pip install 'genrec[cloud]'"
        ) from error
    except ValueError as error:
        raise UserError(f"{location}: there is no protocol {protocol}://") from error


def _counts(name: str) -> bool:
    return not name.startswith((".", "_"))


def _kind(path: str) -> tuple[str, str]:
    """The format's ending and that of the compression, "" for none."""
    name = Path(path).name.lower()
    packed = next((each for each in _COMPRESSED if name.endswith(each)), "")
    ending = Path(name.removesuffix(packed)).suffix
    if ending not in FORMATS or (packed and ending == ".parquet"):
        raise UserError(
            f"{path}: unknown ending {ending + packed!r}; genrec reads {', '.join(FORMATS)}, and "
            "all but the last compressed too, as .csv.gz or .csv.zst"
        )
    return ending, packed


def _lines(stream: pa.NativeFile) -> Iterator[str]:
    """Lines of text, with their ends, without a byte order mark; read a little at a time."""
    rest, first = b"", True
    while piece := stream.read(1 << 16):
        *whole, rest = (rest + piece).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            raise csv.Error(f"a line is longer than {_LONGEST_LINE >> 20} MiB")
        for line in whole:
            yield (line + b"\n").decode("utf-8-sig" if first else "utf-8")
            first = False
    if rest:
        yield rest.decode("utf-8-sig" if first else "utf-8")
