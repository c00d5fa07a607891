"""Amazon reviews, as collected by the McAuley Lab at UC San Diego, in three editions.

2014: the 5-core that papers on sequential recommendation use. He and McAuley, 2016, "Ups and Downs:
    Modeling the Visual Evolution of Fashion Trends", WWW.
    https://jmcauley.ucsd.edu/data/amazon/links.html
2018: the 5-core. Ni, Li and McAuley, 2019, "Justifying Recommendations using Distantly-Labeled
    Reviews and Fine-Grained Aspects", EMNLP. https://nijianmo.github.io/amazon/
2023: all ratings, each once. Hou et al., 2024, "Bridging Language and Items for Retrieval and
    Recommendation", arXiv 2403.03952. https://amazon-reviews-2023.github.io/

For research; the publishers ask to cite these papers.
"""

import csv
import html
import re
from collections.abc import Iterator, Sequence, Set
from functools import partial
from pathlib import Path
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
    rating,
    read_lines,
    read_objects,
    text_list,
    timestamp,
)
from genrec.errors import UserError, reason

_SHARED = (
    *("Automotive", "Books", "CDs_and_Vinyl", "Cell_Phones_and_Accessories"),
    *("Clothing_Shoes_and_Jewelry", "Digital_Music", "Electronics", "Grocery_and_Gourmet_Food"),
    *("Home_and_Kitchen", "Kindle_Store", "Movies_and_TV", "Musical_Instruments"),
    *("Office_Products", "Patio_Lawn_and_Garden", "Pet_Supplies", "Sports_and_Outdoors"),
    *("Tools_and_Home_Improvement", "Toys_and_Games", "Video_Games"),
)
CATEGORIES_2014 = (
    *_SHARED,
    *("Amazon_Instant_Video", "Apps_for_Android", "Baby", "Beauty", "Health_and_Personal_Care"),
)
CATEGORIES_2018 = (
    *_SHARED,
    *("AMAZON_FASHION", "All_Beauty", "Appliances", "Arts_Crafts_and_Sewing", "Gift_Cards"),
    *("Industrial_and_Scientific", "Luxury_Beauty", "Magazine_Subscriptions", "Prime_Pantry"),
    "Software",
)
CATEGORIES_2023 = (
    *_SHARED,
    *("All_Beauty", "Amazon_Fashion", "Appliances", "Arts_Crafts_and_Sewing", "Baby_Products"),
    *("Beauty_and_Personal_Care", "Gift_Cards", "Handmade_Products", "Health_and_Household"),
    *("Health_and_Personal_Care", "Industrial_and_Scientific", "Magazine_Subscriptions"),
    *("Software", "Subscription_Boxes", "Unknown"),
)

_FROM_2014 = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
_LAB = "https://mcauleylab.ucsd.edu/public_datasets/data"
_S3REC = "Zhou et al. 2020, S3-Rec"
PUBLISHED_2014 = {
    "Beauty": Published(22_363, 12_101, 198_502, _S3REC),
    "Sports_and_Outdoors": Published(35_598, 18_357, 296_337, _S3REC),
    "Toys_and_Games": Published(19_412, 11_924, 167_597, _S3REC),
}

_COLUMNS = {
    "brand": pa.string(),
    "categories": pa.list_(pa.string()),
    "price": pa.string(),
    "description": pa.string(),
}
_dataset = partial(OfficialDataset, columns=_COLUMNS, text="{title}. {brand}. {categories}")
_ASIN = re.compile(r"'asin': '([^']*)'")


def amazon_2014(category: str) -> OfficialDataset:
    """The 5-core of a category, from 1996 to July 2014."""
    return _dataset(
        files=(
            OfficialFile(f"{_FROM_2014}/reviews_{category}_5.json.gz"),
            OfficialFile(f"{_FROM_2014}/meta_{category}.json.gz"),
        ),
        interactions=lambda paths: read_objects(paths[0], "json", _review),
        items=_items_2014,
        published=PUBLISHED_2014.get(category),
    )


