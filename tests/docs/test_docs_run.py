"""What is quick of the README and docs/ is run, on the tiny run in place of the quickstart's."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import docs_pages as pages
from docs_pages import EXTENDED, ROOT
from small_run import SETTINGS

EXECUTED = (
    *("README.md", "docs/your-data.md", "docs/how-it-works.md", "docs/reproduce.md"),
    "docs/deploy.md",
)
QUICK = {
    ("run", "configs/quickstart.yaml"),
    ("prepare", "shop.yaml"),
    ("tokenize", "runs/quickstart"),
    ("evaluate", "runs/quickstart"),
    ("report", "runs/quickstart"),
    ("recommend", "runs/quickstart"),
    ("export", "runs/quickstart"),
    ("update", "bundle"),
}
"""Commands to run, by their name and what they are about; all others are only read."""
TITLES = (
    "Star Wars (1977)",
    "Alien (1979)",
    "Alien 3 (1992)",
    "Aliens (1986)",
    "Home Alone (1990)",
)
STAND_INS = {title: f"Film {n}" for n, title in enumerate(TITLES, 1)}


@pytest.fixture
def at_work(tiny_run, tmp_path, monkeypatch) -> Path:
    """A reader's folder: the tiny run as runs/quickstart, the files of a shop, and some more."""
    shutil.copytree(tiny_run, tmp_path / "runs/quickstart")
    (tmp_path / "configs").mkdir()
    log, items = tiny_run.parent / "log.csv", tiny_run.parent / "items.csv"
    settings = SETTINGS.replace("log.csv", str(log)).replace("items.csv", str(items))
    settings = settings.replace("epochs: 12", "epochs: 1")
    (tmp_path / "configs/quickstart.yaml").write_text(settings)
    (tmp_path / "new_items.csv").write_text("item_id,title,genre\nn1,New film,genre1\n")
    new = {"item_id": ["n2"], "title": ["Newer film"], "genre": ["genre2"]}
    pq.write_table(pa.table(new), tmp_path / "new_items.parquet")
    np.save(tmp_path / "new_items.npy", np.ones((1, 16), np.float32))
    (tmp_path / "in_stock.txt").write_text("".join(f"i{n:03}\n" for n in range(1, 30)))
    request = {"user_id": "u1", "items": ["Film 1", "i002"], "exclude": ["i003"]}
    (tmp_path / "requests.jsonl").write_text(json.dumps(request) + "\n")
    write_shop(tmp_path, log, items)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_shop(folder: Path, log: Path, items: Path) -> None:
    """The tables of the shop that the pages speak of."""
    (folder / "orders").mkdir()
    with log.open() as stream:
        rows = list(csv.DictReader(stream))
    columns = {
        "customer": [row["user_id"] for row in rows],
        "sku": [row["item_id"] for row in rows],
        "ordered_at": [row["timestamp"] for row in rows],
        "stars": [3 + n % 3 for n in range(len(rows))],
    }
    with pa.CompressedOutputStream(folder / "orders/2026-01.csv.gz", "gzip") as file:
        pyarrow.csv.write_csv(pa.table(columns), file)
    with items.open() as stream:
        rows = list(csv.DictReader(stream))
    products = {
        "sku": [row["item_id"] for row in rows],
        "name": [row["title"] for row in rows],
        "brand": ["a brand"] * len(rows),
        "category": [row["genre"] for row in rows],
    }
    pq.write_table(pa.table(products), folder / "products.parquet")


def stand_ins(run: Path) -> dict[str, str]:
    codes = pq.read_table(run / "tokenizer/semantic_ids.parquet")["codes"][0].as_py()
    return STAND_INS | {"--prefix 12": f"--prefix {codes[0]}", "--remove 29": "--remove i029"}


def is_quick(words: list[str]) -> bool:
    if words[0] != "genrec":
        return False
    trains = words[1] == "run" and len(words) > 3
    other = {"--engine", "--distributed", "--plot"} & set(words)
    return tuple(words[1:3]) in QUICK and not trains and not other


