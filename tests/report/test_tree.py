import json

import numpy as np

from genrec.report import tree as module
from genrec.report.tree import tree


def items_of(nodes, prefix=()):
    """Every item of a tree: its codes and its title."""
    for node in nodes:
        if len(node) == 4:
            yield from items_of(node[3], (*prefix, node[0]))
        else:
            yield (*prefix, *map(int, node[0].split())), node[1]


def sizes_of(nodes, prefix=()):
    for node in nodes:
        if len(node) == 4:
            yield (*prefix, node[0]), node[1]
            yield from sizes_of(node[3], (*prefix, node[0]))


def drawn(count=400):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 6, (count, 3))
    return codes, [f"thing {n} of kind{codes[n, 0]}" for n in range(count)]


def test_every_item_is_there_under_its_codes():
    codes, labels = drawn()
    explored = tree(codes, labels, seed=0)
    expected = sorted(
        (tuple(row), label) for row, label in zip(codes.tolist(), labels, strict=True)
    )
    assert sorted(items_of(explored["branches"])) == expected
    assert explored["items"] == explored["shown"] == 400
    json.dumps(explored, allow_nan=False)


def test_sizes_are_counted_and_the_largest_come_first():
    codes, labels = drawn()
    roots = tree(codes, labels, seed=0)["branches"]
    for prefix, size in sizes_of(roots):
        assert size == (codes[:, : len(prefix)] == prefix).all(axis=1).sum() > 1
    top = [node[1] for node in roots]
    assert top == sorted(top, reverse=True)


def test_words_tell_a_branch_from_those_beside_it():
    codes, labels = drawn()
    for node in tree(codes, labels, seed=0)["branches"]:
        assert node[2].split(", ")[0] == "kind" or "thing" in node[2]
    labels = [("soap " if row[0] == 2 else "brush ") + "item" for row in codes]
    (soap,) = [node for node in tree(codes, labels, seed=0)["branches"] if node[0] == 2]
    assert soap[2].startswith("soap")


def test_an_item_alone_is_not_a_branch():
    codes = np.array([[0, 1, 2], [0, 1, 3], [5, 0, 0]])
    roots = tree(codes, ["a", "b", "c"], seed=0)["branches"]
    assert roots[0][:2] == [0, 2] and roots[0][3][0][:2] == [1, 2]
    assert roots[0][3][0][3] == [["2", "a"], ["3", "b"]]
    assert roots[1] == ["5 0 0", "c"]


def test_items_that_share_their_codes_stand_together():
    roots = tree(np.array([[1, 1], [1, 1]]), ["a", "b"], seed=0)["branches"]
    assert list(items_of(roots)) == [((1, 1), "a"), ((1, 1), "b")]


def test_a_large_catalogue_is_sampled_but_counted_whole(monkeypatch):
    monkeypatch.setattr(module, "MOST_ITEMS", 50)
    codes, labels = drawn()
    explored = tree(codes, labels, seed=3)
    assert (explored["items"], explored["shown"]) == (400, 50)
    shown = list(items_of(explored["branches"]))
    assert len(shown) == 50
    where = {label: tuple(row) for label, row in zip(labels, codes.tolist(), strict=True)}
    assert all(where[title] == prefix for prefix, title in shown)
    for prefix, size in sizes_of(explored["branches"]):
        assert size == (codes[:, : len(prefix)] == prefix).all(axis=1).sum()
    assert explored == tree(codes, labels, seed=3) != tree(codes, labels, seed=4)


def test_long_titles_are_cut():
    (_, title), *_ = items_of(tree(np.array([[0], [1]]), ["x" * 500, "b"], seed=0)["branches"])
    assert len(title) == 110 and title.endswith("…")


def test_the_largest_tree_leaves_room_for_the_rest_of_5_mib():
    count = module.MOST_ITEMS + 1
    codes = np.random.default_rng(0).integers(0, 256, (count, 3))
    labels = [f"{n:x} " * 60 for n in range(count)]
    size = len(json.dumps(tree(codes, labels, seed=0), separators=(",", ":")))
    assert 2 * 2**20 < size < 4 * 2**20
