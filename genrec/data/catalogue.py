"""The catalogue: numbers for the items that are left, and their rows of the items file."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from genrec.config import Columns
from genrec.data.duck import in_process
from genrec.data.query_engine import EMPTY, BadRows, QueryEngine
from genrec.data.text import fill_template, template_fields
from genrec.errors import UserError, instead_of

_IDS_ONLY = """
SELECT CAST(NULL AS BIGINT) AS line, item_id AS id, item_id AS title FROM item_ids
"""
_REPEATED = """
SELECT id, COUNT(*) AS times, MIN(line) AS first FROM described
GROUP BY id HAVING COUNT(*) > 1 ORDER BY first
"""
_COUNT = "SELECT COUNT(*) FROM described"
_FIRST_ROWS = f"""
SELECT * FROM described
WHERE NOT ({EMPTY.format("id")}) AND line IN (SELECT MIN(line) FROM described GROUP BY id)
"""
_ITEM_IDS = """
SELECT item_id, number AS i FROM item_ids WHERE number IN (SELECT i FROM {events})
"""
_ITEMS = """
SELECT catalogue.item, catalogue.item_id, described.*
FROM catalogue LEFT JOIN described ON described.id = catalogue.item_id
ORDER BY catalogue.item
"""


def read_items(
    db: QueryEngine,
    path: str | Path | None,
    columns: Columns,
    template: str,
    delimiter: str | None = None,
    on_bad_rows: BadRows = "error",
) -> tuple[dict[str, str], int, int]:
    """Makes the table `described` (line, id, title, other0, other1, …) from the items file.

    Without an items file, every item of the table `item_ids` is described by its id alone. With
    `on_bad_rows` "drop", rows without an id are left out, and all but the first row of an item.

    Returns:
        The columns that the text template may name, each with its name in `described`; the number
        of rows read; and how many of these were left out.

    Raises:
        UserError: a column is missing, also one that the template names; or, with `on_bad_rows`
            "error", a row has no id, or an item has several rows.
    """
    always = {"item_id": "id", "title": "title"}
    if path is None:
        db.create("described", _IDS_ONLY)
        _check_template(template, always, "there is no items file to have it")
        ((count,),) = db.run(_COUNT)
        return always, count, 0
    table = db.open_table(path, as_text=(columns.item, columns.title), delimiter=delimiter)
    item = table.require(columns.item, "data.columns.item")
    title = table.require(columns.title, "data.columns.title")
    names = {name: f"other{number}" for number, name in enumerate(table.columns)}
    names |= {columns.title: "title", columns.item: "id"}
    _check_template(template, always | names, f"{path} has no such column")
    others = [f", {table.quoted(n)} AS {alias}" for n, alias in names.items() if _is_other(alias)]
    cells = f"CAST({item} AS STRING) AS id, CAST({title} AS STRING) AS title{''.join(others)}"
    with db.reading(table.location):
        db.create("described", f"SELECT {table.line} AS line, {cells} FROM {table.sql}")
    ((count,),) = db.run(_COUNT)
    if on_bad_rows == "drop":
        db.create("described", _FIRST_ROWS)
        ((left,),) = db.run(_COUNT)
        return always | names, count, count - left
    ((line,),) = db.run(f"SELECT MIN(line) FROM described WHERE {EMPTY.format('id')}")
    if line is not None:
        raise UserError(f"{path}: column {columns.item!r} is empty, first in row {line + 1}")
    if repeated := db.run(_REPEATED):
        (item_id, times, line), *rest = repeated
        others = f"; other repeated ids: {len(rest):,}" if rest else ""
        raise UserError(
            f"{path}: column {columns.item!r}: {item_id!r} has {times} rows, the first being row "
            f"{line + 1}{others}; keep one row per item, or the first with data.on_bad_rows drop"
        )
    return always | names, count, 0


def read_new_items(path: Path, columns: Columns, template: str) -> pa.Table:
    """Reads a file of items that are to be added to a prepared catalogue.

    Returns:
        The table items.parquet (see `prepare`), rows in the order of the file, numbered from 0.

    Raises:
        UserError: see `read_items`; or the file has no items.
    """
    with in_process() as db:
        names, _, _ = read_items(db, path, columns, template)
        ids = db.fetch("SELECT line AS item, id AS item_id FROM described ORDER BY line")
        if not ids.num_rows:
            raise UserError(f"{path} has no items")
        db.create_from("catalogue", ids)
        return item_table(db, path, names, template)


def number_items(db: QueryEngine, events: str, seed: int) -> None:
    """Makes the table `catalogue` (item, item_id, i): the items of `events`, in random order."""
    # Sorted here, because engines differ in how they collate.
    ids = db.fetch(_ITEM_IDS.format(events=events)).sort_by("item_id")
    order = np.random.default_rng(seed).permutation(len(ids))
    numbers = pa.array(np.arange(len(ids), dtype=np.int32))
    db.create_from("catalogue", ids.take(order).append_column("item", numbers))


def item_table(
    db: QueryEngine, path: str | Path | None, names: dict[str, str], template: str
) -> pa.Table:
    """The table items.parquet (see `prepare`), made from the tables `catalogue` and `described`.

    `names` is the first result of `read_items`; `path`, the items file, is for the complaint.

    Raises:
        UserError: an item of the catalogue is not described.
    """
    table = db.fetch(_ITEMS)
    ids: list[str] = table["item_id"].to_pylist()
    if missing := table["item_id"].filter(table["id"].is_null()).to_pylist():
        raise UserError(
            f"{path} has no row for {len(missing):,} of the {len(ids):,} items that interactions "
            f"name (such as {min(missing)!r}); add the rows, or leave these interactions out with "
            "data.on_bad_rows drop"
        )
    fields = {name: table[names[name]].to_pylist() for name in template_fields(template)}
    titles = [(title or "").strip() for title in table["title"].to_pylist()]
    columns: dict[str, Any] = {
        "item": table["item"].cast(pa.int32()),
        "item_id": pa.array(ids, pa.string()),
        "text": pa.array(fill_template(template, fields, len(ids)), pa.string()),
        "row": table["line"].cast(pa.int64()),
        "title": pa.array([t or i for t, i in zip(titles, ids, strict=True)], pa.string()),
    }
    taken = set(columns)
    for name, alias in names.items():
        if _is_other(alias):
            while name.lower() in taken:
                name = f"source_{name}"
            taken.add(name.lower())
            columns[name] = table[alias]
    return pa.table(columns)


def _is_other(alias: str) -> bool:
    return alias.startswith("other")


def _check_template(template: str, names: dict[str, str], complaint: str) -> None:
    for name in template_fields(template):
        if name not in names:
            raise UserError(
                f"data.text names the column {name!r}, but {complaint}; "
                f"{instead_of(name, names, 'there are')}"
            )
