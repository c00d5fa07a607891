"""Lists of a tiny run, against its whole ranking of the catalogue cut down by hand."""

import csv
import logging
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

import genrec
from genrec.config import DecodingConfig
from genrec.errors import UserError
from genrec.export import export_bundle
from genrec.recommend.requests import Requests
from genrec.sequences.histories import hash_user_ids
from genrec.tokenizer import load_tokenizer
from small_run import ITEMS

IDS = [f"i{n:03}" for n in range(ITEMS)]


@pytest.fixture(scope="module")
def run(tiny_run):
    """A beam as wide as the catalogue misses nothing; few shapes take little time to compile."""
    return genrec.load_run(tiny_run, DecodingConfig(beam=ITEMS, batch_size=1))


@pytest.fixture(scope="module")
def skipping(tiny_run):
    return genrec.load_run(tiny_run, DecodingConfig(beam=10, batch_size=1, unknown_items="skip"))


@pytest.fixture
def said(caplog, monkeypatch):
    """What the log has said."""
    monkeypatch.setattr(logging.getLogger("genrec"), "propagate", True)
    caplog.set_level(logging.WARNING, logger="genrec")
    return lambda: [record.getMessage() for record in caplog.records]


def drawn(count, most, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.choice(IDS, rng.integers(1, most + 1)).tolist() for _ in range(count)]


def ranking(run, history):
    """All items and their scores, best first."""
    (ids,), (scores,) = run.recommend([history], k=ITEMS, exclude_history=False)
    assert sorted(ids) == IDS
    assert scores == sorted(scores, reverse=True)
    return dict(zip(ids, scores, strict=True))


def cut_down(whole, k, *, without=(), only=None):
    left = [item for item in whole if item not in without and (only is None or item in only)][:k]
    return left, [whole[item] for item in left]


def assert_lists(found, expected):
    assert found[0] == [ids for ids, _ in expected]
    for scores, (_, wanted) in zip(found[1], expected, strict=True):
        assert np.allclose(scores, wanted, atol=1e-4)


@pytest.mark.parametrize("exclude_history", [True, False])
@pytest.mark.parametrize("for_all", [{}, {"allow": IDS[4:30]}, {"exclude": ["Film 7", "i009"]}])
def test_a_list_is_the_ranking_without_what_it_must_not_hold(run, exclude_history, for_all):
    histories, exclude = drawn(9, 3), drawn(9, 5, seed=1)
    allow = [None if n % 3 == 0 else items for n, items in enumerate(drawn(9, 8, seed=2))]
    expected = []
    for history, excluded, allowed in zip(histories, exclude, allow, strict=True):
        without = {*excluded, *(history if exclude_history else [])}
        without |= {"i007", "i009"} if "exclude" in for_all else set()
        only = set(IDS) if allowed is None else set(allowed)
        only &= set(for_all.get("allow", IDS))
        expected.append(cut_down(ranking(run, history), 6, without=without, only=only))
    found = run.restricted(**for_all).recommend(
        histories, 6, exclude_history=exclude_history, exclude=exclude, allow=allow
    )
    assert {len(ids) for ids in found[0]} > {6}  # short lists too
    assert_lists(found, expected)


def test_a_restricted_run_gives_only_what_is_allowed_and_k_of_it_by_a_narrow_beam(tiny_run):
    run = genrec.load_run(tiny_run, DecodingConfig(beam=10, batch_size=1))
    rng = np.random.default_rng(0)
    for count in (10, 11, 25):
        allow = rng.choice(IDS, count, replace=False).tolist()
        history = [[item] for item in IDS if item not in allow]
        ids, _ = run.restricted(allow=allow).recommend(history, 10)
        assert all(len(row) == len(set(row)) == 10 and set(row) <= set(allow) for row in ids)


def test_a_restriction_adds_to_the_one_before(run):
    narrow = run.restricted(allow=IDS[:6]).restricted(allow=IDS[3:9]).restricted(exclude=["Film 4"])
    assert set(narrow.recommend([["i020"]], 2)[0][0]) == {"i003", "i005"}
    assert len(run.recommend([["i020"]], 9)[0][0]) == 9
    for nothing in ({"allow": []}, {"exclude": IDS}, {"allow": ["i001"], "exclude": ["film 1"]}):
        with pytest.raises(UserError, match="none of the 40 items is left: allow more or exclude"):
            run.restricted(**nothing)


