import pyarrow.parquet as pq

from genrec.evaluation.examples import draw_examples


def test_examples_are_what_users_had_then_chose_and_were_recommended(tiny_run):
    items = pq.read_table(tiny_run / "dataset/items.parquet")
    titles = items["title"].to_pylist()
    title_of = dict(zip(items["item_id"].to_pylist(), titles, strict=True))
    sequences = pq.read_table(tiny_run / "dataset/sequences.parquet").to_pylist()
    histories = {row["user_id"]: [titles[item] for item in row["items"]] for row in sequences}
    lists = pq.read_table(tiny_run / "recommendations_filtered.parquet").to_pylist()
    list_of = {row["user_id"]: row for row in lists}
    shown = draw_examples(tiny_run, seed=0, count=4, k=7, recent=3)
    assert len({example.user_id for example in shown}) == 4
    for example in shown:
        assert [*example.recent, example.target] == histories[example.user_id][-4:]
        assert example.item_ids == list_of[example.user_id]["item_id"][:7]
        assert example.scores == list_of[example.user_id]["score"][:7]
        assert example.titles == [title_of[item_id] for item_id in example.item_ids]
    assert shown == draw_examples(tiny_run, seed=0, count=4, k=7, recent=3)
    assert len(draw_examples(tiny_run, seed=0, count=999)) == len(sequences)
