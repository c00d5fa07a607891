"""`import genrec`, as people and their notebooks do it."""

import subprocess
import sys


def test_a_folder_of_the_same_name_does_not_hide_genrec(tmp_path):
    """As beside a checkout, which is a folder called genrec too."""
    (tmp_path / "genrec").mkdir()
    command = [sys.executable, "-c", "import genrec; print(genrec.load_config)"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "load_config" in found.stdout, found.stderr
