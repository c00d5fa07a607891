"""Which shapes are compiled, and which of them a batch takes."""

from types import SimpleNamespace
from typing import Any

import pytest

from genrec.serving.compiled import CompiledPrograms, Kind, Shape


def programs(users: bool = False, longest: int = 50, rows: int = 8) -> CompiledPrograms:
    answers = {"named": [64, 512, 4096], "max_history": longest, "users": users}
    bundle: Any = SimpleNamespace(manifest={"answers": answers})
    return CompiledPrograms(bundle, rows)


@pytest.mark.parametrize(
    ("longest", "request_", "kind"),
    [
        (50, (0, False, 1), (64, False, 16)),
        (50, (64, False, 17), (64, False, 50)),
        (50, (65, False, 16), (4096, False, 16)),
        (12, (9, False, 12), (64, False, 12)),
        (200, (150, True, 65), (512, True, 200)),
        (200, (9, True, 20), (512, True, 64)),
    ],
)
def test_kinds(longest, request_, kind):
    assert programs(users=True, longest=longest).kind(*request_) == Kind(*kind)


def test_a_batch_takes_what_costs_least_for_each_of_its_requests():
    found, short, long = programs(), Kind(64, False, 16), Kind(64, False, 50)
    anything = Kind(4096, False, 50)
    found.seconds = {Shape(anything, 1): 20.0}
    assert found.best(short, 5) == found.best(long, 1) == Shape(anything, 1)
    # Each row costs as much as the first: no row is left empty.
    found.seconds |= {Shape(short, rows): 3.0 * rows for rows in (1, 2, 4)}
    assert [found.best(short, waiting).rows for waiting in (1, 2, 3, 4, 5, 99)] == [
        1,
        1,
        1,
        1,
        1,
        1,
    ]
    found.seconds |= {Shape(short, 2): 5.0, Shape(short, 4): 9.0, Shape(short, 8): 40.0}
    assert [found.best(short, waiting).rows for waiting in (1, 2, 3, 4, 5, 99)] == [
        1,
        2,
        2,
        4,
        4,
        4,
    ]
    assert found.best(long, 5) == Shape(anything, 1)
    # Rows cost nothing: they may be empty.
    found.seconds |= {Shape(short, rows): 3.0 for rows in (1, 2, 4, 8)}
    assert [found.best(short, waiting).rows for waiting in (1, 2, 3, 5, 99)] == [1, 2, 4, 8, 8]
    assert found.best(Kind(4096, False, 16), 9) == Shape(anything, 1)


def test_what_is_compiled_and_in_which_order(monkeypatch):
    """Rows are added for as long as that pays."""
    found = programs(users=True)
    made = []
    cost = {1: 4.0, 2: 6.0, 4: 10.0, 8: 40.0}

    def measure(shapes):
        found.seconds = found.seconds | {shape: cost[shape.rows] for shape in shapes}

    monkeypatch.setattr(found, "_add", lambda shape, options=None: made.append(shape))
    monkeypatch.setattr(found, "_measure", measure)
    found.start()
    anything = [Shape(Kind(4096, users, 50), 1) for users in (False, True)]
    assert made == anything
    list(found.finish())
    usual = [(64, users, slots) for users in (False, True) for slots in (16, 50)]
    assert made[2:] == [*anything, *(Shape(Kind(*k), rows) for rows in (1, 2, 4, 8) for k in usual)]
    made.clear()
    cost |= {2: 13.0}
    list(found.finish())
    assert {shape.rows for shape in made} == {1, 2}