def amazon_2018(category: str) -> OfficialDataset:
    """The 5-core of a category, from 1996 to October 2018."""
    item = partial(_item, item_id="asin", brand="brand", categories="category")
    return _dataset(
        files=(
            OfficialFile(f"{_LAB}/amazon_v2/categoryFilesSmall/{category}_5.json.gz"),
            OfficialFile(f"{_LAB}/amazon_v2/metaFiles2/meta_{category}.json.gz"),
        ),
        interactions=lambda paths: read_objects(paths[0], "json", _review),
        items=lambda paths, _: read_objects(paths[1], "json", item),
    )


def amazon_2023(category: str) -> OfficialDataset:
    """All ratings of a category, from 1996 to September 2023; variants are one product."""
    item = partial(_item, item_id="parent_asin", brand="store", categories="categories")
    return _dataset(
        files=(
            OfficialFile(f"{_LAB}/amazon_2023/benchmark/0core/rating_only/{category}.csv.gz"),
            OfficialFile(f"{_LAB}/amazon_2023/raw/meta_categories/meta_{category}.jsonl.gz"),
        ),
        interactions=_ratings,
        items=lambda paths, _: read_objects(paths[1], "json", item),
        timestamp_unit="milliseconds",
    )


def _review(row: dict[str, Any]) -> InteractionRow:
    user, item = identifier(row.get("reviewerID")), identifier(row.get("asin"))
    return user, item, rating(row.get("overall")), timestamp(row.get("unixReviewTime"))


def _ratings(paths: Sequence[Path]) -> Iterator[InteractionRow]:
    path, number = paths[0], 1
    rows = csv.reader(line for _, line in read_lines(path))
    try:
        header = next(rows, [])
        columns = [header.index(name) for name in ("user_id", "parent_asin", "rating", "timestamp")]
        for number, row in enumerate(rows, 2):  # noqa: B007
            user, item, stars, milliseconds = (row[column] for column in columns)
            yield identifier(user), identifier(item), float(stars), timestamp(int(milliseconds))
    except (ValueError, IndexError, csv.Error) as error:
        raise UserError(
            f"{path}: row {number:,} is not as it should be: {reason(error)}"
        ) from error


def _items_2014(paths: Sequence[Path], item_ids: Set[str]) -> Iterator[ItemRow]:
    """Items of a file that has a Python literal on each line, not JSON."""

    def wanted(line: str) -> bool:
        # Reading a literal takes long, and most lines are of items without interactions.
        asins = _ASIN.findall(line)
        return not asins or not item_ids.isdisjoint(asins)

    item = partial(_item, item_id="asin", brand="brand", categories="categories")
    return read_objects(paths[1], "python", item, wanted)


def _item(row: dict[str, Any], item_id: str, brand: str, categories: str) -> ItemRow:
    """The row of an item; `item_id`, `brand` and `categories` are the edition's names for them."""
    title = html.unescape(one_line(row.get("title")))
    return {
        "item_id": identifier(row.get(item_id)),
        # Some pages were collected with a script in the title's place.
        "title": "" if "getTime" in title else title,
        "brand": html.unescape(one_line(row.get(brand))),
        "categories": [html.unescape(text) for text in text_list(row.get(categories))],
        "price": one_line(row.get("price")),
        "description": " ".join(html.unescape(text) for text in text_list(row.get("description"))),
    }


AMAZON = {
    **{f"amazon-2014/{name}": partial(amazon_2014, name) for name in CATEGORIES_2014},
    **{f"amazon-2018/{name}": partial(amazon_2018, name) for name in CATEGORIES_2018},
    **{f"amazon-2023/{name}": partial(amazon_2023, name) for name in CATEGORIES_2023},
}
"""The editions and categories by the names of their data sets."""
