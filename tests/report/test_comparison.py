"""Several runs side by side."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
import yaml

from genrec.evaluation.compare import METRICS, difference, load_recommenders, verdict
from genrec.report.comparison import write_comparison
from genrec.storage.files import read_json, sha256
from hostile_run import hostile_run
from page_reading import read


def changed(run, folder, section, **settings):
    """A copy of a run that says that it was made with other settings."""
    shutil.copytree(run, folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    manifest = read_json(folder / "manifest.json")
    entries = manifest["stages"].values()
    for each in (config, *(entry["config"] for entry in entries)):
        if section is None:
            each.update(settings if each is config else {})
        elif section in each:
            each[section].update(settings)
    for entry in entries if section is None else ():
        entry["seed"] = settings["seed"]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def enter(run, name):
    """Has the manifest agree with a file of evaluate that was changed."""
    manifest = read_json(run / "manifest.json")
    manifest["stages"]["evaluate"]["outputs"][name] = sha256(run / name)
    (run / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def runs(tiny_run, tmp_path_factory):
    """A run, the same with another seed, and one of other settings with better lists."""
    folder = tmp_path_factory.mktemp("several")
    again = changed(tiny_run, folder / "again", None, seed=7)
    other = changed(tiny_run, folder / "<b>other", "decoding", beam=19)
    path = other / "recommendations_filtered.parquet"
    lists = pq.read_table(path)
    item_ids = pq.read_table(other / "dataset/items.parquet")["item_id"].to_pylist()
    sequences = pq.read_table(other / "dataset/sequences.parquet").to_pylist()
    targets = [item_ids[row["items"][-1]] for row in sequences]
    rows = [[t, *row["item_id"][1:]] for t, row in zip(targets, lists.to_pylist(), strict=True)]
    pq.write_table(lists.set_column(1, lists.schema.field(1), [rows]), path)
    enter(other, path.name)
    return [tiny_run, again, other]


def test_it_says_what_compare_says(runs, tmp_path):
    write_comparison(runs, tmp_path / "page.html")
    root = read((tmp_path / "page.html").read_text())
    results = root.having("id", "results")
    tables = results.all("table")
    for table, protocol in zip(tables, ("unfiltered", "filtered"), strict=True):
        first, other = load_recommenders(runs, protocol)
        rows = table.rows()[1:]
        assert [row[:2] for row in rows] == [["run", "0, 7"], ["<b>other", "0"]]
        for row, each in zip(rows, (first, other), strict=True):
            for cell, metric in zip(row[2:], METRICS, strict=False):
                assert cell.startswith(f"{each.mean(metric):.4f}")
        assert "± 0.0000" in rows[0][2] and "±" not in rows[1][2]
        text = results.text.replace("\N{MINUS SIGN}", "-")
        for metric in METRICS:
            assert verdict(first, other, metric, difference(first, other, metric)) in text
    assert "is better than run by" in results.text
    assert root.having("id", "settings").all("table")[0].rows() == [
        ["Setting", "run", "<b>other"],
        ["decoding.beam", "20", "19"],
    ]
    measured = read_json(runs[0] / "metrics.json")["test"]["details"]["filtered"]["segments"]
    shown = [row for table in root.having("id", "whom").all("table") for row in table.rows()]
    for name, row in measured["target"].items():
        ndcg = f"{row['ndcg@10']:.4f}"
        assert [name, f"{row['users']:,}", ndcg, ndcg] in shown
    legends = [e.text for e in root.having("id", "training").all("figure")[0].all("li")]
    assert legends == ["run, seed 0", "run, seed 7", "<b>other"]


def test_parts_of_the_users_that_only_some_runs_have_are_left_out(tiny_run, tmp_path):
    other = changed(tiny_run, tmp_path / "other", "decoding", beam=19)
    metrics = read_json(other / "metrics.json")
    target = metrics["test"]["details"]["filtered"]["segments"]["target"]
    for name in list(target):
        target[f"other {name}"] = target.pop(name)
    (other / "metrics.json").write_text(json.dumps(metrics))
    enter(other, "metrics.json")
    write_comparison([tiny_run, other], tmp_path / "page.html")
    whom = read((tmp_path / "page.html").read_text()).having("id", "whom").text
    assert "NDCG@10 by popularity" in whom and "NDCG@10 by target" not in whom


def test_it_needs_nothing_else_and_is_the_same_again(runs, tmp_path):
    write_comparison(runs, tmp_path / "a.html")
    write_comparison(runs, tmp_path / "b.html")
    text = (tmp_path / "a.html").read_text()
    assert text == (tmp_path / "b.html").read_text()
    assert "http:" not in text.replace("http://www.w3.org/2000/svg", "") and "https:" not in text
    ids = [e.attributes["id"] for e in read(text).all() if "id" in e.attributes]
    assert len(ids) == len(set(ids))


def test_the_command(command, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown, _ = command("report", str(runs[0]), str(runs[2]))
    assert shown.startswith("comparison.html, ")
    assert "recommenders, 2 runs" in (tmp_path / "comparison.html").read_text()
    command("report", str(runs[0]), str(runs[1]), "--out", "seeds.html")
    text = (tmp_path / "seeds.html").read_text()
    assert "One recommender, 2 runs" in text and "None but the seed." in text


def test_runs_of_other_data_are_refused_in_one_line(command, tiny_run, tmp_path):
    other = hostile_run(tiny_run, tmp_path / "other")
    path = other / "dataset/items.parquet"
    items = pq.read_table(path)
    ids = [f"other{n}" for n in range(items.num_rows)]
    place = items.schema.get_field_index("item_id")
    pq.write_table(items.set_column(place, "item_id", [ids]), path)
    shutil.copy(tiny_run / "recommendations_filtered.parquet", other)
    manifest = read_json(other / "manifest.json")
    digest = sha256(other / "dataset")
    for entry in manifest["stages"].values():
        for part in ("inputs", "outputs"):
            if "dataset" in entry[part]:
                entry[part]["dataset"] = digest
    (other / "manifest.json").write_text(json.dumps(manifest))
    out = tmp_path / "page.html"
    _, (line,) = command("report", str(tiny_run), str(other), "--out", str(out), status=2)
    assert "has other test users or items than" in line
    assert not out.exists()