def test_ids_and_titles_are_the_same_and_numbers_stay_out_of_it(run):
    assert run.recommend([["i003", "i007"]], 5) == run.recommend([["film 3", "Film 7"]], 5)


def test_nobody_asks_and_nobody_is_answered(run):
    assert run.recommend([]) == ([], [])
    assert run.recommend([], timestamps=[], exclude=[], allow=[], user_ids=[]) == ([], [])


def test_unknown_items_are_refused_by_name(run):
    for requests in (
        Requests(None, [["i001", "Flim 3"]]),
        Requests(None, [["i001"]], exclude=[["Flim 3"]]),
        Requests(None, [["i001"]], allow=[["Flim 3"]]),
    ):
        with pytest.raises(UserError, match="no item has the id or title 'Flim 3'; the nearest"):
            run.resolve(requests)
    for names in ({"allow": ["Flim 3"]}, {"exclude": ["Flim 3"]}):
        with pytest.raises(UserError, match="'Flim 3'"):
            run.restricted(**names)


def test_unknown_items_are_skipped_by_name_with_their_times(skipping, said):
    resolved = skipping.resolve(
        Requests(
            ["a", "b", "c"],
            [["x", "i001", "Film 2"], ["y"], ["i003", "x"]],
            [[7, 8, 9], [5], [3, 4]],
            exclude=[["i004", "z"], [], []],
            allow=[None, ["v", "i005"], ["w"]],
        )
    )
    index = {item_id: item for item, item_id in enumerate(skipping.item_ids)}
    assert [history.tolist() for history in resolved.histories] == [
        [index["i001"], index["i002"]],
        [],
        [index["i003"]],
    ]
    assert resolved.histories.timestamps.tolist() == [8, 9, 3]
    assert np.array_equal(resolved.histories.users, hash_user_ids(["a", "b", "c"]))
    assert [items.tolist() for items in resolved.exclude] == [[index["i004"]], [], []]
    assert resolved.allow[0] is None
    assert [items.tolist() for items in resolved.allow[1:]] == [[index["i005"]], []]
    assert resolved.notices == (
        "skipped in histories, for no item has this name: x, y",
        "skipped in exclude, for no item has this name: z",
        "skipped in allow, for no item has this name: v",
        "skipped in allow, for no item has this name: w",
    )
    assert said() == []
    skipping.restricted(allow=["i001", "u"], exclude=["t"])
    assert said() == [
        "skipped in the list to allow, for no item has this name: u",
        "skipped in the list to exclude, for no item has this name: t",
    ]


def test_of_many_unknown_items_five_are_named(skipping, said):
    with_names = [["i001", *(f"x{n}" for n in range(1_234))]]
    assert skipping.recommend(with_names, 3) == skipping.recommend([["i001"]], 3)
    assert said() == [
        "skipped in histories, for no item has this name: x0, x1, x2, x3, x4 and 1,229 more"
    ]


@pytest.fixture(scope="module")
def popularity(tiny_run):
    """How often each item occurs in the training, that is but for everyone's last two."""
    log: dict[str, list[str]] = {}
    with (tiny_run.parent / "log.csv").open() as stream:
        for row in csv.DictReader(stream):
            log.setdefault(row["user_id"], []).append(row["item_id"])
    return Counter(item for items in log.values() for item in items[:-2])


