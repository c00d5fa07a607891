"""Known data sets: official files, made up here in the publishers' formats, become plain ones."""

import dataclasses
import gzip
import io
import json
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from genrec.data import Published, counts_table, prepare, steps_table
from genrec.data.known import dataset_names, known_source, sources
from genrec.data.known.download import UnavailableError
from genrec.data.known.official import read_lines, read_objects
from genrec.errors import UserError

REVIEWS_2014 = [
    {
        "reviewerID": "A1",
        "asin": "B2",
        "overall": 5.0,
        "unixReviewTime": 1400000000,
        "reviewText": "It said 'asin': 'B9'.",
    },
    {"reviewerID": "A1", "asin": "B1", "overall": 3.0, "unixReviewTime": 1400000000},
    {"reviewerID": "A2", "asin": "B1", "overall": 1.0, "unixReviewTime": 1390000000},
    {"reviewerID": "A1", "asin": "B3", "overall": 4.0, "unixReviewTime": 1390086400},
]
META_2014 = [
    {
        "asin": "B1",
        "title": "Soap &amp; Water",
        "brand": "Clean",
        "price": 4.5,
        "categories": [["Beauty", "Bath"], ["Beauty", "Gifts"]],
        "related": {"also_bought": ["B7"]},
    },
    {"asin": "B7", "title": "Nobody had it"},
    {"asin": "B2", "description": "  L'eau \n fraîche ", "imUrl": "http://example.org"},
    {"asin": "B1", "title": "A second row of B1"},
]


BEAUTY = Path(__file__).resolve().parents[4] / "shared" / "data" / "beauty"