def test_quick_commands_run(command, at_work):
    done = set()
    for page in EXECUTED:
        shutil.rmtree(at_work / "bundle", ignore_errors=True)
        for file in pages.blocks(ROOT / page):
            if file.file and file.language == "yaml":
                (at_work / file.file).write_text(file.text)
        names = stand_ins(at_work / "runs/quickstart")
        for words in pages.run(ROOT / page, command, is_quick, names):
            done.add(tuple(words[1:3]))
    assert done == QUICK
    assert (at_work / "lists.parquet").exists() and (at_work / "everybody.parquet").exists()


@pytest.mark.soak
def test_extensions_work_on_a_copy(at_work):
    """The pages' new files and changes, in a process of its own that has them."""
    shutil.copytree(ROOT / "genrec", at_work / "genrec", ignore=shutil.ignore_patterns("*.pyc"))
    blocks = pages.blocks(ROOT / "docs/extend.md")
    for block in blocks:
        if block.language == "python" and block.file:
            assert not (at_work / block.file).exists()
            (at_work / block.file).write_text(block.text)
        if block.language == "diff":
            pages.apply(block.text, at_work)
    drawn = at_work / "runs/drawn"  # what prepare and embed leave does not depend on the tokenizer
    shutil.copytree(at_work / "runs/quickstart", drawn)
    for name in ("tokenizer", "checkpoints"):
        shutil.rmtree(drawn / name)
    work = f"import docs_pages as p; p.run_alone('docs/extend.md', {EXTENDED!r}, {{}})"
    paths = os.pathsep.join([str(at_work), str(ROOT / "tests/helpers")])
    done = subprocess.run(
        [sys.executable, "-c", work],
        cwd=at_work,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    health = json.loads((drawn / "tokenizer/health.json").read_text())
    assert health["training"] == [] and health["items"] == 40
    metrics = json.loads((at_work / "runs/penalised/metrics.json").read_text())
    assert "markov_chain" in metrics["baselines"]
    fusion = json.loads((at_work / "runs/quickstart/fusion.json").read_text())
    assert "often" in fusion["fitted"]["ranking"]
    plain, penalised = (norms(at_work / "runs" / run) for run in ("quickstart", "penalised"))
    assert len(plain) == len(penalised) and abs(plain[-1] - penalised[-1]) > 1e-3 * plain[-1]


def norms(run: Path) -> list[float]:
    """The norms of the gradients as the training went."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["gradient_norm"] for line in lines if "gradient_norm" in line]


def test_the_markov_chain_ranks_what_followed(tmp_path):
    """The example of a baseline, on histories of which the answer is known."""
    from genrec.sequences.histories import Histories

    (code,) = (
        block.text
        for block in pages.blocks(ROOT / "docs/extend.md")
        if block.file == "genrec/evaluation/markov.py"
    )
    names: dict = {}
    exec(code, names)
    training = Histories.of([[0, 1, 2], [0, 1], [0, 2], [3, 1, 3]])
    recommend = names["markov_chain"](training, 5)
    asked = Histories.of([[3, 0], [], [4]])
    items, scores = recommend(asked, 4, exclude_history=True)
    assert items[0].tolist() == [1, 2, 4, -1]
    assert items[1].tolist()[:2] == [0, 1] or items[1].tolist()[:2] == [1, 0]
    assert items[2].tolist()[0] in (0, 1) and (np.diff(scores[1:]) <= 0).all()


def test_the_confidence_penalty_is_the_negative_entropy():
    (code,) = (
        block.text
        for block in pages.blocks(ROOT / "docs/extend.md")
        if block.file == "genrec/training/confidence.py"
    )
    names: dict = {}
    exec(code, names)
    import jax

    p = np.array([0.5, 0.25, 0.25, 0.0])
    with np.errstate(divide="ignore"):
        log_p = np.log(p)[None, None].astype(np.float32)
    value, gradient = jax.value_and_grad(lambda x: names["negative_entropy"](x).sum())(log_p)
    np.testing.assert_allclose(value, -1.5 * np.log(2), rtol=1e-6)
    assert np.isfinite(gradient).all()
