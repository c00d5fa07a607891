"""`genrec recommend`, called in this process, against the same lists from Python."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import genrec
from genrec.cli import recommend as recommending
from genrec.config.parsing import dump_config
from genrec.recommend.requests import Requests

ONE_SHAPE = ("--decoding.batch-size", "1")  # takes less time to compile than many do


@pytest.fixture
def recommend(command, tiny_run, tmp_path, monkeypatch):
    """Runs `genrec recommend` in an empty folder, see `command`."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, folder=tiny_run, status=0):
        return command("recommend", str(folder), *arguments, status=status)

    return run


@pytest.fixture(scope="module")
def run(tiny_run):
    config = genrec.load_config(tiny_run / "config.yaml", "decoding.batch_size=1")
    return genrec.load_run(tiny_run, config.decoding)


REQUESTS = [
    {"user_id": "a", "items": ["i001", "Film 7"]},
    {"user_id": "b", "items": [], "exclude": ["i003", "Film 31"]},
    {"user_id": "c", "items": ["i004"], "allow": [f"i{n:03}" for n in range(4, 9)]},
    {"user_id": "d", "items": ["i009", "i001", "i005"], "exclude": ["i021", "i020", "i022"]},
    {"user_id": "e", "items": [], "allow": ["Film 8", "i009"]},
    {"user_id": "f", "items": ["i030"], "allow": ["i030"]},
    {"user_id": "g", "items": ["i031"], "exclude": ["i032"], "allow": ["i032", "i033"]},
]


def written(name, rows):
    if name.endswith(".parquet"):
        kinds = dict.fromkeys(["items", "exclude", "allow"], pa.list_(pa.string()))
        schema = pa.schema({"user_id": pa.string(), **kinds})
        pq.write_table(pa.Table.from_pylist(rows, schema), name)
    else:
        Path(name).write_text("\n".join(map(json.dumps, rows)))
    return name


@pytest.mark.parametrize("name", ["asked.jsonl", "asked.parquet"])
def test_a_file_that_is_read_in_pieces_gives_everyone_the_list_that_they_get_alone(
    recommend, run, monkeypatch, name
):
    monkeypatch.setattr(recommending, "AT_ONCE", 3)
    wanted = ("--histories", written(name, REQUESTS), "--k", "6", "--out", "lists.parquet")
    shown, complaints = recommend(*wanted, *ONE_SHAPE)
    assert shown == "7 lists are in lists.parquet\n"
    assert complaints == [
        "genrec: nothing is known of user b: the most popular items stand in",
        "genrec: 6 items are wanted, but as few as 4 are allowed for user c",
        "genrec: nothing is known of user e: the most popular items stand in",
        "genrec: 6 items are wanted, but as few as 0 are allowed for user e, f",
        "genrec: 6 items are wanted, but as few as 1 are allowed for user g",
    ]
    lists = pq.read_table("lists.parquet").to_pylist()
    assert [row["user_id"] for row in lists] == list("abcdefg")
    assert [len(row["item_id"]) for row in lists] == [6, 6, 4, 6, 2, 0, 1]
    for row, request in zip(lists, REQUESTS, strict=True):
        if request["user_id"] == "f":
            continue  # alone, a list of nothing is a mistake
        options = {name: [request[name]] for name in ("exclude", "allow") if name in request}
        (ids,), (scores,) = run.recommend([request["items"]], 6, **options)
        assert row["item_id"] == ids
        assert np.allclose(row["score"], scores, atol=1e-5)
        assert not set(request.get("exclude", [])) & set(ids)
        assert "allow" not in request or set(ids) <= {"i008", *request["allow"]}