def packed(folder, name, lines):
    folder.mkdir(exist_ok=True)
    with gzip.open(folder / name, "wt", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


@pytest.fixture
def beauty(tmp_path):
    """A folder with the two official files of amazon-2014/Beauty, the second in Python literals."""
    raw = tmp_path / "raw"
    packed(raw, "reviews_Beauty_5.json.gz", map(json.dumps, REVIEWS_2014))
    packed(raw, "meta_Beauty.json.gz", map(repr, META_2014))
    return raw


def rows(path):
    return pq.read_table(path).to_pylist()


def test_amazon_2014(tmp_path, beauty):
    source = known_source("amazon-2014/Beauty", raw=beauty, cache=tmp_path / "cache")
    assert [tuple(row.values()) for row in rows(source.interactions)] == [
        ("A1", "B2", 5.0, 1400000000),
        ("A1", "B1", 3.0, 1400000000),
        ("A2", "B1", 1.0, 1390000000),
        ("A1", "B3", 4.0, 1390086400),
    ]
    # In the order of the official file; what it does not have comes last, and B7 was not met.
    assert rows(source.items) == [
        {
            "item_id": "B1",
            "title": "Soap & Water",
            "brand": "Clean",
            "price": "4.5",
            "categories": ["Beauty", "Bath", "Gifts"],
            "description": "",
        },
        {
            "item_id": "B2",
            "title": "",
            "brand": "",
            "price": "",
            "categories": [],
            "description": "L'eau fraîche",
        },
        {
            "item_id": "B3",
            "title": None,
            "brand": None,
            "price": None,
            "categories": None,
            "description": None,
        },
    ]
    counts = prepare(source, tmp_path / "out", k_core=1, seed=0, min_rating=2.0)
    assert counts["interactions_read"] == 4
    texts = {row["item_id"]: row["text"] for row in rows(tmp_path / "out" / "items.parquet")}
    assert texts["B1"] == "Soap & Water. Clean. Beauty, Bath, Gifts"


def test_all_of_beauty(tmp_path):
    """The published data set in the publisher's format, in the order of items as there."""
    if not (BEAUTY / "interactions.parquet").is_file():
        pytest.skip(f"Beauty is not there ({BEAUTY})")
    log = pq.read_table(BEAUTY / "interactions.parquet")
    reviews = (
        {"reviewerID": row["user_id"], "asin": row["item_id"], "unixReviewTime": row["timestamp"]}
        for row in log.sort_by("item_id").to_pylist()
    )
    packed(tmp_path, "reviews_Beauty_5.json.gz", map(json.dumps, reviews))
    metas = (
        {"asin": row["item_id"], "title": row["title"] or ""}
        for row in rows(BEAUTY / "items.parquet")
    )
    packed(tmp_path, "meta_Beauty.json.gz", map(repr, metas))
    source = known_source("amazon-2014/Beauty", raw=tmp_path, cache=tmp_path / "cache")
    counts = prepare(source, tmp_path / "out", k_core=5, seed=0)
    assert source.published == Published(22_363, 12_101, 198_502, "Zhou et al. 2020, S3-Rec")
    assert [counts[name] for name in ("users", "items", "interactions")] == [22363, 12101, 198502]
    ids = [row["item_id"] for row in rows(tmp_path / "out/items.parquet")]
    wanted: dict[str, list[str]] = {}
    for row in log.sort_by([("user_id", "ascending"), ("position", "ascending")]).to_pylist():
        wanted.setdefault(row["user_id"], []).append(row["item_id"])
    found = rows(tmp_path / "out/sequences.parquet")
    assert {row["user_id"]: [ids[item] for item in row["items"]] for row in found} == wanted


def test_amazon_2018(tmp_path):
    packed(tmp_path / "raw", "Video_Games_5.json.gz", map(json.dumps, REVIEWS_2014[:2]))
    meta = [
        {
            "asin": "B1",
            "title": "<script> getTime() </script>",
            "brand": "X",
            "category": ["Video Games", "PC &amp; Mac", "PC &amp; Mac"],
            "description": ["a", "b"],
        },
        {"asin": "B2", "title": "Chess", "price": "$3.00", "category": []},
    ]
    packed(tmp_path / "raw", "meta_Video_Games.json.gz", map(json.dumps, meta))
    source = known_source("amazon-2018/Video_Games", raw=tmp_path / "raw", cache=tmp_path)
    assert len(rows(source.interactions)) == 2
    first, second = rows(source.items)
    assert first == {
        "item_id": "B1",
        "title": "",
        "brand": "X",
        "price": "",
        "categories": ["Video Games", "PC & Mac"],
        "description": "a b",
    }
    assert (second["title"], second["price"]) == ("Chess", "$3.00")


def test_amazon_2023(tmp_path):
    lines = [
        "user_id,parent_asin,rating,timestamp",
        "U1,P1,5.0,1600000000123",
        "U1,P2,1.0,1600000000001",
        "U1,P1,2.0,1600000001000",
    ]
    packed(tmp_path / "raw", "Software.csv.gz", lines)
    meta = [
        {
            "parent_asin": "P1",
            "title": "Editor",
            "store": "Text Inc.",
            "categories": ["Tools"],
            "price": None,
            "description": [],
            "details": {"a": {"b": 1}},
        },
        {"parent_asin": "P2", "title": "Game", "store": None, "categories": [], "price": "1.5"},
    ]
    packed(tmp_path / "raw", "meta_Software.jsonl.gz", map(json.dumps, meta))
    source = known_source("amazon-2023/Software", raw=tmp_path / "raw", cache=tmp_path)
    assert [row["brand"] for row in rows(source.items)] == ["Text Inc.", ""]
    # P2 came first, 122 milliseconds before P1.
    prepare(source, tmp_path / "out", k_core=1, seed=0)
    ids = [row["item_id"] for row in rows(tmp_path / "out" / "items.parquet")]
    (sequence,) = rows(tmp_path / "out" / "sequences.parquet")
    assert [ids[item] for item in sequence["items"]] == ["P2", "P1", "P1"]
    assert sequence["timestamps"] == [1600000000, 1600000000, 1600000001]


def test_steam(tmp_path):
    reviews = [
        "{u'username': u'Cha\\xf4s', u'product_id': u'10', u'date': u'2017-12-17', u'text': u'x'}",
        "{u'username': u'Bo', u'product_id': u'20', u'date': u'2011-01-01', u'hours': 0.1}",
    ]
    games = [
        "{u'app_name': u'Counter-Strike', u'genres': [u'Action'], u'tags': [u'FPS', u'Action'],"
        " u'developer': u'Valve', u'id': u'10'}",
        "{u'title': u'No id'}",
    ]
    packed(tmp_path / "raw", "steam_reviews.json.gz", reviews)
    packed(tmp_path / "raw", "steam_games.json.gz", games)
    source = known_source("steam", raw=tmp_path / "raw", cache=tmp_path)
    assert [tuple(row.values()) for row in rows(source.interactions)] == [
        ("Chaôs", "10", 1513468800),
        ("Bo", "20", 1293840000),
    ]
    assert source.columns.rating is None
    assert [(row["item_id"], row["title"], row["tags"]) for row in rows(source.items)] == [
        ("10", "Counter-Strike", ["FPS", "Action"]),
        ("20", None, None),
    ]


def test_movielens_1m(tmp_path, monkeypatch):
    monkeypatch.setattr("genrec.data.known.movielens._SHA256_1M", None)
    (tmp_path / "raw").mkdir()
    with zipfile.ZipFile(tmp_path / "raw" / "ml-1m.zip", "w") as archive:
        archive.writestr("ml-1m/ratings.dat", "1::2::5::978300760\n1::1::3::978302109\n")
        films = "1::Toys (1995)::Animation|Comedy\n2::Été (1994)::Drama\n3::Unseen (1990)::War\n"
        archive.writestr("ml-1m/movies.dat", films.encode("latin-1"))
    source = known_source("movielens-1m", raw=tmp_path / "raw", cache=tmp_path)
    assert [tuple(row.values()) for row in rows(source.interactions)] == [
        ("1", "2", 5.0, 978300760),
        ("1", "1", 3.0, 978302109),
    ]
    assert rows(source.items) == [
        {
            "item_id": "1",
            "title": "Toys (1995)",
            "year": "1995",
            "genres": ["Animation", "Comedy"],
        },
        {"item_id": "2", "title": "Été (1994)", "year": "1994", "genres": ["Drama"]},
    ]


def test_another_archive_is_refused(tmp_path):
    (tmp_path / "ml-1m.zip").write_bytes(b"other")
    with pytest.raises(UserError, match=r"ml-1m.zip is damaged or another file .*; bring it again"):
        known_source("movielens-1m", raw=tmp_path, cache=tmp_path / "cache")


def test_unpacked_files_will_do(tmp_path, beauty):
    wanted = known_source("amazon-2014/Beauty", raw=beauty, cache=tmp_path / "one")
    for path in list(beauty.iterdir()):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    found = known_source("amazon-2014/Beauty", raw=beauty, cache=tmp_path / "two")
    assert rows(found.interactions) == rows(wanted.interactions)
    assert rows(found.items) == rows(wanted.items)


def test_other_files_brought_by_hand_are_converted_anew(tmp_path, beauty):
    known_source("amazon-2014/Beauty", raw=beauty, cache=tmp_path)
    packed(beauty, "reviews_Beauty_5.json.gz", map(json.dumps, REVIEWS_2014[2:]))
    source = known_source("amazon-2014/Beauty", raw=beauty, cache=tmp_path)
    assert [row["user_id"] for row in rows(source.interactions)] == ["A2", "A1"]


class Publisher:
    """Stands for the official addresses."""

    def __init__(self, folder):
        self.folder, self.asked, self.down = folder, [], False

    def fetch(self, url, path, expected):
        self.asked.append(url)
        if self.down:
            raise UnavailableError(f"{url}: no route")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((self.folder / path.name).read_bytes())


@pytest.fixture
def publisher(monkeypatch, beauty):
    publisher = Publisher(beauty)
    monkeypatch.setattr(sources, "fetch_https", publisher.fetch)
    return publisher


def test_files_are_fetched_once_and_not_kept(tmp_path, publisher):
    first = known_source("amazon-2014/Beauty", cache=tmp_path / "cache")
    address = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
    names = ("reviews_Beauty_5.json.gz", "meta_Beauty.json.gz")
    assert publisher.asked == [f"{address}/{name}" for name in names]
    assert known_source("amazon-2014/Beauty", cache=tmp_path / "cache") == first
    assert len(publisher.asked) == 2
    left = list((tmp_path / "cache/amazon-2014/Beauty").iterdir())
    assert [path.name for path in left] == ["converted"]


def test_a_changed_file_of_the_cache_is_refused(tmp_path, publisher):
    source = known_source("amazon-2014/Beauty", cache=tmp_path)
    Path(str(source.items)).write_bytes(b"other")
    with pytest.raises(UserError, match=r"items.parquet is damaged .*; delete .*converted, and"):
        known_source("amazon-2014/Beauty", cache=tmp_path)


def test_an_address_that_is_down_says_how_to_bring_the_file(tmp_path, publisher):
    publisher.down = True
    with pytest.raises(UserError, match=r"no route.*; run again .*, or download https://.*--raw$"):
        known_source("amazon-2014/Beauty", cache=tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"has no file steam_reviews.json.gz: bring it from https"):
        known_source("steam", raw=tmp_path, cache=tmp_path)


def test_a_file_that_is_cut_off_is_refused_and_nothing_is_kept(tmp_path, beauty):
    path = beauty / "reviews_Beauty_5.json.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"reviews_Beauty_5.json.gz is cut off or damaged"):
        known_source("amazon-2014/Beauty", raw=beauty, cache=tmp_path / "cache")
    assert not (tmp_path / "cache/amazon-2014/Beauty/converted").exists()


@pytest.mark.parametrize(
    "line",
    [
        "__import__('os').system('touch hacked')",
        "{'asin': open('hacked', 'w')}",
        "['asin']",
        "{'asin': " + "[" * 5000 + "]" * 5000 + "}",
        "",
    ],
)
def test_a_python_literal_is_data_and_never_run(tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "meta.json").write_text("{'asin': 'B1'}\n" + line + "\n", encoding="utf-8")
    found = read_objects(tmp_path / "meta.json", "python", dict)
    assert next(found) == {"asin": "B1"}
    if line:
        with pytest.raises(UserError, match=r"meta.json: row 2 is no python object"):
            next(found)
    else:
        assert list(found) == []
    assert [path.name for path in tmp_path.iterdir()] == ["meta.json"]


@pytest.mark.parametrize(
    ("syntax", "line"),
    [
        ("json", "[" * 100_000),
        ("json", '{"a": ' + "9" * 5000 + "}"),
        ("python", "{[]: 1}"),
        ("python", "1" + "+1" * 100_000),
        ("python", "-" * 100_000 + "1"),
        ("python", "'a'" + "()" * 100_000),
    ],
)
def test_lines_that_are_no_objects(tmp_path, syntax, line):
    (tmp_path / "x.json").write_text(line)
    with pytest.raises(UserError, match=rf"x.json: row 1 is no {syntax} object"):
        list(read_objects(tmp_path / "x.json", syntax, dict))


@pytest.mark.parametrize(("syntax", "most"), [("json", 1 << 24), ("python", 1 << 20)])
def test_a_small_file_that_unpacks_to_an_endless_line(tmp_path, syntax, most):
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"{}\n" + b" " * (most + 1)))
    rows = read_objects(tmp_path / "x.gz", syntax, dict)
    assert next(rows) == {}
    with pytest.raises(UserError, match=rf"x.gz: row 2 has more than {most:,} bytes"):
        next(rows)


