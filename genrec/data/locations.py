"""Finding the files that a location names: local or in a bucket, plain or compressed."""

import csv
import glob
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from genrec.errors import UserError, reason
from genrec.storage.files import sha256

FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_LONGEST_LINE = 1 << 21
"""Bytes that a line of the header may have; DuckDB's limit is the same."""
_COMPRESSED = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True)
class Files:
    """Files of one format, to be read one after the other.

    Attributes:
        location: as the user wrote it.
        paths: paths of the files, sorted; with their protocol if they are remote.
        ending: their format, one of `FORMATS`.
        compression: "gzip" or "zstd"; None for plain files.
        remote: the fsspec file system that reads them; None for files of this machine.
    """

    location: str
    paths: tuple[str, ...]
    ending: str
    compression: str | None
    remote: Any = None

    @contextmanager
    def opened(self, path: str) -> Iterator[pa.NativeFile]:
        """Opens one of the files for reading, decompressed."""
        remote = self.remote
        with pa.PythonFile(remote.open(path), "r") if remote else pa.OSFile(path) as stream:
            yield pa.CompressedInputStream(stream, self.compression) if self.compression else stream

    def header(self, path: str, delimiter: str) -> list[str]:
        """The first row of a file of delimited text; UserError where there is none."""
        try:
            with self.opened(path) as stream:
                return next(csv.reader(_lines(stream), delimiter=delimiter))
        except StopIteration as error:
            raise UserError(f"{path} has no header") from error
        except (UnicodeDecodeError, csv.Error, OSError) as error:
            raise UserError(
                f"{path}: the header cannot be read ({reason(error)}); save it as UTF-8"
            ) from error


def check_whole(files: Files) -> None:
    """Reads compressed files to their ends; UserError if one is cut off or damaged."""
    for path in files.paths:
        try:
            with files.opened(path) as stream:
                while stream.read(1 << 22):
                    pass
        except OSError as error:
            raise UserError(f"{path} is cut off or damaged: {reason(error)}") from error


def find_files(location: str | Path) -> Files:
    """The files that a location names.

    A location is the path of a file, of a folder with files of one format, or a pattern such as
    "log/2014-*.csv.gz"; or any of these behind "s3://", "gs://" or another protocol of fsspec. A
    path that exists is never taken for a pattern. In a folder, files whose names begin with a dot
    or an underscore are skipped: programs leave them beside the data that they write.

    Raises:
        UserError: there is no such file, a file is empty, or the format is unknown or not uniform.
    """
    location = str(location)
    remote = _filesystem(location) if "://" in location else None
    paths = _local(location) if remote is None else _remote(remote, location)
    formats = {_format(path) for path in paths}
    if len(formats) > 1:
        shown = ", ".join(sorted(ending + packed for ending, packed in formats))
        raise UserError(f"{location} holds files of several formats: {shown}; name one, as *.csv")
    ((ending, packed),) = formats
    return Files(location, tuple(paths), ending, _COMPRESSED.get(packed), remote)


def absolute(location: str) -> str:
    """The location as it can be named from any working directory."""
    return location if "://" in location else str(Path(location).expanduser().absolute())


def fingerprints(location: str | Path) -> dict[str, str]:
    """A text for each path that changes when the file does: its sha256, or the bucket's own tag."""
    files = find_files(location)
    if files.remote is None:
        return {path: sha256(Path(path)) for path in files.paths}
    return {path: str(files.remote.ukey(path)) for path in files.paths}


def _local(location: str) -> list[str]:
    path = Path(location)
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = [file for file in path.iterdir() if file.is_file() and _is_data(file.name)]
        if not files:
            raise UserError(f"{location} is a folder without files")
    else:
        # Not Path.glob, for a pattern may be absolute.
        matches = glob.glob(location, recursive=True)  # noqa: PTH207
        files = [Path(match) for match in matches if Path(match).is_file()]
        if not files:
            problem = "matches no file" if glob.has_magic(location) else "does not exist"
            raise UserError(f"{location} {problem}")
    for file in files:
        if file.stat().st_size == 0:
            raise UserError(f"{file} is empty")
    return sorted(map(str, files))


def _remote(remote: Any, location: str) -> list[str]:
    protocol = location.split("://")[0]
    try:
        if remote.isfile(location):
            names = [location]
        elif remote.isdir(location):
            files = remote.find(location, maxdepth=1)
            names = [name for name in files if _is_data(name.rsplit("/", 1)[-1])]
        else:
            names = [name for name in remote.glob(location) if remote.isfile(name)]
    except Exception as error:  # any exception of the protocol's library: no network, no rights, …
        raise UserError(f"{location} cannot be listed: {reason(error)}") from error
    if not names:
        raise UserError(f"{location} does not exist, or matches no file")
    return sorted(name if "://" in name else f"{protocol}://{name.lstrip('/')}" for name in names)


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


def _is_data(name: str) -> bool:
    return not name.startswith((".", "_"))


def _format(path: str) -> tuple[str, str]:
    """The endings of the format and of the compression, the latter "" for a plain file."""
    name = Path(path).name.lower()
    packed = next((ending for ending in _COMPRESSED if name.endswith(ending)), "")
    ending = Path(name.removesuffix(packed)).suffix
    if ending not in FORMATS or (packed and ending == ".parquet"):
        raise UserError(
            f"{path}: unknown ending {ending + packed!r}; genrec reads {', '.join(FORMATS)}, and "
            "all but the last compressed too, as .csv.gz or .csv.zst"
        )
    return ending, packed


def _lines(stream: pa.NativeFile) -> Iterator[str]:
    """Lines of text, with their ends, without a byte order mark; read a little at a time."""
    lines, encoding = io.BufferedReader(stream), "utf-8-sig"  # pyright: ignore[reportArgumentType]
    while line := lines.readline(_LONGEST_LINE + 1):
        if len(line) > _LONGEST_LINE:
            raise csv.Error(f"a line is longer than {_LONGEST_LINE >> 20} MiB")
        yield line.decode(encoding)
        encoding = "utf-8"
