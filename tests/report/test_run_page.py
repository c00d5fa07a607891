"""The page of a run: what it says, that it harms nobody, and that it needs nothing else."""

import itertools
import json
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

import genrec
from genrec.errors import UserError
from genrec.evaluation.published import BENCHMARKS
from genrec.report import results, write_report
from genrec.runs.folder import config_of
from genrec.semantic_ids.parquet import load_semantic_ids
from genrec.storage.files import read_json
from hostile_run import TITLES, hostile_run
from page_reading import read

MIB = 2**20


@pytest.fixture(scope="module")
def page(tiny_run):
    return (tiny_run / "report.html").read_text()


@pytest.fixture(scope="module")
def hostile(tiny_run, tmp_path_factory):
    run = hostile_run(tiny_run, tmp_path_factory.mktemp("hostile") / "<i>run")
    write_report(run, config_of(run), run / "report.html")
    return (run / "report.html").read_text()


def metrics(**changed):
    """What metrics.json may hold, small enough to round by hand."""
    names = ("recall@5", "ndcg@5", "recall@10", "ndcg@10")

    def row(*values):
        return dict(zip(names, values, strict=True))

    ours = {
        "users": 1234,
        "unfiltered": row(0.12344999, 0.2, 0.30006, 0.1),
        "filtered": row(0.5, 0.25, 0.60016, 0.4),
        "details": {
            "filtered": {"intervals": {"ndcg@10": [0.34999, 0.45001]}},
            "unfiltered": {},
        },
    }
    theirs = {
        "users": 1234,
        "unfiltered": row(0.2, 0.1, 0.3, 0.05),
        "filtered": row(0.1, 0.1, 0.1, 0.32),
    }
    return {"test": ours, "alone": {}, "baselines": {"item_knn": {"test": theirs}}, **changed}


def test_figures_are_rounded_and_the_best_of_each_column_is_marked():
    shown = results.recommenders(metrics(), None)
    assert shown["measures"] == ["Recall@5", "NDCG@5", "Recall@10", "NDCG@10"]
    ours, knn = shown["protocols"]["unfiltered"]
    assert ours["cells"] == [
        ("0.1234", False),
        ("0.2000", True),
        ("0.3001", True),
        ("0.1000", True),
    ]
    assert (knn["name"], knn["kind"], knn["cells"][0]) == ("item knn", "baseline", ("0.2000", True))
    ours, _ = shown["protocols"]["filtered"]
    assert ours["interval"] == "0.3500 to 0.4500"
    assert (ours["value"], ours["high"], shown["longest"]) == (0.4, 0.45001, 0.45001)
    tiles = {tile["name"]: tile for tile in results.headline(metrics(), None)}
    assert tiles["NDCG@10, filtered"]["value"] == "0.4000"
    assert tiles["NDCG@10, filtered"]["note"] == ("95 % within 0.3500 to 0.4500; unfiltered 0.1000")
    assert tiles["Over the best baseline"]["value"] == "+25%"


def test_published_rows_stand_under_the_protocol_they_were_measured_with():
    protocols = results.recommenders(metrics(), BENCHMARKS["beauty"])["protocols"]
    rows = {
        protocol: {row["name"]: [text for text, _ in row["cells"]] for row in rows}
        for protocol, rows in protocols.items()
    }
    assert rows["unfiltered"]["TIGER"] == ["", "", "0.0648", "0.0384"]
    assert "TIGER" not in rows["filtered"]
    assert rows["filtered"]["eSASRec"] == ["", "", "0.0928", "0.0523"]


def test_other_cut_offs_are_shown_too():
    few = {name: {"recall@1": 0.5, "ndcg@1": 0.5} for name in ("unfiltered", "filtered")}
    measured = {"test": {"users": 3, **few}}
    measures = results.recommenders(measured, BENCHMARKS["beauty"])["measures"]
    assert measures == ["Recall@1", "NDCG@1"]
    assert results.headline(measured, None)[0]["name"] == "NDCG@1, filtered"
    assert results.segments(measured) == results.list_quality(measured) == []