def test_a_mistake_in_a_later_piece_leaves_what_was_there(recommend, tmp_path, monkeypatch):
    monkeypatch.setattr(recommending, "AT_ONCE", 3)
    rows = [*REQUESTS[:4], {"user_id": "z", "items": ["Flim 3"]}]
    wanted = ("--histories", written("asked.jsonl", rows), "--out", "lists.parquet", *ONE_SHAPE)
    _, complaints = recommend(*wanted, status=2)
    assert complaints[-1].startswith("genrec: no item has the id or title 'Flim 3'")
    assert [path.name for path in tmp_path.iterdir()] == ["asked.jsonl"]
    (tmp_path / "lists.parquet").write_text("old")
    recommend(*wanted, status=2)
    assert (tmp_path / "lists.parquet").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


def test_everybody_gets_a_list_and_the_codes_of_its_items(recommend, run, tiny_run, monkeypatch):
    monkeypatch.setattr(recommending, "AT_ONCE", 64)
    wanted = ("--all", "--k", "5", "--codes", "--out", "deep/lists.parquet", *ONE_SHAPE)
    assert recommend(*wanted) == ("150 lists are in deep/lists.parquet\n", [])
    lists = pq.read_table("deep/lists.parquet").to_pylist()
    sequences = pq.read_table(tiny_run / "dataset/sequences.parquet").to_pylist()
    codes = pq.read_table(tiny_run / "tokenizer/semantic_ids.parquet")["codes"].to_pylist()
    spelt = dict(zip(run.item_ids, codes, strict=True))
    for row, sequence in zip(lists, sequences, strict=True):
        assert row["user_id"] == sequence["user_id"]
        had = {run.item_ids[item] for item in sequence["items"]}
        assert len(row["item_id"]) == 5 and not had & set(row["item_id"])
        assert row["codes"] == [spelt[item_id] for item_id in row["item_id"]]
    history = [run.item_ids[item] for item in sequences[77]["items"]]
    assert run.recommend([history], 5)[0] == [lists[77]["item_id"]]


def test_what_nobody_may_get_and_what_anybody_may_get_stand_in_files(recommend, run, tmp_path):
    (tmp_path / "allow.txt").write_text("Film 3\ni004\n\ni005\nfilm 6\n")
    pq.write_table(pa.table({"item_id": ["i005", "i010"]}), "exclude.parquet")
    wanted = ("--history", "i001", "i003", "--k", "4", "--out", "lists.parquet", *ONE_SHAPE)
    _, complaints = recommend(*wanted, "--allow", "allow.txt", "--exclude", "exclude.parquet")
    assert complaints == ["genrec: 4 items are wanted, but as few as 2 are allowed for history 1"]
    (row,) = pq.read_table("lists.parquet").to_pylist()
    assert row["user_id"] == ""
    assert set(row["item_id"]) == {"i004", "i006"}
    recommend(*wanted, "--allow", "allow.txt", "--include-history")
    (row,) = pq.read_table("lists.parquet").to_pylist()
    assert set(row["item_id"]) == {"i003", "i004", "i005", "i006"}


def test_of_whom_nothing_is_known_gets_what_is_popular_and_allowed(recommend, run, tmp_path):
    popular = run.recommend([[]], 20)[0][0]
    (tmp_path / "allow.txt").write_text("\n".join(popular[5:15]))
    (tmp_path / "exclude.txt").write_text("\n".join(popular[6:8]))
    filters = ("--allow", "allow.txt", "--exclude", "exclude.txt")
    _, complaints = recommend("--history", "--k", "5", *filters, "--out", "lists.parquet")
    assert complaints == ["genrec: nothing is known of history 1: the most popular items stand in"]
    (row,) = pq.read_table("lists.parquet").to_pylist()
    assert row["item_id"] == [popular[5], *popular[8:12]]


def test_unknown_items_are_skipped_if_asked_for_and_named(recommend, run):
    wanted = ("--history", "i001", "Flim 3", "--k", "3", "--out", "lists.parquet", *ONE_SHAPE)
    _, complaints = recommend(*wanted, "--decoding.unknown-items", "skip")
    assert complaints == ["genrec: skipped in histories, for no item has this name: Flim 3"]
    (row,) = pq.read_table("lists.parquet").to_pylist()
    assert [row["item_id"]] == run.recommend([["i001"]], 3)[0]


