import pytest

import genrec.progress
from genrec.progress import progress


def test_without_a_terminal_it_prints_plain_lines_with_rate_and_time_left(monkeypatch, capsys):
    clock = iter([0.0, *(10.0 * n for n in range(1, 100))])
    monkeypatch.setattr(genrec.progress.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(genrec.progress, "_SECONDS_BETWEEN_LINES", 0.0)
    with progress("train", 400, "step", done=100) as bar:
        bar.advance(100, loss=2.5)
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("train      200/400")
    assert "step/s" in line
    assert line.endswith("left  loss 2.5")
    assert "\x1b" not in line


def test_lines_come_only_now_and_then(capsys):
    with progress("train", 1000, "step") as bar:
        for _ in range(1000):
            bar.advance()
    assert capsys.readouterr().err == ""
    assert bar.done == 1000


def test_the_rate_counts_only_what_this_process_did(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(genrec.progress.time, "perf_counter", lambda: now[0])
    with progress("train", 100, "step", done=50) as bar:
        now[0] = 5.0
        bar.advance(10)
        assert bar.rate == pytest.approx(2.0)
