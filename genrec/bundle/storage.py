"""The files of a bundle: read whole and verified, written in one step."""

import contextlib
import gzip
import hashlib
import json
import re
import stat
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genrec.bundle.checks import check_manifest
from genrec.errors import UserError, blaming, reason
from genrec.storage.files import replacing, sweep
from genrec.storage.json_schema import expect
from genrec.storage.lock import held

FORMAT = "genrec bundle"
SCHEMA = 4
_READ = (3, 4)
"""Schemas that are read: those of 3 have no experts."""
_MOST_MANIFEST = 100_000_000


def read_bundle(folder: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest, and the contents of every file by name.

    Raises:
        UserError: it is no bundle, a file is missing or damaged, or another genrec is needed.
    """
    manifest = read_manifest(folder)
    while True:
        try:
            return manifest, _contents(folder, manifest)
        except UserError:
            # It may have been replaced by another one meanwhile.
            before, manifest = manifest, read_manifest(folder)
            if manifest == before:
                raise


def _contents(folder: Path, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    contents = {}
    for name, entry in manifest["files"].items():
        path = folder / name
        try:
            size = _size(path)
            contents[name] = path.read_bytes() if size == entry["bytes"] else b""
        except OSError as error:
            raise UserError(f"{path} is missing: export the bundle again") from error
        if size != entry["bytes"] or hashlib.sha256(contents[name]).hexdigest() != entry["sha256"]:
            raise UserError(f"{path} is damaged or was changed: export the bundle again")
    return contents


def _size(path: Path) -> int:
    """Bytes of a file; OSError for a pipe or a device, which would be read without end."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path.name} is no file")
    return status.st_size


@contextlib.contextmanager
def changing(folder: str | Path, command: str) -> Iterator[None]:
    """Locks a bundle, from reading it to writing another one in its place.

    The lock lies beside it, for the folder is replaced. What a killed process left half written is
    removed.

    Raises:
        UserError: another process is changing it, or it cannot be written.
    """
    path = Path(folder).resolve()
    with held(path.parent / f".{path.name}.lock", Path(folder), command, "") as writable:
        if not writable:
            raise UserError(f"{folder} cannot be written: change the permissions of {path.parent}")
        sweep(path.parent, re.escape(path.name))
        yield


def write_bundle(
    folder: Path, manifest: Mapping[str, Any], contents: Mapping[str, bytes]
) -> dict[str, Any]:
    """Writes a bundle in place of one that is there; returns the manifest, with its files."""
    files = {
        name: {"sha256": hashlib.sha256(contents[name]).hexdigest(), "bytes": len(contents[name])}
        for name in sorted(contents)
    }
    manifest = {"format": FORMAT, "schema": SCHEMA} | dict(manifest) | {"files": files}
    manifest.pop("checksum", None)  # that of a bundle before this one
    with replacing(folder) as temporary:
        for name in files:
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents[name])
        (temporary / "manifest.json").write_text(manifest_text(manifest), encoding="utf-8")
    return manifest


def pack_names(item_ids: Sequence[str], titles: Sequence[str]) -> bytes:
    """The contents of items.json.gz."""
    names = {"item_id": list(item_ids), "title": list(titles)}
    text = json.dumps(names, ensure_ascii=False, separators=(",", ":")).encode()
    packed = gzip.compress(text, mtime=0)
    return packed if len(text) <= _most_names(packed) else gzip.compress(text, 0, mtime=0)


def unpack_names(contents: bytes) -> tuple[list[str], list[str]]:
    """Ids and titles.

    Raises:
        UserError: it holds something else, or far more than its size lets expect.
    """
    with blaming("items.json.gz"):
        unpacker = zlib.decompressobj(wbits=31)  # of gzip's format
        text = unpacker.decompress(contents, _most_names(contents) + 1)
        if not unpacker.eof:
            raise ValueError("its end is missing, or there is too much in it")
        names = json.loads(text)
        expect(names, {"item_id": list, "title": list})
        ids, titles = names["item_id"], names["title"]
        # All must be text, and none have half a character: that could not be printed.
        "".join([*ids, *titles]).encode()
        return ids, titles


def _most_names(contents: bytes) -> int:
    """The most bytes that packed names may unpack to; real ones rarely have ten times as many."""
    return 100 * len(contents) + 1_000_000


def program_name(named: int, users: bool) -> str:
    """The file of the program for requests that name up to so many items."""
    return f"programs/recommend-{named}{'-users' if users else ''}.bin"


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """manifest.json with its own checksum, which is of the text without it."""
    rest = {name: value for name, value in manifest.items() if name != "checksum"}
    text = json.dumps(rest, indent=2, ensure_ascii=False, allow_nan=False)
    checksum = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps({"checksum": checksum} | rest, indent=2, ensure_ascii=False) + "\n"


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle; UserError when it is none, damaged, or of another genrec."""
    path = folder / "manifest.json"
    try:
        if _size(path) > _MOST_MANIFEST:
            raise ValueError("it is too large")
        text = path.read_bytes().decode()
        manifest = json.loads(text)
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise ValueError("it is not that of a bundle")
        if manifest_text(manifest) != text:
            raise ValueError("it is damaged or was changed")
        schema = manifest.get("schema")
        if schema in _READ:
            check_manifest(manifest)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as a bundle's manifest: {reason(error)}") from error
    if schema not in _READ:
        if isinstance(schema, int) and schema > SCHEMA:
            raise UserError(f"{folder} was made by a newer genrec, which is needed to read it")
        raise UserError(f"{folder} was made by an older genrec: export the bundle again")
    needed = {"weights.safetensors", "items.safetensors", "items.json.gz"}
    answers = manifest["answers"]
    needed |= {"experts.safetensors"} if answers.get("experts") else set()
    for users in (False, True)[: 1 + answers["users"]]:
        needed |= {program_name(named, users) for named in answers["named"]}
    if new_items := manifest["newcomers"]:
        needed |= {"tokenizer.safetensors", "content.safetensors", *new_items["files"]}
    if missing := needed - manifest["files"].keys():
        raise UserError(f"{path} lists no {min(missing)}: export the bundle again")
    return manifest
