"""Items come to a bundle, go, and are in stock or not; its programs stay as they are."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from genrec.bundle.bundle import Bundle, load_bundle
from genrec.bundle.experts import with_new_items
from genrec.bundle.storage import changing, pack_names, write_bundle
from genrec.errors import UserError
from genrec.recommend.catalog import Change, change_of, plan_additions
from genrec.semantic_ids.collisions import SemanticIds, rank_in_group
from genrec.semantic_ids.trie import Trie, build_trie
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
        vectors: float (n, C), their content, by the encoder that the catalogue's vectors are from.

    Raises:
        UserError: the bundle takes none, or the arguments do not fit each other or the bundle, or
            it has no room for so many or for some item's codes; or another process changes it.
    """
    folder = Path(folder)
    with changing(folder, _COMMAND):
        bundle = load_bundle(folder)
        vectors = np.asarray(vectors, np.float32)
        _check_new(folder, item_ids, titles, vectors, bundle.newcomers.width)
        new, open_items, change = plan_additions(bundle.item_ids, bundle.open_items, item_ids)
        rows: list[int] = new.tolist()
        tables = dict(bundle.tables) | {"open": open_items.astype(np.int32)}
        files = {}
        if rows:
            tables |= _with_new(bundle, vectors[rows])
            trie_in(bundle, tables["codes"], folder, "export it again, with more --room")
            files = {
                "content.safetensors": bundle.newcomers.with_content(vectors[rows]),
                "items.json.gz": pack_names(
                    [*bundle.item_ids, *(item_ids[row] for row in rows)],
                    [*bundle.titles.values(), *(titles[row] for row in rows)],
                ),
            }
            if bundle.experts is not None:
                towards = bundle.newcomers.towards(vectors[rows])
                experts = with_new_items(bundle.experts, towards)
                files["experts.safetensors"] = pack_tensors(experts)
        _write(folder, bundle, tables, files, added=len(rows))
        return change


def remove_items(folder: str | Path, names: Sequence[str]) -> Change:
    """Has items recommended no more, by id or title; they may still stand in histories.

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


def _open(folder: Path, bundle: Bundle, open_items: np.ndarray) -> Change:
    """Lets these items be recommended, and no others."""
    _write(folder, bundle, dict(bundle.tables) | {"open": np.asarray(open_items, np.int32)}, {})
    return change_of(bundle.open_items, open_items)


def _check_new(
    folder: Path, item_ids: Sequence[str], titles: Sequence[str], vectors: np.ndarray, width: int
) -> None:
    """Raises UserError unless new items fit each other, and the width of the bundle's content."""
    if not len(item_ids) == len(titles) == len(vectors):
        raise UserError(
            f"{len(item_ids)} ids, {len(titles)} titles and {len(vectors)} vectors do not fit"
        )
    if vectors.ndim != 2 or vectors.shape[1] != width:
        raise UserError(
            f"the vectors of the items in {folder} have width {width}, these have shape "
            f"{vectors.shape}: use the same encoder for both"
        )
    if not np.isfinite(vectors).all():
        raise UserError("some of the new items' vectors are not finite")
    if len(set(item_ids)) < len(item_ids):
        twice = next(name for name in item_ids if list(item_ids).count(name) > 1)
        raise UserError(f"the new items name {twice!r} twice")


def _with_new(bundle: Bundle, content: np.ndarray) -> dict[str, np.ndarray]:
    """The tables of a bundle with rows for n new items of content (n, C); all but `open`."""
    tables, encoder = bundle.tables, bundle.newcomers
    first, levels = len(tables["codes"]), len(encoder.sizes)
    unique = tables["codes"].shape[1] == levels
    before = SemanticIds(tables["codes"][:, :levels], encoder.sizes, unique)
    codes = encoder.append_to(before, content).codes
    # Items that share their codes have their rank as one code more: the new ones come last.
    leaves = codes if unique else np.column_stack([codes, rank_in_group(codes).astype(np.int32)])
    rows = {
        "codes": leaves[first:],
        "counts": np.zeros(len(content), tables["counts"].dtype),
        "seen": np.zeros(len(content), bool),
    }
    if "vectors" in tables:
        vectors = encoder.vectors(bundle.weights, codes[first:], content)
        rows["vectors"] = vectors.astype(tables["vectors"].dtype)
    return {name: np.concatenate([tables[name], new]) for name, new in rows.items()}


def trie_in(bundle: Bundle, codes: np.ndarray, folder: Path, remedy: str) -> Trie:
    """The trie of items of these codes (N, L), in the shapes of a bundle's programs.

    Raises:
        UserError: they have no room for it; `folder` is the bundle's, `remedy` what to do.
    """
    try:
        return build_trie(codes, None, bundle.shapes)
    except ValueError as error:
        raise UserError(f"{folder} has no room for {len(codes):,} items: {remedy}") from error


def _write(
    folder: Path,
    bundle: Bundle,
    tables: Mapping[str, np.ndarray],
    files: Mapping[str, bytes],
    *,
    added: int = 0,
) -> None:
    manifest = dict(bundle.manifest) | {
        "items": len(tables["codes"]),
        "added": bundle.manifest["added"] + added,
    }
    tables_file = {"items.safetensors": pack_tensors(tables)}
    write_bundle(folder, manifest, {**bundle.contents, **tables_file, **files})