def test_of_whom_nothing_is_known_gets_the_most_popular_items_and_others_what_they_get(
    run, skipping, popularity, said
):
    narrow = run.restricted(exclude=IDS[30:])
    ids, scores = narrow.recommend(
        [[], ["i001"], [], []],
        12,
        exclude=[[], IDS[:7], IDS[1::2], IDS[:2]],
        allow=[None, None, None, IDS[:5]],
    )
    wanted = [IDS[:30], None, IDS[:30:2], IDS[2:5]]
    total = popularity.total() + ITEMS
    for row in (0, 2, 3):
        assert len(ids[row]) == min(12, len(wanted[row]))
        assert set(ids[row]) <= set(wanted[row])
        counts = [popularity[item] for item in ids[row]]
        assert counts == sorted((popularity[i] for i in wanted[row]), reverse=True)[:12]
        assert np.allclose(scores[row], np.log((np.array(counts) + 1) / total))
    alone = narrow.recommend([["i001"]], 12, exclude=[IDS[:7]])
    assert_lists((ids[1:2], scores[1:2]), [(alone[0][0], alone[1][0])])
    assert said() == [
        "nothing is known of history 1, 3, 4: the most popular items stand in",
        "12 items are wanted, but as few as 3 are allowed for history 4",
    ]
    assert skipping.recommend([["nothing"]], 5)[0] == run.recommend([[]], 5)[0]


def test_lists_that_come_out_short_are_told_of_and_whose_they_are(run, said):
    histories = [["i001"]] * 7
    allow = [["i001", "i002"], None, *[IDS[:4]] * 5]
    lists, _ = run.recommend(histories, 5, allow=allow, user_ids=list("abcdefg"))
    assert [len(ids) for ids in lists] == [1, 5, 3, 3, 3, 3, 3]
    assert said() == [
        "5 items are wanted, but as few as 1 are allowed for user a, c, d, e, f and 1 more"
    ]


def test_no_list_at_all_is_a_mistake_unless_others_follow(run):
    with pytest.raises(UserError, match="no item is left to recommend: allow more or exclude"):
        run.recommend([["i001"], []], 3, allow=[["i001"], []])
    resolved = run.resolve(Requests(["a"], [["i001"]], allow=[["i001"]]))
    items, scores, notices, _ = run.recommend_items(resolved, 3, partial=True)
    assert items.tolist() == [[-1, -1, -1]]
    assert scores.tolist() == [[-np.inf] * 3]
    assert notices == ["3 items are wanted, but as few as 0 are allowed for user a"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"k": 0}, "k is 0, but must lie between 1 and the beam width, 40"),
        ({"k": 41}, r"k is 41, but .* \(decoding.beam\)"),
        ({"exclude": [[]]}, "2 histories do not fit 1 exclude"),
        ({"allow": [[], [], []]}, "2 histories do not fit 3 allow"),
        ({"user_ids": ["a"]}, "2 histories do not fit 1 user_ids"),
        ({"timestamps": [[1]]}, "2 histories do not fit 1 timestamps"),
        ({"timestamps": [[1], [2]]}, "history 2 has 2 items, but 1 timestamps"),
        ({"timestamps": [[], [2]], "user_ids": ["a", "b"]}, "user a has 1 items, but 0 times"),
    ],
)
def test_requests_that_do_not_fit_are_refused(run, options, why):
    with pytest.raises(UserError, match=why):
        run.recommend([["i001"], ["i002", "i003"]], **options)


def test_everybody_is_asked_for_with_all_that_they_had(run, tiny_run):
    users = pq.read_table(tiny_run / "dataset/sequences.parquet").to_pylist()
    pieces = list(run.everybody(40))
    assert [len(piece.histories) for piece in pieces] == [40, 40, 40, 30]
    asked = iter(users)
    for piece in pieces:
        histories = piece.histories
        assert np.array_equal(histories.users, hash_user_ids(list(piece.user_ids)))
        for user, items, start, stop in zip(
            piece.user_ids, histories, histories.starts, histories.stops, strict=True
        ):
            row = next(asked)
            assert (user, items.tolist()) == (row["user_id"], row["items"])
            assert histories.timestamps[start:stop].tolist() == row["timestamps"]
    assert next(asked, None) is None


