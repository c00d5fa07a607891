"""Steam: reviews of games, from October 2010 to January 2018.

Wang-Cheng Kang and Julian McAuley, 2018, "Self-Attentive Sequential Recommendation", ICDM;
https://cseweb.ucsd.edu/~jmcauley/datasets.html#steam_data. For research.
"""

import datetime
import html
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any

import pyarrow as pa

from genrec.data import Published
from genrec.data.known.official import (
    File,
    Interaction,
    Item,
    Official,
    identifier,
    listed,
    plain,
    read_objects,
)

_ADDRESS = "https://cseweb.ucsd.edu/~wckang"


def steam() -> Official:
    """A review is an interaction; its time is a day, and it has no rating."""
    return Official(
        files=(
            File(f"{_ADDRESS}/steam_reviews.json.gz"),
            File(f"{_ADDRESS}/steam_games.json.gz"),
        ),
        interactions=_reviews,
        items=_games,
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


def _reviews(paths: Sequence[Path]) -> Iterator[Interaction]:
    return read_objects(paths[0], "python", _review)


def _review(row: dict[str, Any]) -> Interaction:
    who, what = identifier(row.get("username")), identifier(row.get("product_id"))
    return who, what, None, _seconds(row.get("date"))


def _seconds(date: Any) -> int | None:
    """Seconds since 1970 of a day such as 2017-12-17; None for what is no day."""
    try:
        day = datetime.date.fromisoformat(date)
    except (TypeError, ValueError):
        return None
    return (day - datetime.date(1970, 1, 1)).days * 86_400


def _games(paths: Sequence[Path], met: Set[str]) -> Iterator[Item]:
    return read_objects(paths[1], "python", _game)


def _game(row: dict[str, Any]) -> Item:
    return {
        "item_id": identifier(row.get("id")),
        "title": html.unescape(plain(row.get("app_name") or row.get("title"))),
        "genres": listed(row.get("genres")),
        "tags": listed(row.get("tags")),
        "developer": plain(row.get("developer")),
        "publisher": plain(row.get("publisher")),
    }