REVIEW = {"reviewerID": "U1", "asin": "P1", "overall": 5.0, "unixReviewTime": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"reviewerID": 5},
        {"reviewerID": ["U1"]},
        {"asin": {"a": 1}},
        {"asin": "\ud800"},
        {"asin": "a" * 1001},
        {"overall": "five"},
        {"overall": True},
        {"overall": 10**400},
        {"unixReviewTime": "1"},
        {"unixReviewTime": 1 << 63},
        {"unixReviewTime": 1.5},
        {"unixReviewTime": float("inf")},
    ],
)
def test_reviews_of_another_form_are_refused_by_row(tmp_path, change):
    lines = [json.dumps(REVIEW), json.dumps(REVIEW | change)]
    packed(tmp_path, "Software_5.json.gz", lines)
    packed(tmp_path, "meta_Software.json.gz", ["{}"])
    with pytest.raises(UserError, match=r"Software_5.json.gz: row 2 is not as it should be: "):
        known_source("amazon-2018/Software", raw=tmp_path, cache=tmp_path / "cache")
    assert not (tmp_path / "cache/amazon-2018/Software/converted").exists()


def test_half_a_character_in_a_title_becomes_a_question_mark(tmp_path):
    packed(tmp_path, "Software_5.json.gz", [json.dumps(REVIEW)])
    item = {"asin": "P1", "title": "Cut \ud83d", "category": ["É"], "description": [["\udc00"]]}
    packed(tmp_path, "meta_Software.json.gz", [json.dumps(item)])
    source = known_source("amazon-2018/Software", raw=tmp_path, cache=tmp_path / "cache")
    row = pq.read_table(source.items).to_pylist()[0]
    assert (row["title"], row["categories"], row["description"]) == ("Cut ?", ["É"], "?")


