"""`genrec prepare` of a known data set, called in this process."""

import gzip
import json

import pytest

from genrec.config.parsing import load_config


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """A folder with the official files of amazon-2014/Beauty: five users, the same five items."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "raw"
    folder.mkdir()
    reviews = [
        {"reviewerID": f"A{user}", "asin": f"B{item}", "overall": 5.0, "unixReviewTime": item}
        for user in range(5)
        for item in range(5)
    ]
    meta = [{"asin": f"B{item}", "title": f"Soap {item}"} for item in range(5)]
    for name, lines in (
        ("reviews_Beauty_5.json.gz", map(json.dumps, reviews)),
        ("meta_Beauty.json.gz", map(repr, meta)),
    ):
        with gzip.open(folder / name, "wt") as file:
            file.write("\n".join(lines))
    return folder


def test_a_known_data_set_needs_no_config(command, raw, tmp_path):
    shown, complaints = command("prepare", "--dataset", "amazon-2014/Beauty", "--raw", "raw")
    assert complaints == []
    assert "5 users, 5 items, 25 interactions" in shown
    assert "other files: 25 interactions were read, not 198,502" in " ".join(shown.split())
    config = load_config(tmp_path / "runs" / "amazon-2014-Beauty" / "config.yaml")
    assert config.data.raw == str(raw)
    # A run's folder is enough from then on.
    shown, _ = command("prepare", "runs/amazon-2014-Beauty")
    assert "done before" in shown


def test_short_flags_go_with_a_config_too(command, raw, tmp_path):
    (tmp_path / "x.yaml").write_text("data: {dataset: steam, k_core: 2, raw: elsewhere}\n")
    command("prepare", "x.yaml", "--dataset", "amazon-2014/Beauty", "--raw", "raw")
    data = load_config(tmp_path / "runs" / "x" / "config.yaml").data
    assert (data.dataset, data.k_core) == ("amazon-2014/Beauty", 2)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "name a config, the folder of a run, or a data set with --dataset"),
        (["--raw", "raw"], "name a config, the folder of a run, or a data set with --dataset"),
        (["--dataset", "amazon-2014/beauty"], "the nearest is 'amazon-2014/Beauty'"),
        (["--dataset", "steam", "--raw", "raw"], "raw has no file steam_reviews.json.gz"),
        (["--dataset", "steam", "--data.items", "x.csv"], "leave out data.items"),
        (["--dataset", "steam", "--data.interactions", "x.csv"], "give one of data.dataset and"),
        (["--dataste", "steam"], "unknown setting dataste; the nearest is dataset"),
        (["--dataset", "amazon-2014/Beauty", "--raw", "none"], "none has no file reviews_Beauty"),
    ],
)
def test_mistakes_are_told_in_one_line(command, raw, arguments, complaint):
    _, complaints = command("prepare", *arguments, status=2)
    assert len(complaints) == 1
    assert complaint in complaints[0]


def test_ratings_that_a_data_set_has_not_are_not_asked_for(command, raw):
    for name, line in (("steam_reviews", "{u'username': u'A'}"), ("steam_games", "{}")):
        with gzip.open(raw / f"{name}.json.gz", "wt") as file:
            file.write(line)
    arguments = ("--dataset", "steam", "--raw", "raw", "--data.min-rating", "3")
    _, complaints = command("prepare", *arguments, status=2)
    assert complaints == ["genrec: data.min_rating: steam has no ratings"]


def test_data_raw_goes_with_a_known_data_set(command, raw, tmp_path):
    (tmp_path / "x.yaml").write_text("data: {interactions: x.csv, raw: raw}\n")
    _, complaints = command("prepare", "x.yaml", status=2)
    assert complaints == ["genrec: data.raw goes with data.dataset"]
