"""A bundle's catalogue lives on: items come, go, and are in stock or not; its programs stay."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from genrec.bundle.bundle import Bundle, load_bundle
from genrec.bundle.storage import changing, pack_names, write_bundle
from genrec.errors import UserError
from genrec.recommend.catalog import Change
from genrec.semantic_ids.collisions import SemanticIds, rank_in_group
from genrec.semantic_ids.trie import build_trie
from genrec.storage.safetensors import pack_tensors

_COMMAND = "genrec update"


def add_items(
    folder: str | Path, item_ids: Sequence[str], titles: Sequence[str], vectors: np.ndarray
) -> Change:
    """Puts new items into a bundle; no code that is given already changes.

    They may be recommended, by what their codes and their content say, and stand in histories.
    Items that are there stay as they are, and come back if they had been removed.

    Args:
        item_ids: of n items.
        titles: of the same.
        vectors: float (n, E), their content, by the encoder that the catalogue's vectors are from.

    Raises:
        UserError: the bundle takes none, or the arguments do not fit each other or the bundle, or
            it has no room for so many or for some item's codes; or another process changes it.
    """
    with changing(folder, _COMMAND):
        return _add(folder, item_ids, titles, vectors)


def _add(
    folder: str | Path, item_ids: Sequence[str], titles: Sequence[str], vectors: np.ndarray
) -> Change:
    bundle = load_bundle(folder)
    newcomers = bundle.newcomers
    vectors = np.asarray(vectors, np.float32)
    if not len(item_ids) == len(titles) == len(vectors):
        raise UserError(
            f"{len(item_ids)} ids, {len(titles)} titles and {len(vectors)} vectors do not fit"
        )
    if vectors.ndim != 2 or vectors.shape[1] != newcomers.width:
        raise UserError(
            f"the vectors of the items in {folder} have width {newcomers.width}, these have shape "
            f"{vectors.shape}: use the same encoder for both"
        )
    if not np.isfinite(vectors).all():
        raise UserError("some of the new items' vectors are not finite")
    if len(set(item_ids)) < len(item_ids):
        again = next(name for name in item_ids if list(item_ids).count(name) > 1)
        raise UserError(f"the new items name {again!r} twice")
    place = {item_id: item for item, item_id in enumerate(bundle.item_ids)}
    back = np.array([place[name] for name in item_ids if name in place], np.int64)
    fresh = [row for row, name in enumerate(item_ids) if name not in place]
    first = len(place)
    opened = np.union1d(bundle.open_items, np.append(back, first + np.arange(len(fresh))))
    change = Change(
        items=len(opened),
        added=len(fresh),
        known=len(back),
        returned=len(np.setdiff1d(back, bundle.open_items)),
    )
    tables = dict(bundle.tables) | {"open": opened.astype(np.int32)}
    contents: dict[str, bytes] = {}
    if fresh:
        content, before = vectors[fresh], tables["codes"]
        levels = len(newcomers.sizes)
        unique = before.shape[1] == levels
        given = SemanticIds(before[:, :levels], newcomers.sizes, unique)
        codes = newcomers.semantic_ids(content, given)
        spelt = codes
        if not unique:  # items that share their codes have a place more: behind those there
            every = np.concatenate([before[:, :levels], codes])
            place_within = rank_in_group(every)[first:].astype(np.int32)
            spelt = np.column_stack([codes, place_within])
        more = {
            "codes": spelt,
            "counts": np.zeros(len(fresh), tables["counts"].dtype),
            "seen": np.zeros(len(fresh), bool),
        }
        if "vectors" in tables:
            made = newcomers.vectors(bundle.weights, codes, content)
            more["vectors"] = made.astype(tables["vectors"].dtype)
        tables |= {name: np.concatenate([tables[name], rows]) for name, rows in more.items()}
        _check_room(folder, bundle, tables["codes"])
        contents = {
            "content.safetensors": newcomers.with_content(content),
            "items.json.gz": pack_names(
                [*bundle.item_ids, *(item_ids[row] for row in fresh)],
                [*bundle.titles.values(), *(titles[row] for row in fresh)],
            ),
        }
    _write(Path(folder), bundle, tables, contents, added=len(fresh))
    return change


def remove_items(folder: str | Path, names: Sequence[str]) -> Change:
    """Retires items, by id or title: they are recommended no more, but may stand in histories.

    Raises:
        UserError: an item is unknown, none would be left, or another process changes the bundle.
    """
    with changing(folder, _COMMAND):
        bundle = load_bundle(folder)
        return _open(Path(folder), bundle, bundle.restricted(exclude=names).open_items)


def allow_items(folder: str | Path, names: Sequence[str]) -> Change:
    """Lets no other items be recommended than these, by id or title; of all that it knows.

    Raises:
        UserError: an item is unknown, there is none, or another process changes the bundle.
    """
    with changing(folder, _COMMAND):
        bundle = load_bundle(folder)
        every = bundle.everything()
        return _open(Path(folder), bundle, every.restricted(allow=names).open_items)


def _open(folder: Path, bundle: Bundle, opened: np.ndarray) -> Change:
    before = bundle.open_items
    tables = dict(bundle.tables) | {"open": np.asarray(opened, np.int32)}
    _write(folder, bundle, tables, {}, added=0)
    return Change(
        items=len(opened),
        returned=len(np.setdiff1d(opened, before)),
        removed=len(np.setdiff1d(before, opened)),
    )


def _check_room(folder: str | Path, bundle: Bundle, codes: np.ndarray) -> None:
    """Raises UserError unless the bundle's programs take so many items with these codes."""
    try:
        build_trie(codes, None, bundle.shapes)
    except ValueError as error:
        raise UserError(
            f"{folder} has no room for {len(codes):,} items: export it again, with more --room"
        ) from error


def _write(
    folder: Path,
    bundle: Bundle,
    tables: Mapping[str, np.ndarray],
    contents: Mapping[str, bytes],
    *,
    added: int,
) -> None:
    manifest = dict(bundle.manifest) | {
        "items": len(tables["codes"]),
        "added": bundle.manifest["added"] + added,
    }
    changed = {"items.safetensors": pack_tensors(tables)} | dict(contents)
    write_bundle(folder, manifest, dict(bundle.contents) | changed)