def test_an_item_nested_too_deeply_is_refused(tmp_path):
    packed(tmp_path, "Software_5.json.gz", [json.dumps(REVIEW)])
    deep = '{"asin": "P1", "category": ' + "[" * 900 + "]" * 900 + "}"
    packed(tmp_path, "meta_Software.json.gz", [deep])
    with pytest.raises(UserError, match=r"meta_Software.json.gz: row 1 is n"):
        known_source("amazon-2018/Software", raw=tmp_path, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"official": {}, "converted": {"../x": "1"}}', "[" * 100_000],
)
def test_a_damaged_record_of_the_cache_is_told(tmp_path, publisher, text):
    known_source("amazon-2014/Beauty", cache=tmp_path)
    (tmp_path / "amazon-2014/Beauty/converted/record.json").write_text(text)
    with pytest.raises(UserError, match=r"record.json is damaged: delete .*converted, and run"):
        known_source("amazon-2014/Beauty", cache=tmp_path)


def test_text_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"a\nb\n" + b"\xff\n")
    with pytest.raises(UserError, match="row 3 is not UTF-8"):
        list(read_lines(tmp_path / "x.csv"))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("U1,P1,five,1", "row 2"),
        ("U1,P1", "row 2"),
        ("U1,P1,5,9223372036854775808", "row 2"),
        (f"{'U' * 200_000},P1,5,1", "row 1"),
        (None, "row 1"),
    ],
)
def test_ratings_that_are_not_as_they_should_be(tmp_path, line, complaint):
    header = "user_id,parent_asin,rating,timestamp" if line else "user,item"
    packed(tmp_path, "Software.csv.gz", [header, *([line] if line else [])])
    packed(tmp_path, "meta_Software.jsonl.gz", ["{}"])
    with pytest.raises(UserError, match=rf"Software.csv.gz: {complaint} is not as it should be"):
        known_source("amazon-2023/Software", raw=tmp_path, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("movielens", "movielens-1m"),
        ("amazon-2014/beauty", "amazon-2014/Beauty"),
        ("amazon-2018/Beauty", "amazon-2014/Beauty"),
    ],
)
def test_an_unknown_name(tmp_path, name, nearest):
    with pytest.raises(UserError, match=f"the nearest is '{nearest}'"):
        known_source(name, cache=tmp_path)


def test_every_name_is_described():
    names = dataset_names()
    assert len(names) == len(set(names)) == 2 + 24 + 29 + 34 + 1
    for name in names:
        if name != "movielens-100k":
            for file in sources._OFFICIAL[name]().files:
                assert file.url.startswith("https://")


@pytest.mark.parametrize(
    ("published", "said"),
    [
        (Published(2, 3, 4, "a paper"), "exactly these were read"),
        (
            Published(2, 4, 5, "a paper"),
            "other files: 4 interactions were read, not 5; 3 items were",
        ),
    ],
)
def test_what_was_published_is_shown_beside_what_was_read(tmp_path, beauty, published, said):
    source = known_source("amazon-2014/Beauty", raw=beauty, cache=tmp_path / "cache")
    assert source.published == Published(22_363, 12_101, 198_502, "Zhou et al. 2020, S3-Rec")
    source = dataclasses.replace(source, published=published)
    counts = prepare(source, tmp_path / "out", k_core=1, seed=0)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(steps_table(counts))
    console.print(counts_table(counts))
    text = console.export_text()
    assert "published (a paper)" in text
    assert said in " ".join(text.split())
