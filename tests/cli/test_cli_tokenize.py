"""`genrec tokenize` of a run that has semantic IDs: shown, added to, taken from."""

import shutil

import pytest


@pytest.fixture
def tokenize(command, tiny_run, tmp_path):
    """Runs the command on a run of its own: what it prints, or the lines of complaint."""
    shutil.copytree(tiny_run, tmp_path / "run")
    (tmp_path / "new.csv").write_text("item_id,title,genre\nn1,New film 1,genre1\n")

    def run(*arguments, status=0):
        shown, complaints = command("tokenize", str(tmp_path / "run"), *arguments, status=status)
        return complaints if status else shown

    return run


def test_it_shows_the_tree(tokenize):
    shown = tokenize("--show", "--top", "3")
    assert "commonest words" in shown and "Film" in shown and "smaller ones (--top)" in shown
    first = shown.splitlines()[3].split()[0]
    below = tokenize("--show", "--prefix", first)
    assert f"{first}," in below and "smaller" not in below


def test_items_come_and_go(tokenize, tmp_path):
    added = tokenize("--append", str(tmp_path / "new.csv"))
    assert "1 items added" in added and "41 items may be recommended now" in added
    assert "relative error" in added and "too few to say" in added
    assert "2 items removed" in (removed := tokenize("--remove", "n1", "Film 7"))
    assert "39 items may be recommended now" in removed
    back = tokenize("--append", str(tmp_path / "new.csv"))
    assert "0 items added; 1 were there already; 1 that had been removed are back" in back


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--show", "--remove", "i001"), "give one of --show, --append and --remove"),
        (("--prefix", "3"), "--prefix goes with --show"),
        (("--vectors", "v.npy"), "--vectors goes with --append"),
        (("--show", "--prefix", "a,b"), "should be codes such as 12,7"),
        (("--show", "--prefix", "99"), "no item's codes begin with 99"),
        (("--show", "--tokenizer.steps", "9"), "take the run's settings, and no others"),
        (("--remove", "nothing of the kind"), "no item has the id or title"),
        (("--append", "none.csv"), "none.csv does not exist"),
    ],
)
def test_mistakes_get_one_line(tokenize, arguments, message):
    (line,) = tokenize(*arguments, status=2)
    assert message in line