def test_the_page_has_the_figures_of_the_run(page, tiny_run):
    main, measured = read(page).all("main")[0], read_json(tiny_run / "metrics.json")
    tables = main.having("id", "results").all("table")
    for protocol, table in zip(("unfiltered", "filtered"), tables, strict=False):
        rows = {row[0].replace(" baseline", ""): row[1:5] for row in table.rows()[1:]}
        names = {"genrec": measured["test"]}
        names |= {k.replace("_", " "): v["test"] for k, v in measured["baselines"].items()}
        names |= {f"{k} alone": v["test"] for k, v in measured["alone"].items()}
        assert rows == {
            name: [
                f"{entry[protocol][m]:.4f}" for m in ("recall@5", "ndcg@5", "recall@10", "ndcg@10")
            ]
            for name, entry in names.items()
        }
    tiles = main.all("section")[0].text
    assert f"{measured['test']['filtered']['ndcg@10']:.4f}" in tiles
    for section in ("whom", "training", "tree", "codes", "map", "users", "cost", "provenance"):
        assert main.having("id", section).text
    segments = measured["test"]["details"]["filtered"]["segments"]
    shown = [row[1:4] for table in main.having("id", "whom").all("table") for row in table.rows()]
    for groups in segments.values():
        for row in groups.values():
            cells = [f"{row['users']:,}", f"{row['recall@10']:.4f}", f"{row['ndcg@10']:.4f}"]
            assert cells in shown
    health = read_json(tiny_run / "tokenizer/health.json")
    for row, level in zip(
        main.having("id", "codes").all("table")[0].rows()[1:], health["levels"], strict=True
    ):
        assert (row[1], row[2], row[4]) == (
            str(level["size"]),
            f"{level['used']:.1%}",
            f"{level['perplexity']:,.1f}",
        )
    ids = load_semantic_ids(tiny_run / "tokenizer/semantic_ids.parquet").codes
    _, sizes = np.unique(ids[:, : len(health["levels"])], axis=0, return_counts=True)
    section, groups = main.having("id", "codes"), np.bincount(sizes)
    assert f"40 items have {len(sizes)} different tuples of codes" in section.text
    assert [row[:3] for row in section.all("table")[2].rows()[1:]] == [
        [str(size), str(groups[size]), str(size * groups[size])] for size in np.unique(sizes)
    ]
    manifest = read_json(tiny_run / "manifest.json")["stages"]
    last = main.having("id", "provenance")
    text = last.text
    for stage in ("prepare", "embed", "tokenize", "train", "evaluate"):
        assert manifest[stage]["summary"] in text
        assert all(digest in text for digest in manifest[stage]["outputs"].values())
    settings = last.all("table")[1].rows()
    assert ["training.epochs", "24", "1"] in settings  # the default, and what it was


def test_users_are_drawn_by_the_seed_and_shown_with_what_they_got(page, tiny_run):
    users = read(page).having("id", "users").all("article")
    lists = pq.read_table(tiny_run / "recommendations_filtered.parquet").to_pylist()
    items = pq.read_table(tiny_run / "dataset/items.parquet").to_pylist()
    title = {row["item_id"]: row["title"] for row in items}
    list_of = {row["user_id"]: [title[item] for item in row["item_id"]] for row in lists}
    sequences = pq.read_table(tiny_run / "dataset/sequences.parquet").to_pylist()
    histories = {
        row["user_id"]: [items[item]["title"] for item in row["items"]] for row in sequences
    }
    assert len(users) == 10
    for user in users:
        name = user.all("h3")[0].text.removeprefix("User ")
        history, ranked = user.all("ol")
        *recent, target = histories[name][-9:]
        assert [item.text for item in history.all("li")] == recent
        assert user.having("class", "target").text.startswith(target)
        shown = [item.all("span")[0].text.split(" ✓")[0] for item in ranked.all("li")]
        assert shown == list_of[name][:10]
        hits = [item for item in ranked.all("li") if item.attributes.get("class") == "hit"]
        assert len(hits) == (target in shown)
        place = "not among"
        if target in list_of[name]:
            place = f"place {list_of[name].index(target) + 1} of "
        assert place in user.text


def test_it_is_the_same_page_again(tiny_run, page, tmp_path):
    assert write_report(tiny_run, config_of(tiny_run), tmp_path / "a.html") == len(page.encode())
    assert (tmp_path / "a.html").read_text() == page


def embedded(page, name):
    return json.loads(read(page).having("id", name).text)


def test_titles_from_outside_are_text(hostile):
    root = read(hostile)
    assert "harmed" not in "".join(
        str(value) for each in root.all() for value in each.attributes.values()
    )
    assert [len(root.all(name)) for name in ("script", "img")] == [3, 0]
    assert not [e for e in root.all() if any(key.startswith("on") for key in e.attributes)]
    assert "window.harmed" not in root.all("script")[-1].text
    titles = {point[3] for point in embedded(hostile, "map-data")}
    assert titles == {
        " ".join(f"{TITLES[n % len(TITLES)]} {n}".split()) for n in range(len(titles))
    }
    shown = root.having("id", "users")
    assert "<b onclick=alert()>" in shown.all("h3")[0].text
    assert not shown.all("b") or all(e.text == "✓chosen" for e in shown.all("b"))
    assert root.all("h1")[0].text == "<i>run"
    assert "{{ 7 * 7 }}" in shown.text


def test_it_loads_nothing(page, hostile):
    for text in (page, hostile):
        root = read(text)
        for element in root.all():
            for key in ("src", "href", "action", "data", "poster", "srcset"):
                value = element.attributes.get(key)
                assert value is None or value.startswith("#") or value == "data:,", (element, key)
        style = root.all("style")[0].text
        assert "@import" not in style and "url(" not in style and "expression" not in style
        (script,) = [e.text for e in root.all("script") if "type" not in e.attributes]
        addresses = set(re.findall(r"https?://[^\s\"'<]+", text))
        assert addresses == {"http://www.w3.org/2000/svg"}  # a name, never fetched
        for word in ("fetch(", "XMLHttpRequest", "import(", "innerHTML", "eval(", "document.write"):
            assert word not in script
        policy = root.having("http-equiv", "Content-Security-Policy").attributes["content"]
        assert policy and policy.startswith("default-src 'none'; ")


