import json
import shutil

import pyarrow.parquet as pq
import pytest

from genrec.errors import UserError
from genrec.evaluation.examples import examples


def test_examples_are_what_users_had_then_chose_and_were_recommended(tiny_run):
    items = pq.read_table(tiny_run / "dataset/items.parquet")
    titles = items["title"].to_pylist()
    title_of = dict(zip(items["item_id"].to_pylist(), titles, strict=True))
    sequences = pq.read_table(tiny_run / "dataset/sequences.parquet").to_pylist()
    had = {row["user_id"]: [titles[item] for item in row["items"]] for row in sequences}
    lists = pq.read_table(tiny_run / "recommendations_filtered.parquet").to_pylist()
    given = {row["user_id"]: row for row in lists}
    shown = examples(tiny_run, count=4, k=7, recent=3)
    assert len({example.user_id for example in shown}) == 4
    for example in shown:
        assert [*example.recent, example.target] == had[example.user_id][-4:]
        assert example.item_ids == given[example.user_id]["item_id"][:7]
        assert example.scores == given[example.user_id]["score"][:7]
        assert example.titles == [title_of[item_id] for item_id in example.item_ids]
    assert shown == examples(tiny_run, count=4, k=7, recent=3)
    assert len(examples(tiny_run, count=999)) == len(sequences)


@pytest.mark.parametrize("k", [0, 21])
def test_the_lists_must_be_long_enough(tiny_run, k):
    with pytest.raises(UserError, match=f"k is {k}, but the lists of .* have 20 items"):
        examples(tiny_run, k=k)


def test_a_run_must_have_been_evaluated(tiny_run, tmp_path):
    shutil.copytree(tiny_run, tmp_path / "run")
    manifest = tmp_path / "run/manifest.json"
    kept = json.loads(manifest.read_text())
    del kept["stages"]["evaluate"]
    manifest.write_text(json.dumps(kept))
    with pytest.raises(UserError, match="evaluate is not done; run `genrec evaluate"):
        examples(tmp_path / "run")
