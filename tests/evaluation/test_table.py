import io
import re

import pytest
from rich.console import Console

from genrec.evaluation import results_table


def figures(*values, users=1234, **more):
    names = ("recall@5", "ndcg@5", "recall@10", "ndcg@10", "recall@20", "ndcg@20")
    half = len(values) // 2
    return {
        "users": users,
        "unfiltered": dict(zip(names, values[:half], strict=False)),
        "filtered": dict(zip(names, values[half:], strict=False)),
        **more,
    }


METRICS = {
    "test": figures(0.04, 0.03, 0.0655, 0.0369, 0.05, 0.034, 0.0721, 0.0432),
    "baselines": {
        "most_popular": {"test": figures(0.01, 0.005, 0.02, 0.008, 0.012, 0.006, 0.021, 0.009)},
        "item_knn": {"test": figures(0.0311, 0.02, 0.05, 0.0281, 0.0512, 0.02, 0.0721, 0.03)},
    },
}


def printed(table, **options):
    console = Console(file=io.StringIO(), width=80, **options)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_table_shows_every_recommender_and_says_what_was_measured():
    lines = [line.strip() for line in printed(results_table(METRICS, "test")).splitlines()]
    assert lines[1].split() == ["recommender", "Recall@5", "NDCG@5", "Recall@10", "NDCG@10"]
    assert lines[3].split() == ["unfiltered", "genrec", "0.0400", "0.0300", "0.0655", "0.0369"]
    assert lines[4].startswith("most popular")
    assert lines[5].split() == ["item", "knn", "0.0311", "0.0200", "0.0500", "0.0281"]
    assert lines[7].split() == ["filtered", "genrec", "0.0500", "0.0340", "0.0721", "0.0432"]
    assert lines[9].startswith("item knn")
    assert "1,234 users, test items, full catalogue, leave-one-out" in lines


def test_what_a_model_ranks_by_alone_stands_below_it():
    alone = {"dense_head": {"test": figures(*[0.1] * 8)}, "codes": {"test": figures(*[0.2] * 8)}}
    lines = printed(results_table(METRICS | {"alone": alone}, "test")).splitlines()
    assert lines[4].split() == ["dense", "head", "alone", *["0.1000"] * 4]
    assert lines[5].split() == ["codes", "alone", *["0.2000"] * 4]
    assert sum("0." in line for line in lines) == 2 * 5
    with pytest.raises(ValueError, match="codes alone was measured on other users"):
        other = {"codes": {"test": figures(*[0.2] * 8, users=99)}}
        results_table(METRICS | {"alone": other}, "test")


def test_the_table_fits_in_80_columns():
    repeating = {"test": METRICS["test"] | {"repeat_targets": 1200}}
    longer = METRICS | repeating | {"alone": {"a part with a rather long name": METRICS}}
    text = printed(results_table(longer, "test"))
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("0.") == 4 * 8
    assert "…" not in text


def test_the_best_of_every_column_is_bold():
    styled = printed(results_table(METRICS, "test"), force_terminal=True, color_system="standard")
    unfiltered, filtered = (line for line in styled.splitlines() if "item knn" in line)
    bold = [
        [cell.strip() for cell in re.findall(r"\x1b\[1m([^\x1b]*)", line)]
        for line in (unfiltered, filtered)
    ]
    assert bold == [[], ["0.0512", "0.0721"]]  # better than the model's, and level with it


def test_the_caption_tells_of_targets_that_filtering_cannot_hit():
    metrics = {"test": figures(*[0.1] * 8, repeat_targets=17)}
    text = " ".join(printed(results_table(metrics, "test")).split())
    assert "17 of the items are in the user's history already" in text


def test_validation_cannot_be_printed_as_test():
    validation = {"validation": METRICS["test"], "baselines": METRICS["baselines"]}
    with pytest.raises(ValueError, match="genrec has no figures for the split 'test'"):
        results_table(validation, "test")
    with pytest.raises(ValueError, match="most popular has no figures for the split 'validation'"):
        results_table(validation, "validation")
    alone = printed(results_table({"validation": METRICS["test"]}, "validation"))
    assert "validation items" in alone
    assert "test" not in alone


def test_recommenders_measured_differently_are_not_set_side_by_side():
    def against(row):
        return {"test": METRICS["test"], "baselines": {"most_popular": {"test": row}}}

    with pytest.raises(ValueError, match="other users"):
        results_table(against(figures(*[0.1] * 8, users=99)), "test")
    with pytest.raises(ValueError, match="recall@10"):
        results_table(against(figures(*[0.1] * 4)), "test")


def test_more_cut_offs_than_fit_stay_out():
    text = printed(results_table({"test": figures(*[0.1] * 12)}, "test"))
    assert "Recall@10" in text
    assert "@20" not in text