def test_it_can_be_read_without_seeing_it(page):
    root = read(page)
    assert root.all("html")[0].attributes["lang"] == "en"
    assert len(root.all("h1")) == 1 and root.all("title")[0].text
    levels = [int(e.name[1]) for e in root.all("h1", "h2", "h3", "h4")]
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    ids = [e.attributes["id"] for e in root.all() if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for element in root.all():
        for key in ("aria-labelledby", "for"):
            for name in (element.attributes.get(key) or "").split():
                assert root.having("id", name) is not None
        link = element.attributes.get("href") or ""
        assert not link.startswith("#") or link[1:] in ids
    for svg in root.all("svg"):
        assert svg.attributes.get("role") == "img" or "key" in (svg.attributes.get("class") or "")
    for table in root.all("table"):
        assert table.all("caption")[0].text
        assert all("scope" in cell.attributes for cell in table.all("th"))
    for box in root.all("input"):
        assert any(e.attributes["for"] == box.attributes["id"] for e in root.all("label"))


def luminance(colour):
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_contrast_in_light_and_dark(page):
    """WCAG 2.2: 4.5 for text, 3 for lines and what has the focus."""
    style = read(page).all("style")[0].text
    blocks = re.findall(r":root[^{}]*\{([^{}]*--paper[^{}]*)\}", style)
    assert len(blocks) == 4  # light, dark by preference, dark by the button, print
    for block in blocks:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", block))
        for ground in ("paper", "card", "wash"):
            for ink in ("ink", "soft", "accent"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
        for name in [f"c{n}" for n in range(6)] + ["fill"]:
            assert contrast(colours[name], colours["paper"]) >= 3, name
        for name in (f"s{n}" for n in range(1, 9)):
            assert contrast(colours[name], colours["card"]) >= 2.5, name
        if "focus" in colours:
            assert contrast(colours["focus"], colours["paper"]) >= 3
    assert set(re.findall(r"--(\w+):", blocks[1])) == set(re.findall(r"--(\w+):", blocks[2]))


def without(run, folder, *files):
    shutil.copytree(run, folder)
    for name in files:
        (folder / name).unlink()
    return folder


def test_what_a_run_has_not_is_left_out(tiny_run, tmp_path):
    run = without(tiny_run, tmp_path / "run", "metrics.jsonl", "decoding_cost.json")
    measured = read_json(run / "metrics.json")
    del measured["test"]["details"]
    (run / "metrics.json").write_text(json.dumps(measured))
    config = genrec.load_config(run / "config.yaml", "model.codes=false", "model.item_head=true")
    write_report(run, config, run / "report.html")
    root = read((run / "report.html").read_text())
    ids = {e.attributes.get("id") for e in root.all("section")}
    assert ids == {None, "results", "experts", "map", "users", "cost", "provenance"}
    assert {a.attributes["href"] for a in root.all("a")} == {
        "#main",
        *(f"#{name}" for name in ids if name),
    }


def test_a_metric_that_one_protocol_lacks_is_the_fault_of_its_file(tiny_run, tmp_path):
    run = without(tiny_run, tmp_path / "run")
    measured = read_json(run / "metrics.json")
    del measured["test"]["filtered"]["ndcg@10"]
    (run / "metrics.json").write_text(json.dumps(measured))
    with pytest.raises(UserError, match=r"metrics.json cannot be read: .*; run genrec evaluate"):
        write_report(run, config_of(run), run / "report.html")


def test_it_is_the_last_stage_and_skipped_when_done(tiny_run, tmp_path, command):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    entry = read_json(run / "manifest.json")["stages"]["report"]
    assert list(entry["outputs"]) == ["report.html"]
    shown, _ = command("report", str(run))
    assert "done before" in shown
    (run / "report.html").unlink()
    shown, _ = command("report", str(run))
    assert "done before" not in shown and (run / "report.html").exists()
    other = tmp_path / "new/other.html"
    before = sorted((p, p.stat().st_mtime_ns) for p in run.rglob("*"))
    command("report", str(run), "--out", str(other))
    assert other.read_bytes() == (run / "report.html").read_bytes()
    assert before == sorted((p, p.stat().st_mtime_ns) for p in run.rglob("*"))


def test_mistakes_are_one_line(tiny_run, tmp_path, command):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    manifest = read_json(run / "manifest.json")
    del manifest["stages"]["evaluate"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    for arguments, message in [
        ((str(run),), "evaluate is not done; run `genrec evaluate"),
        ((str(run), "--out", str(tmp_path / "a.html")), "evaluate is not done; run `genrec eval"),
        ((str(tmp_path / "none"),), "is not a run"),
        ((str(tiny_run), "--out", str(tmp_path)), "is a folder: name a file"),
        ((), "name the folder of a run"),
    ]:
        _, (line,) = command("report", *arguments, status=2)
        assert message in line


def test_it_is_small(page):
    assert len(page) < 0.5 * MIB