def test_the_settings_are_the_runs_own_and_flags_win(recommend, tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run")
    config = genrec.load_config(tiny_run / "config.yaml", "decoding.unknown_items=skip")
    (tmp_path / "run/config.yaml").write_text(dump_config(config))
    wanted = ("--history", "Flim 3", "--k", "25", "--decoding.beam", "30")
    for folder in ("run", "run/", "./run"):
        shown, _ = recommend(*wanted, folder=folder)
        assert " 25   Film" in shown
    recommend(*wanted, "--decoding.unknown_items", "refuse", folder="run", status=2)


def test_lists_are_shown_with_titles_scores_and_codes(recommend, run):
    rows = [{"user_id": "[/b]", "items": ["i001"]}, {"user_id": "me", "items": ["i002"]}]
    wanted = ("--histories", written("asked.jsonl", rows), "--k", "3", "--codes", *ONE_SHAPE)
    shown, _ = recommend(*wanted)
    first, second = shown.split("me\n")
    assert first.startswith("[/b]\n")
    for part, history in ((first, "i001"), (second, "i002")):
        (ids,), (scores,) = run.recommend([[history]], 3)
        for place, (item_id, score) in enumerate(zip(ids, scores, strict=True), 1):
            codes = " ".join(map(str, run.codes[run.item_ids.index(item_id)]))
            line = [str(place), *run.titles[item_id].split(), item_id, f"{score:.3f}"]
            assert " ".join([*line, codes]) in " ".join(part.split())


def test_a_search_of_all_codes_tells_how_many_no_item_has(recommend, run):
    rows = [{"user_id": str(n), "items": [f"i00{n}"]} for n in range(3)]
    wanted = ("--histories", written("asked.jsonl", rows), "--k", "4", "--unconstrained")
    shown, _ = recommend(*wanted, "--out", "lists.parquet", *ONE_SHAPE)
    known = run.resolve(Requests(None, [row["items"] for row in rows]))
    items, _, invalid = run.recommend_freely(known, 4)
    assert shown.splitlines() == [
        f"{invalid:.1%} of the codes found are no item's",
        "for them the nearest item stands in (Faiss Flat, exact)",
        "3 lists are in lists.parquet",
    ]
    lists = pq.read_table("lists.parquet")["item_id"].to_pylist()
    assert lists == [[run.item_ids[item] for item in row[row >= 0]] for row in items]


@pytest.mark.parametrize("more", [(), ("--unconstrained",)])
def test_a_file_without_requests_gives_a_file_without_lists(recommend, tmp_path, more):
    (tmp_path / "asked.jsonl").write_text("\n")
    shown, _ = recommend("--histories", "asked.jsonl", "--out", "lists.parquet", *more)
    assert shown.endswith("0 lists are in lists.parquet\n")
    assert pq.read_table("lists.parquet").num_rows == 0


def test_a_run_without_experts_cannot_say_why(recommend):
    _, (complaint,) = recommend("--history", "i001", "--why", status=2)
    assert complaint.startswith("genrec: it ranks without experts, which could say why: fit them")


def test_without_a_request_it_shows_three_users_of_the_test(recommend):
    shown, _ = recommend("--k", "4")
    assert shown.count("then, held out") == shown.count(" 4   Film ") == 3
    assert " 5   Film" not in shown


FILES = {
    "lines.jsonl": '{"user_id": "a", "items": ["i001"]}\n["i002"]\n',
    "bare.jsonl": '{"user_id": "a"}\n',
    "times.jsonl": '{"user_id": "a", "items": ["i001"], "timestamps": [1, 2]}\n',
    "excludes.jsonl": '{"user_id": "a", "items": ["i001"], "exclude": ["i002"]}\n',
    "nothing.jsonl": '{"user_id": "a", "items": ["i001"], "allow": ["i001"]}\n',
    "empty.jsonl": '{"user_id": "a", "items": []}\n',
    "unknown.txt": "i001\nFlim 3\n",
    "one.txt": "i001\n",
    "none.txt": "",
}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("--history i001 Flim", "no item has the id or title 'Flim'; the nearest titles are"),
        ("--history i001 --k 21", "k is 21, but must lie between 1 and the beam width, 20"),
        ("--history i001 --k 0", "k is 0, but must lie between 1"),
        ("--history i001 --decoding.beam 5 --k 6", "k is 6, but must lie between 1 and the beam"),
        ("--history i001 --decoding.temperature 1 2", "decoding.temperature must name one"),
        ("--history i001 --decoding.bean 5", "unknown setting decoding.bean; the nearest is"),
        ("--history i001 --all", "give one of --history, --histories and --all"),
        ("--history --histories lines.jsonl", "give one of --history, --histories and --all"),
        ("--all", "lists for all users go to a file: name it with --out"),
        ("--history i001 --out .", ". is a folder: name a file with --out"),
        ("--histories lines.jsonl --why", "--why goes with --history, and with neither --out nor"),
        ("--history i001 --why --out x", "--why goes with --history, and with neither --out nor"),
        ("--history i001 --why --unconstrained", "--why goes with --history, and with neither"),
        ("--history i001 --allow one.txt", "no item is left to recommend: allow more or exclude"),
        ("--history i002 --allow none.txt", "none of the 40 items is left: allow more or exclude"),
        ("--history i002 --allow one.txt --exclude one.txt", "none of the 40 items is left"),
        ("--history i002 --exclude unknown.txt", "no item has the id or title 'Flim 3'"),
        ("--history i002 --allow missing.txt", "missing.txt does not exist"),
        ("--history i002 --exclude missing.parquet", "missing.parquet does not exist"),
        (
            "--history i002 --unconstrained --exclude one.txt",
            "a search of all codes goes without items to exclude or to allow",
        ),
        ("--histories missing.jsonl", "missing.jsonl does not exist"),
        ("--histories one.txt", "one.txt should be JSON lines or Parquet"),
        ("--histories lines.jsonl", "line 2 is no object"),
        ("--histories bare.jsonl", "line 1 has no items"),
        ("--histories times.jsonl", "user a has 1 items, but 2 timestamps"),
        ("--histories nothing.jsonl", "no item is left to recommend"),
        ("--histories excludes.jsonl --unconstrained", "goes without items to exclude or to allow"),
        ("--histories empty.jsonl --unconstrained", "nothing is known of user a, to go on from"),
        ("--k 5", "recommend to whom? give --history, --histories or --all"),
        (
            "--history i001 --unconstrained --decoding.temperature 2",
            "--unconstrained goes without decoding.temperature",
        ),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(recommend, tmp_path, arguments, complaint):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    out = () if "--out" in arguments or "--all" in arguments else ("--out", "lists.parquet")
    shown, complaints = recommend(*arguments.split(), *out, status=2)
    assert len(complaints) == 1
    assert complaints[0].startswith("genrec: ")
    assert complaint in complaints[0]
    assert shown == ""
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)


@pytest.mark.parametrize("k", ["0", "21"])
def test_the_lists_of_an_evaluation_are_no_longer_than_its_beam(recommend, k):
    _, (line,) = recommend("--k", k, status=2)
    assert f"k is {k}, but the lists of" in line and line.endswith("have 20 items")


def test_examples_are_of_a_run_that_was_evaluated(recommend, tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run")
    path = tmp_path / "run/manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["stages"]["evaluate"]
    path.write_text(json.dumps(manifest))
    _, (line,) = recommend(folder="run", status=2)
    assert "evaluate is not done; run `genrec evaluate" in line


def test_what_is_no_run_is_refused(recommend, tmp_path):
    for folder in (".", "missing"):
        _, complaints = recommend("--history", "i001", folder=folder, status=2)
        assert complaints == [f"genrec: {folder} is not a run: make one with `genrec run CONFIG`"]
