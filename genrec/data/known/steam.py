"""Steam: reviews of games, from October 2010 to January 2018.

Wang-Cheng Kang and Julian McAuley, 2018, "Self-Attentive Sequential Recommendation", ICDM;
https://cseweb.ucsd.edu/~jmcauley/datasets.html#steam_data. For research.
"""

import datetime
import html
from typing import Any

import pyarrow as pa

from genrec.data import Published
from genrec.data.known.official import (
    InteractionRow,
    ItemRow,
    OfficialDataset,
    OfficialFile,
    identifier,
    one_line,
    read_objects,
    text_list,
)

_ADDRESS = "https://cseweb.ucsd.edu/~wckang"


def steam() -> OfficialDataset:
    """A review is an interaction; its time is a day, and it has no rating."""
    return OfficialDataset(
        files=(
            OfficialFile(f"{_ADDRESS}/steam_reviews.json.gz"),
            OfficialFile(f"{_ADDRESS}/steam_games.json.gz"),
        ),
        interactions=lambda paths: read_objects(paths[0], "python", _review),
        items=lambda paths, _: read_objects(paths[1], "python", _game),
        columns={
            "genres": pa.list_(pa.string()),
            "tags": pa.list_(pa.string()),
            "developer": pa.string(),
            "publisher": pa.string(),
        },
        text="{title}. {developer}. {genres}. {tags}",
        rated=False,
        published=Published(2_567_538, 15_474, 7_793_069, "Kang and McAuley 2018"),
    )


def _review(row: dict[str, Any]) -> InteractionRow:
    user, item = identifier(row.get("username")), identifier(row.get("product_id"))
    return user, item, None, _seconds(row.get("date"))


def _seconds(date: Any) -> int | None:
    """Seconds since 1970 of a day such as 2017-12-17; None for anything else."""
    try:
        day = datetime.date.fromisoformat(date)
    except (TypeError, ValueError):
        return None
    return (day - datetime.date(1970, 1, 1)).days * 86_400


def _game(row: dict[str, Any]) -> ItemRow:
    return {
        "item_id": identifier(row.get("id")),
        "title": html.unescape(one_line(row.get("app_name") or row.get("title"))),
        "genres": text_list(row.get("genres")),
        "tags": text_list(row.get("tags")),
        "developer": one_line(row.get("developer")),
        "publisher": one_line(row.get("publisher")),
    }
