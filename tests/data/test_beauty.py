"""Amazon data as published: the counts of the papers, and sequences equal to the source file."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from genrec.config import Columns
from genrec.data import Source, load_dataset, prepare

BEAUTY = Path(__file__).parents[3] / "shared" / "data" / "beauty"


SPORTS = BEAUTY.with_name("sports")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    if not BEAUTY.is_dir():
        pytest.skip(f"no Amazon Beauty at {BEAUTY}")
    columns = Columns(position="position")
    files = BEAUTY / "interactions.parquet", BEAUTY / "items.parquet"
    out = tmp_path_factory.mktemp("beauty") / "dataset"
    counts = prepare(Source(*files, columns, "{text}"), out, k_core=5, seed=0)
    return counts, load_dataset(out)


def test_the_published_counts(prepared):
    counts, dataset = prepared
    assert (counts["users"], counts["items"], counts["interactions"]) == (22_363, 12_101, 198_502)
    assert (counts["interactions_read"], counts["users_too_short"]) == (198_502, 0)
    assert (len(dataset.user_ids), dataset.num_items) == (22_363, 12_101)
    assert dataset.training().lengths.sum() == 198_502 - 2 * 22_363


def test_ten_users_have_the_sequences_of_the_source(prepared):
    _, dataset = prepared
    source = pq.read_table(BEAUTY / "interactions.parquet")
    item_ids = dataset.item_ids
    for u in np.random.default_rng(0).choice(len(dataset.user_ids), 10, replace=False):
        own = source.filter(pc.field("user_id") == dataset.user_ids[u]).sort_by("position")
        found = [item_ids[item] for item in dataset.histories[u]]
        assert found == own["item_id"].to_pylist()
        start, stop = dataset.histories.starts[u], dataset.histories.stops[u]
        assert dataset.histories.timestamps[start:stop].tolist() == own["timestamp"].to_pylist()


def test_sports_as_published(tmp_path):
    if not SPORTS.is_dir():
        pytest.skip(f"no Amazon Sports at {SPORTS}")
    files = SPORTS / "interactions.parquet", SPORTS / "items.parquet"
    source = Source(*files, Columns(position="position"), "{text}")
    counts = prepare(source, tmp_path / "out", k_core=5, seed=0)
    assert (counts["users"], counts["items"], counts["interactions"]) == (35_598, 18_357, 296_337)
    dataset = load_dataset(tmp_path / "out")
    log, item_ids = pq.read_table(files[0]), dataset.item_ids
    for u in np.random.default_rng(1).choice(len(dataset.user_ids), 10, replace=False):
        own = log.filter(pc.field("user_id") == dataset.user_ids[u]).sort_by("position")
        assert [item_ids[item] for item in dataset.histories[u]] == own["item_id"].to_pylist()


def test_six_domains_together_run_through(tmp_path):
    folder = BEAUTY.with_name("amazon2014-multi")
    if not folder.is_dir():
        pytest.skip(f"no six domains at {folder}")
    files = folder / "interactions.parquet", folder / "items.parquet"
    counts = prepare(
        Source(*files, Columns(position="position")), tmp_path / "out", k_core=5, seed=0
    )
    assert counts["interactions_read"] == pq.read_metadata(files[0]).num_rows
    assert load_dataset(tmp_path / "out").num_items == counts["items"] > 50_000


def test_items_are_described_by_their_rows(prepared):
    _, dataset = prepared
    source = pq.read_table(BEAUTY / "items.parquet")
    rows = source.take(dataset.items["row"])
    assert rows["item_id"].to_pylist() == dataset.item_ids
    assert [" ".join(text.split()) for text in rows["text"].to_pylist()] == dataset.texts
    assert dataset.items["categories"].to_pylist() == rows["categories"].to_pylist()


def test_item_numbers_do_not_carry_the_order_of_a_day(prepared):
    """In the source, the items of one user and day stand in the order of their ids."""
    _, dataset = prepared
    histories, times = dataset.histories, dataset.histories.timestamps
    pairs = np.ones(len(times) - 1, bool)
    pairs[histories.starts[1:] - 1] = False
    pairs &= times[1:] == times[:-1]
    rising = (np.diff(histories.items) > 0)[pairs]
    assert len(rising) > 50_000
    assert abs(rising.mean() - 0.5) < 0.02