def test_a_free_search_takes_the_nearest_item_for_codes_that_none_has(run, tiny_run):
    tokenizer, vectors = (
        load_tokenizer(tiny_run / "tokenizer"),
        np.load(tiny_run / "embeddings.npy"),
    )
    requests = run.resolve(Requests(None, drawn(3, 6)))
    items, scores, invalid = run.recommend_freely(requests, 8)
    sizes = (*tokenizer.codebook_sizes, 16)
    codes, points = run.recommender.write(requests.histories, sizes)
    owner = {tuple(row): item for item, row in enumerate(run.codes.tolist())}
    assert invalid == pytest.approx(np.mean([tuple(c) not in owner for c in codes.reshape(-1, 3)]))
    assert invalid > 0
    for row in range(3):
        expected: dict[int, float] = {}
        for spelt, score in zip(codes[row], points[row], strict=True):
            rebuilt = tokenizer.decode(spelt[None, :2])
            item = owner.get(tuple(spelt), int(((vectors - rebuilt) ** 2).sum(axis=1).argmin()))
            if item not in requests.histories[row]:
                expected.setdefault(item, score)
        found = items[row][items[row] >= 0].tolist()
        assert found == list(expected)[:8]
        assert scores[row, : len(found)].tolist() == list(expected.values())[:8]
    again, _, _ = run.recommend_freely(requests, 8, exclude_history=False)
    assert any(set(row) & set(h) for row, h in zip(again.tolist(), requests.histories, strict=True))
    assert run.resolver_index == "Flat, exact"


def test_a_free_search_goes_without_filters_and_needs_a_history(run):
    resolved = run.resolve(Requests(["a"], [["i001"]]))
    filtered = replace(resolved, exclude=[np.array([1])]), replace(resolved, allow=[None])
    for asked, requests in [
        (run.restricted(exclude=["i002"]), resolved),
        *((run, f) for f in filtered),
    ]:
        with pytest.raises(UserError, match="goes without items to exclude or to allow"):
            asked.recommend_freely(requests, 3)
    with pytest.raises(UserError, match="nothing is known of user a, to go on from"):
        run.recommend_freely(run.resolve(Requests(["a"], [[]])), 3)
    with pytest.raises(UserError, match="k is 41"):
        run.recommend_freely(resolved, 41)


def test_settings_of_the_decoding_may_be_others_than_those_of_the_run(tiny_run):
    """Also a beam that is narrower than the cut-offs of the evaluation."""
    narrow = genrec.load_run(tiny_run, DecodingConfig(beam=3))
    with pytest.raises(UserError, match="k is 4, but must lie between 1 and the beam width, 3"):
        narrow.recommend([["i001"]], 4)
    with pytest.raises(UserError, match="the beam width, 20"):
        genrec.load_run(tiny_run).recommend([["i001"]], 21)
    with pytest.raises(UserError, match=r"decoding\.temperature must name one temperature"):
        genrec.load_run(tiny_run, DecodingConfig(temperature=(1.0, 1.0)))
    with pytest.raises(UserError, match=r"dense_share goes with model\.item_head"):
        genrec.load_run(tiny_run, DecodingConfig(dense_share=0.5))


def test_items_alike_are_those_of_a_bundle_made_from_the_run(tiny_run, tmp_path):
    run = genrec.load_run(tiny_run)
    export_bundle(run, tmp_path / "bundle")
    bundle = genrec.load_bundle(tmp_path / "bundle")
    ids, cosines = run.similar(["Film 5", "i021"], k=12)
    assert (ids, cosines) == bundle.similar(["Film 5", "i021"], k=12)
    assert [len(row) for row in ids] == [12, 12]
    assert "i005" not in ids[0] and "i021" not in ids[1]
    assert cosines[0] == sorted(cosines[0], reverse=True)
    few, few_of_bundle = (each.restricted(allow=IDS[:9]) for each in (run, bundle))
    ids, _ = few.similar(["Film 5", "i021"], k=12)
    assert [set(row) for row in ids] == [set(IDS[:9]) - {"i005"}, set(IDS[:9])]
    assert few.similar(["i021"], k=4) == few_of_bundle.similar(["i021"], k=4)
    with pytest.raises(UserError, match="no item has the id or title 'Flim 3'"):
        run.similar(["Flim 3"])
    with pytest.raises(UserError, match="k is 0, but must be at least 1"):
        run.similar(["i001"], k=0)


def test_items_drawn_at_random_are_the_same_for_the_same_seed(tiny_run):
    best = DecodingConfig(beam=10, batch_size=1)
    drawing = replace(best, temperature=(5.0,))
    first, again, without = (
        genrec.load_run(tiny_run, decoding).recommend(drawn(5, 6))[0]
        for decoding in (drawing, drawing, best)
    )
    assert first == again != without
